"""What is stored more than once: packs of one document that were cut in different ways."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.copies import ComparableUnit, chosen_blindly, superfluous_in
from consumer.model.difference import cover
from consumer.model.exact_cover import exact_cover
from consumer.model.names import Location
from consumer.model.version import DocumentVersion

NOW = DocumentVersion(datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Pack:
    """Chunks of a document, by position."""

    location: Location
    digests: tuple[str, ...]
    chunk_ids: str
    version: DocumentVersion = NOW


def _pack(name: str, text: str, positions: Sequence[int]) -> Pack:
    digests = tuple(text[position] for position in positions)
    return Pack(Location(name), digests, " ".join(map(str, positions)))


def _cut(draw: st.DrawFn, name: str, text: str) -> list[Pack]:
    """Packs of a whole document, none of which holds a text twice."""
    packs: list[Pack] = []
    part: list[int] = []
    for position in range(len(text)):
        is_twice = text[position] in {text[each] for each in part}
        if part and (is_twice or draw(st.booleans())):
            packs.append(_pack(f"{name}{part[0]:02}", text, part))
            part = []
        part.append(position)
    return [*packs, _pack(f"{name}{part[0]:02}", text, part)]


@st.composite
def _cut_twice(draw: st.DrawFn) -> tuple[str, list[Pack], list[Pack]]:
    """A document, the packs that are known to be stored, and some of another cut that came late."""
    text = draw(st.text("abcdef", min_size=1, max_size=12))
    first, second = draw(st.permutations(["x", "y"]))
    late = [pack for pack in _cut(draw, second, text) if draw(st.booleans())]
    return text, _cut(draw, first, text), late


def _chunks(stored: Sequence[Pack]) -> Counter[str]:
    return Counter(each for pack in stored for each in pack.chunk_ids.split())


@given(_cut_twice(), st.integers())
def test_late_packs_of_another_cut_go_and_nothing_else(
    cut: tuple[str, list[Pack], list[Pack]], seed: int
) -> None:
    """Each chunk is there once then, for who knows what is wanted and for who does not."""
    text, stored, late = cut
    every = random.Random(seed).sample([*stored, *late], len(stored) + len(late))
    goes, _ = superfluous_in(every)

    assert _chunks([pack for pack in every if pack.location not in goes]) == Counter(
        map(str, range(len(text)))
    )
    assert cover(text, every).covered == Counter(text)
    assert not cover(text, every).lenders


@given(st.lists(st.sets(st.integers(0, 7), min_size=1).map(sorted), max_size=6), st.integers())
def test_whatever_is_superfluous_takes_no_chunk_with_it(every: list[list[int]], known: int) -> None:
    """Also where packs overlap so that all of them stay, and where some are not proven."""
    packs = [_pack(str(n), "abcdefgh", positions) for n, positions in enumerate(every)]
    proven = {pack.location for n, pack in enumerate(packs) if known >> n & 1}
    for is_proven in (lambda at: True, proven.__contains__):
        goes, _ = superfluous_in(packs, is_proven)
        stays: list[ComparableUnit] = [pack for pack in packs if pack.location not in goes]

        assert {each for pack in stays for each in pack.chunk_ids.split()} == set(_chunks(packs))


def test_what_is_needed_is_never_taken_too_often() -> None:
    """One text of three is given up here, whichever is taken."""
    units = [Counter("ab"), Counter("bc"), Counter("ca")]
    once = Counter("abc")

    assert exact_cover(units, once, once).count(True) == 1
    assert exact_cover(units, Counter("aabbcc"), once) == [True, True, True]
    assert exact_cover(units, Counter("bc"), once) == [False, True, False]


def test_a_choice_that_leaves_something_out_is_not_made() -> None:
    """The largest pack fits with no others, while the small ones hold everything."""
    units = [Counter("abcdefghij"), *map(Counter, ("abc", "def", "ghi", "jkl"))]
    once = Counter("abcdefghijkl")

    assert exact_cover(units, once, once) == [False, True, True, True, True]
    units = [Counter("abc"), *map(Counter, ("ab", "cd", "bc", "d", "a"))]
    assert exact_cover(units, Counter("abcd"), Counter("abcd")).count(True) == 2


@pytest.mark.parametrize(
    ("proven", "blind"),
    [([], "ab"), (["pack"], ""), (["a"], "b"), (["b"], "a"), (["a", "b"], ""), (["other"], "ab")],
)
def test_chunks_do_not_go_for_a_pack_that_nobody_has_seen(proven: list[str], blind: str) -> None:
    """Its vectors may have been refused: the only copies that are found would go."""
    pack, other = _pack("pack", "xyz", [0, 1]), _pack("other", "xyz", [2])
    alone = [_pack(name, "xyz", [n]) for n, name in enumerate("ab")]
    found = chosen_blindly(alone, [pack, other], proven.__contains__)

    assert "".join(unit.location for unit in found) == blind
