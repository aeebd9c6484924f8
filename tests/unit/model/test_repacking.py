"""Packing anew: only what is packed otherwise goes; stopped in between, it converges."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.difference import Difference, difference
from consumer.model.names import Location
from consumer.model.packing import Packing, packs
from consumer.model.repacking import repacked
from consumer.model.version import DocumentVersion

DAY = datetime(2026, 1, 1, tzinfo=UTC)
NOW = DocumentVersion(DAY + timedelta(days=5), 0, 9)


@dataclass(frozen=True)
class Row:
    """A stored unit."""

    location: Location
    digests: tuple[str, ...]
    chunk_ids: str
    version: DocumentVersion = NOW


def _row(at: str, texts: str, ids: str, day: int = 5) -> Row:
    version = NOW if day == 5 else DocumentVersion(DAY + timedelta(days=day), 0, day)
    return Row(Location(at), tuple(_digests(texts)), " ".join(ids), version)


def _digests(texts: str) -> list[str]:
    return [f"{ord(text):08x}" for text in texts]


def _anew(texts: str, stored: list[Row], most: int) -> Difference[Row]:
    """A document whose chunks have the ids 0, 1, ... in order."""
    wanted, ids = _digests(texts), [f"{n:x}" for n in range(len(texts))]
    found = difference(wanted, stored, NOW, ids=ids)
    today = packs(list(texts), wanted, range(len(texts)), Packing(most))
    return repacked(found, today, NOW, wanted=wanted, ids=ids)


@pytest.mark.parametrize(
    ("texts", "stored", "most", "goes", "moved"),
    [
        ("abcd", [("1", "abc", "012"), ("2", "d", "3")], 3, [], ()),
        ("abcd", [("1", "abc", "012"), ("2", "d", "3")], 2, ["1", "2"], (0, 1, 2, 3)),
        ("abcd", [("1", "ab", "01"), ("2", "c", "2"), ("3", "d", "3")], 2, ["2", "3"], (2, 3)),
        ("abc", [("1", "abc", "012")], 1, ["1"], (0, 1, 2)),
        ("abc", [("1", "ab", "01")], 1, [], ()),  # c is missing: the next event decides
        ("ab", [("1", "ab", "01", 2)], 3, [], ()),  # of a former version, and as it would be
        ("ab", [("1", "ab", "67", 2)], 3, [], ()),  # other ids of the same texts
        ("ab", [("1", "a", "0", 6), ("2", "b", "1", 6)], 3, [], ()),  # a newer one decides
        ("aba", [("1", "ab", "21"), ("2", "a", "0")], 3, ["1", "2"], (0, 1, 2)),
        ("aba", [("1", "ab", "01"), ("2", "a", "2")], 3, [], ()),
        ("ab", [("1", "ab", "01", 2), ("2", "a", "0")], 1, ["1"], (1,)),  # stopped in between
    ],
)
def test_what_goes_and_what_is_uploaded_for_it(
    texts: str, stored: list[tuple[str, str, str]], most: int, goes: list[str], moved: tuple[int]
) -> None:
    """Of texts that stand there twice a unit stays only with the ids of its pack."""
    anew = _anew(texts, [_row(*each) for each in stored], most)

    assert [unit.location for unit in anew.stale] == goes
    assert (anew.lent, set(anew.missing) >= set(moved)) == (moved, True)


@given(
    texts=st.text("abcdef", max_size=9),
    cuts=st.lists(st.integers(1, 4), min_size=9, max_size=9),
    days=st.lists(st.sampled_from([2, 5]), min_size=9, max_size=9),
    most=st.integers(1, 4),
    stopped=st.integers(0, 20),
)
def test_stopped_anywhere_it_converges_and_no_text_is_away(
    texts: str, cuts: list[int], days: list[int], most: int, stopped: int
) -> None:
    """Uploads, then removals; after any of these steps the next one begins with what is there."""
    stored = list[Row]()
    start = 0
    for size, day in zip(cuts, days, strict=True):
        piece = texts[start : start + size]
        if len(set(piece)) == len(piece) > 0:
            ids = "".join(f"{n:x}" for n in range(start, start + len(piece)))
            stored.append(_row(f"old {start}", piece, ids, day))
            start += len(piece)
    texts = texts[:start]
    for again in range(3):
        anew = _anew(texts, stored, most)
        wanted = _digests(texts)
        new = [
            _row(
                f"new {again} {pack[0]}",
                "".join(texts[n] for n in pack),
                "".join(f"{n:x}" for n in pack),
            )
            for pack in packs(list(texts), wanted, anew.missing, Packing(most))
        ]
        gone = {unit.location for unit in anew.stale}
        steps = [*new, *sorted(gone)]
        for step in steps[:stopped]:
            if isinstance(step, Row):
                stored.append(step)
            else:
                stored = [row for row in stored if row.location != step]
            held = Counter(digest for row in stored for digest in row.digests)
            assert not Counter(wanted) - held
        stopped = len(steps)
    assert not _anew(texts, stored, most).missing
    assert Counter(digest for row in stored for digest in row.digests) == Counter(_digests(texts))
