"""A sample of documents: all workspaces have a part in it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from consumer.model.names import Slug
from consumer.operations.audit.sampling import picks

counts_of = st.dictionaries(st.text(max_size=3).map(Slug), st.integers(0, 500), max_size=30)


@given(counts_of, st.integers(0, 60), st.integers(0, 1_000))
def test_each_workspace_has_its_turn(counts: dict[Slug, int], most: int, seed: int) -> None:
    """As many as there are or may be, none twice; no workspace is before the turn of another."""
    found = picks(counts, most, random.Random(seed))
    shares = {slug: sum(1 for each, _ in found if each == slug) for slug in counts}

    assert len(found) == len(set(found)) == min(most, sum(counts.values()))
    assert all(0 <= number < counts[slug] for slug, number in found)
    full = max(shares.values(), default=0)
    assert all(share >= full - 1 or share == counts[slug] for slug, share in shares.items())
    seen = dict.fromkeys(counts, 0)
    turns = []
    for slug, _ in found:
        seen[slug] += 1
        turns.append(seen[slug])
    assert turns == sorted(turns)


def test_it_is_another_one_each_time() -> None:
    """Repeated audits come to see everything."""
    counts = {Slug("docs"): 100}
    seen = {number for seed in range(60) for _, number in picks(counts, 20, random.Random(seed))}
    assert seen == set(range(100))
