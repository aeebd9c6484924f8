"""The sweep's two rules together: what is left over goes, then doubles; wanted text never does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from consumer.model.copies import superfluous_in
from consumer.model.names import Identity, Location, Slug
from consumer.model.version import DocumentVersion
from consumer.pipeline.carried_out import CarriedOut, Known
from tests.unit.pipeline.doubles import version

DOCS, A = Slug("docs"), Identity("a")


@dataclass(frozen=True)
class Row:
    """A stored unit."""

    location: Location
    version: DocumentVersion
    digests: tuple[str, ...]
    chunk_ids: str


def _row(location: str, of: DocumentVersion, chunk: str, text: str) -> Row:
    return Row(Location(location), of, (text,), chunk)


def _stays(known: Known, rows: list[Row], is_proven: Callable[[Location], bool]) -> list[Row]:
    left = known.left_over(rows, is_proven)
    rest = [row for row in rows if row not in left]
    doubles, _ = superfluous_in(rest, is_proven)
    return [row for row in rest if row.location not in doubles]


def _held(rows: Iterable[Row]) -> Counter[str]:
    """What they hold of each text; copies of one chunk hold it once."""
    return Counter(
        text for _, texts in {(row.chunk_ids, row.digests) for row in rows} for text in texts
    )


def test_a_former_copy_of_a_chunk_that_stays_is_kept_for_no_other_chunk() -> None:
    """The text stands in it twice, nobody has seen any row, and one chunk was stored again."""
    memory, former, last = CarriedOut(), version(0, 0), version(0, 1)
    memory.document(DOCS, A, last, ("five", "five"))
    first, third = _row("2", former, "a_1", "five"), _row("1", former, "a_3", "five")
    again = _row("3", last, "a_3", "five")

    rows = [first, third, again]
    assert _stays(memory.known(DOCS, A), rows, lambda _: False) == [first, again]


def test_a_copy_of_a_chunk_of_a_partial_version_is_lent_to_no_other_chunk() -> None:
    """It would go as a double of that one's own."""
    memory = CarriedOut()
    memory.document(DOCS, A, version(0, 0), ("one",))
    memory.partial(DOCS, A, version(1, 1), ("five", "five"))
    own = _row("0", version(1, 1), "a_1", "five")
    double, lent = _row("1", version(0, 0), "a_1", "five"), _row("2", version(0, 0), "a_3", "five")
    one = _row("3", version(0, 0), "a_0", "one")

    rows = [own, double, lent, one]
    assert _stays(memory.known(DOCS, A), rows, lambda _: True) == [own, lent, one]


@pytest.mark.parametrize("seed", range(20))
def test_what_stays_holds_as_much_of_what_is_wanted_as_was_there(seed: int) -> None:
    """Whatever was uploaded twice, seen or not, ended or refused."""
    rng = random.Random(seed)
    for _ in range(200):
        versions = [version(rng.choice((0, 0, 1)), offset) for offset in range(3)]
        documents = [
            [(f"a_{n}", rng.choice("xy")) for n in range(rng.randint(1, 3))] for _ in versions
        ]
        last, memory = rng.choice((1, 2)), CarriedOut()
        if rng.random() < 0.3:
            memory.tombstone(DOCS, A, version(9, rng.choice((0, 1))))
        memory.document(DOCS, A, versions[last], [text for _, text in documents[last]])
        held = [text for _, text in documents[2] if rng.random() < 0.7]
        if versions[2].newer_than(versions[last]):
            memory.partial(DOCS, A, versions[2], held)
        rows = []
        for n in range(rng.randint(1, 6)):
            of = rng.randrange(3)
            chunk, text = rng.choice(documents[of])
            rows.append(_row(f"{rng.choice('abc')}{n}", versions[of], chunk, text))
        share = rng.choice((0, 0.5, 1))
        seen = {row.location for row in rows if rng.random() < share}
        known = memory.known(DOCS, A)
        stays = _stays(known, rows, seen.__contains__)

        for wanted in (Counter(known.digests), Counter(known.needed)):
            assert wanted & _held(stays) == wanted & _held(rows)
        wanted = Counter(known.digests)
        of_seen = [_held(row for row in some if row.location in seen) for some in (stays, rows)]
        assert wanted & of_seen[0] == wanted & of_seen[1]


def _chunks(rows: Iterable[Row]) -> Counter[str]:
    """How many chunks with each text are in units; one that is in several is one."""
    held = {each for row in rows for each in zip(row.chunk_ids.split(), row.digests, strict=True)}
    return Counter(text for _, text in held)


@pytest.mark.parametrize("seed", range(20))
def test_what_stays_of_packs_holds_as_much_as_well(seed: int) -> None:
    """Cut in many ways, of several versions, with texts that stand in them twice."""
    rng = random.Random(seed)
    for _ in range(200):
        versions = [version(day, offset) for offset, day in enumerate((0, 0, 1))]
        documents = [
            [(f"a_{n}", rng.choice("wxyz")) for n in range(rng.randint(1, 6))] for _ in versions
        ]
        memory, last = CarriedOut(), rng.choice((1, 2))
        memory.document(DOCS, A, versions[last], [text for _, text in documents[last]])
        if last == 1:
            held = [text for _, text in documents[2] if rng.random() < 0.7]
            memory.partial(DOCS, A, versions[2], held)
        rows = []
        for n in range(rng.randint(1, 7)):
            of = rng.randrange(3)
            chunks = dict(reversed([(text, id) for id, text in documents[of]]))  # no text twice
            some = rng.sample(sorted(chunks), rng.randint(1, len(chunks)))
            ids = " ".join(chunks[text] for text in some)
            rows.append(Row(Location(f"{rng.choice('abc')}{n}"), versions[of], tuple(some), ids))
        known = memory.known(DOCS, A)
        stays = _stays(known, rows, lambda _: True)

        for wanted in (Counter(known.digests), Counter(known.needed)):
            there = Counter(text for row in stays for text in row.digests)
            assert (wanted & _chunks(rows)) <= there
