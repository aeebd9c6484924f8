"""Packs: cut by content, bounded, and such that AnythingLLM's pieces are those of the chunks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.packing import (
    MOST_BYTES,
    ONE_BY_ONE,
    Packing,
    contents_of,
    pack_text,
    packs,
    parts,
)
from consumer.sandbox.simulator.text import CHUNK_SIZE, split

TEN = Packing(10)
LONGEST_IN_A_PIECE = CHUNK_SIZE - 2
"""UTF-16 units: the two line breaks before a chunk count."""


def digests_of(texts: Sequence[str]) -> list[str]:
    return [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]


def cut(texts: Sequence[str], most: int) -> list[range]:
    return parts(texts, digests_of(texts), most)


def packed(
    texts: Sequence[str], wanted: Sequence[int] | None = None, packing: Packing = TEN
) -> list[tuple[int, ...]]:
    chosen = range(len(texts)) if wanted is None else wanted
    return packs(texts, digests_of(texts), chosen, packing)


TEXTS = [f"text {n}" for n in range(1_000)]


@pytest.mark.parametrize(
    ("texts", "wanted", "packing", "expected"),
    [
        ("", None, Packing(3), []),
        ("abc", None, ONE_BY_ONE, [(0,), (1,), (2,)]),
        ("abc", [2, 0], ONE_BY_ONE, [(0,), (2,)]),
        ("aaa", None, ONE_BY_ONE, [(0,), (1,), (2,)]),
        ("abc", None, Packing(3), [(0, 1, 2)]),
        ("abcd", None, Packing(3), [(0, 1, 2), (3,)]),
        ("abcd", [1, 3], Packing(3), [(1,), (3,)]),
        ("aba", None, Packing(3), [(0, 1), (2,)]),
        ("a b", None, Packing(3), [(1,), (0, 2)]),
        ("abc", None, Packing(3, {"b"}.__contains__), [(1,), (0, 2)]),
    ],
)
def test_what_is_packed_with_what(
    texts: str, wanted: list[int] | None, packing: Packing, expected: list[tuple[int, ...]]
) -> None:
    """In order, never a text twice, and what is blank or known to be refused goes alone."""
    assert packed(texts, wanted, packing) == expected


@given(
    texts=st.lists(st.text("abc \u3000\n🔔", max_size=3), max_size=40),
    most=st.integers(1, 7),
    chosen=st.sets(st.integers(0, 39)),
    alone=st.sets(st.sampled_from(["a", "b", "ab"])),
)
def test_every_chunk_is_in_one_pack(
    texts: list[str], most: int, chosen: set[int], alone: set[str]
) -> None:
    """Whatever is chosen: each once, at most so many together, none that goes alone with others."""
    digests = digests_of(texts)
    wanted = sorted(position for position in chosen if position < len(texts))
    goes_alone = alone.__contains__
    found = packed(texts, wanted, Packing(most, goes_alone))

    assert sorted(position for pack in found for position in pack) == wanted
    for pack in found:
        assert len(pack) <= most
        assert len({digests[position] for position in pack}) == len(pack)
        assert len(pack) == 1 or not any(goes_alone(texts[each]) for each in pack)


@given(st.integers(0, 999), st.integers(2, 20))
def test_a_document_that_is_begun_again_is_cut_the_same(stored: int, most: int) -> None:
    """Some packs are stored: the others are as before, so a late one is an exact double."""
    whole = cut(TEXTS, most)
    there = {position for part in whole[: stored % len(whole)] for position in part}
    left = packed(TEXTS, [n for n in range(1_000) if n not in there], Packing(most))

    assert left == [tuple(part) for part in whole[stored % len(whole) :]]


@pytest.mark.parametrize("seed", range(20))
def test_behind_an_insertion_the_cuts_are_soon_the_same_again(seed: int) -> None:
    """Of a document of 1,000 chunks a handful of packs differs, not all that follow."""
    rng = random.Random(seed)
    texts = [f"{seed} {n}" for n in range(1_000)]
    at = rng.randrange(1_000)
    more = [*texts[:at], "inserted", *texts[at:]]
    before = {tuple(texts[n] for n in part) for part in cut(texts, 10)}
    after = [tuple(more[n] for n in part) for part in cut(more, 10)]

    assert len(after) <= 120  # full but for one in eight
    assert sum(part not in before for part in after) <= 40
    assert sum(part not in before for part in after[-5:]) == 0 or at > 500


def test_packs_are_bounded_by_bytes_too() -> None:
    """A request stays small; a chunk that is larger alone goes alone."""
    large = "é" * (MOST_BYTES // 4)
    texts = [f"{n}{large}" for n in range(4)] + ["x" * (2 * MOST_BYTES), "small"]

    assert packed(texts) == [(0,), (1,), (2,), (3,), (4,), (5,)]
    assert packed([large[:-9] + str(n) for n in range(4)]) == [(0, 1), (2, 3)]


PARAGRAPHS = st.text("ab 🔔", min_size=1, max_size=300).filter(lambda text: text.strip())


@given(
    st.lists(st.lists(PARAGRAPHS, min_size=1, max_size=6).map("\n\n".join), min_size=2, max_size=8)
)
def test_the_server_s_pieces_are_those_of_the_chunks(texts: list[str]) -> None:
    """Its splitter would fill its pieces across chunks; so each has the vector it has alone."""
    fitting = [each for each in texts if len(each.encode("utf-16-le")) // 2 <= LONGEST_IN_A_PIECE]
    alone = [piece for text in fitting for piece in split(text)]

    assert split(pack_text(fitting)) == alone


@pytest.mark.parametrize("size", [300, 500, 1_000])
def test_smaller_pieces_end_at_the_borders_as_well(size: int) -> None:
    """Where an operator has set them smaller no piece has text of two chunks."""
    texts = [f"{letter * 700}\n\n{letter * 90}" for letter in "abc"]
    pieces = split(pack_text(texts), size)

    assert all(len({*piece} - {"\n"}) == 1 for piece in pieces)


def test_the_chunks_of_a_pack_s_text() -> None:
    """For whoever has only that; of one chunk it is its own."""
    assert pack_text(["one"]) == "one"
    assert contents_of(pack_text(["one\n\ntwo", "three"])) == ["one\n\ntwo", "three"]
