"""Which letters are open: by what the topics say, in whatever order it is read."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.contract.received_letter import Letter, letter_of
from consumer.contract.received_result import ReceivedResult
from consumer.model import origin as of
from consumer.model.names import Identity, Slug
from consumer.model.origin import Origin
from consumer.model.record import Coordinates, Record
from consumer.operations.letters.standing import ReplayedRecord, Standing, Standings, replayed_of
from tests.unit.contract.letters import (
    LETTERS,
    REPLAY,
    document_record,
    event_id,
    foreign_record,
    letter,
    letter_record,
    parked,
    result,
)

OPEN, IN_FLIGHT, RESOLVED = Standing.OPEN, Standing.IN_FLIGHT, Standing.RESOLVED
STALE, PARKED, REPLACED = Standing.STALE, Standing.PARKED, Standing.REPLACED

FIRST = result("partial")  # what was published beside the letter, at the same instant


def replay(offset: int = 0, *, letter_at: int = 0, event: int = 0) -> ReplayedRecord:
    """A replay of the letter at that offset."""
    return ReplayedRecord(
        event_id(event),
        Coordinates(REPLAY, 0, offset),
        "run",
        str(Coordinates(LETTERS, 0, letter_at)),
        Coordinates("docs", 0, event),
    )


@dataclass(frozen=True)
class Story:
    """What the topics hold."""

    letters: tuple[Letter, ...]
    parked: tuple[Letter, ...] = ()
    replays: tuple[ReplayedRecord, ...] = ()
    results: tuple[ReceivedResult, ...] = ()
    committed: int | None = None

    def standings(self, rng: random.Random | None = None) -> Standings:
        """Fed in order, or in any other."""

        def mixed(things: Iterable[object]) -> list[object]:
            found = list(things)
            if rng is not None:
                rng.shuffle(found)
            return found

        standings = Standings(mixed(self.letters), mixed(self.parked))  # type: ignore[arg-type]
        feeds: list[Callable[[], None]] = []
        feeds += [lambda one=one: standings.replayed(one) for one in self.replays]  # type: ignore[misc]
        feeds += [lambda one=one: standings.result(one) for one in self.results]  # type: ignore[misc]
        if self.committed is not None:
            feeds.append(lambda: standings.committed({0: self.committed or 0}))
        for feed in mixed(feeds):
            feed()  # type: ignore[operator]
        return standings

    def of(self) -> list[Standing]:
        """How all letters stand, the parked ones last."""
        standings = self.standings()
        return [standings.of(each) for each in (*self.letters, *self.parked)]


LETTER = letter()
SECOND = letter(offset=9, failed=5, replays=1)
COPY = letter_of(parked(letter_record(), 4))
TOMBSTONE = letter(document_record(value=None))
FOREIGN = letter_of(foreign_record())


STORIES: dict[str, tuple[Story, list[Standing]]] = {
    "nothing else is known": (Story((LETTER,)), [OPEN]),
    "its own result": (Story((LETTER,), results=(FIRST,)), [OPEN]),
    "a later success of its replay": (
        Story((LETTER,), results=(FIRST, result("succeeded", replay=0, completed=2))),
        [RESOLVED],
    ),
    "its replay was superseded": (
        Story((LETTER,), results=(FIRST, result("superseded", replay=0, completed=2))),
        [RESOLVED],
    ),
    "a later repeat of its own result succeeded, after a crash": (
        Story((LETTER,), results=(FIRST, result("succeeded", completed=2))),
        [RESOLVED],
    ),
    "a success from before it failed": (
        Story((LETTER,), results=(result("succeeded", replay=0, completed=0.5), FIRST)),
        [OPEN],
    ),
    "a status that a later version invents": (
        Story((LETTER,), results=(FIRST, result("admired", replay=0, completed=2))),
        [OPEN],
    ),
    "its replay deleted nothing: it is no tombstone": (
        Story((LETTER,), results=(result("deleted", replay=0, completed=2, version=None),)),
        [OPEN],
    ),
    "a tombstone whose replay was carried out": (
        Story((TOMBSTONE,), results=(result("deleted", replay=0, completed=2, version=None),)),
        [RESOLVED],
    ),
    "a replay without a result": (
        Story((LETTER,), replays=(replay(),), results=(FIRST,)),
        [IN_FLIGHT],
    ),
    "a replay without a result that the service is done with": (
        Story((LETTER,), replays=(replay(3),), committed=4),
        [OPEN],
    ),
    "a replay that the service has not come to": (
        Story((LETTER,), replays=(replay(3),), committed=3),
        [IN_FLIGHT],
    ),
    "a replay that failed again": (
        Story(
            (LETTER, SECOND),
            replays=(replay(),),
            results=(FIRST, result("partial", replay=0, completed=5)),
        ),
        [REPLACED, OPEN],
    ),
    "a replay that failed again without a result: its id can't be read": (
        Story((LETTER, SECOND), replays=(replay(),)),
        [REPLACED, OPEN],
    ),
    "a second replay, of the second letter": (
        Story((LETTER, SECOND), replays=(replay(), replay(1, letter_at=9))),
        [REPLACED, IN_FLIGHT],
    ),
    "two replays, of which one is settled": (
        Story((LETTER,), replays=(replay(), replay(1)), results=(result("failed", replay=0),)),
        [IN_FLIGHT],
    ),
    "a success after the second letter": (
        Story((LETTER, SECOND), results=(result("succeeded", replay=1, completed=6),)),
        [REPLACED, RESOLVED],
    ),
    "parked": (Story((LETTER,), (COPY,)), [PARKED, PARKED]),
    "parked twice": (
        Story((LETTER,), (COPY, replace(COPY, at=Coordinates("docs.parked", 0, 9)))),
        [PARKED, REPLACED, PARKED],
    ),
    "parked, and the letter itself is gone": (Story((), (COPY,)), [PARKED]),
    "parked, brought back": (Story((LETTER,), (COPY,), (replay(),)), [IN_FLIGHT, IN_FLIGHT]),
    "parked, brought back, succeeded": (
        Story((LETTER,), (COPY,), (replay(),), (result("succeeded", replay=0, completed=9),)),
        [RESOLVED, RESOLVED],
    ),
    "parked, brought back, failed again": (
        Story((LETTER, SECOND), (COPY,), (replay(),), (result("partial", replay=0, completed=5),)),
        [REPLACED, OPEN, REPLACED],
    ),
    "parked, brought back, failed again, parked again": (
        Story(
            (LETTER, SECOND),
            (COPY, letter_of(parked(letter_record(offset=9, failed=5, replays=1), 5))),
        ),
        [REPLACED, PARKED, REPLACED, PARKED],
    ),
    "parked with its newer letter there already": (
        Story((LETTER, SECOND), (COPY,)),
        [REPLACED, OPEN, REPLACED],
    ),
    "foreign": (Story((FOREIGN,)), [OPEN]),
    "foreign, parked": (
        Story((FOREIGN,), (letter_of(parked(foreign_record(), 7)),)),
        [PARKED, PARKED],
    ),
    "foreign, written in the future, parked": (
        Story(
            (letter_of(replace(foreign_record(), timestamp_ms=2**62)),),
            (letter_of(parked(foreign_record(), 7)),),
        ),
        [PARKED, PARKED],
    ),
    "foreign, twice": (Story((FOREIGN, letter_of(foreign_record(1)))), [REPLACED, OPEN]),
    "foreign, and another one parked": (
        Story((FOREIGN,), (letter_of(parked(foreign_record(value=b"other"))),)),
        [OPEN, PARKED],
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_what_the_topics_say_decides(name: str) -> None:
    """Resolved, stale, in flight, parked, open: the first that holds."""
    story, expected = STORIES[name]

    assert story.of() == expected


@pytest.mark.parametrize("name", STORIES)
def test_the_order_of_reading_does_not_matter(name: str) -> None:
    """Topics are read partition by partition, in no order of time."""
    story, expected = STORIES[name]
    for seed in range(20):
        standings = story.standings(random.Random(seed))
        assert [standings.of(each) for each in (*story.letters, *story.parked)] == expected


# -- stale -----------------------------------------------------------------------------------------

OWN = 5  # the offset of the letter's event in these stories


def newer(status: str = "succeeded", **options: object) -> ReceivedResult:
    """A result of the event behind it, by default of a newer version."""
    options = {"of": OWN + 1, "version": 1.0, "completed": 3.0} | options
    return result(status, **options)  # type: ignore[arg-type]


STALE_CASES: dict[str, tuple[ReceivedResult, Standing]] = {
    "a newer version succeeded": (newer(), STALE),
    "in another workspace": (newer(workspace="other"), OPEN),
    "of another identity": (newer(identity="other"), OPEN),
    "it failed as well": (newer("partial"), OPEN),
    "it was superseded itself": (newer("superseded"), OPEN),
    "an older version, later in the partition": (newer(version=-1.0), OPEN),
    "the same version, later in the partition": (newer(version=0.0), STALE),
    "the same version, earlier in the partition": (newer(of=OWN - 1, version=0.0), OPEN),
    "the same version, in another partition": (newer(version=0.0, partition=2), OPEN),
    "a newer one, in another partition": (newer(partition=2), STALE),
    "deleted later": (newer("deleted", version=None, source_hours=-5.0), STALE),
    "deleted earlier": (newer("deleted", of=OWN - 1, version=None, source_hours=9.0), OPEN),
    "deleted from everywhere": (newer("deleted", version=None, workspace=None), STALE),
    "deleted from another workspace": (newer("deleted", version=None, workspace="x"), OPEN),
    "deleted, later by date in another partition": (
        newer("deleted", version=None, partition=2, source_hours=2.0),
        STALE,
    ),
    "deleted, earlier by date in another partition": (
        newer("deleted", version=None, partition=2, source_hours=-2.0),
        OPEN,
    ),
    "a removal that was replayed, of unknown age": (
        newer("deleted", of=OWN + 1, version=None, partition=2, replay=0, completed=9.0),
        OPEN,
    ),
}


@pytest.mark.parametrize("name", STALE_CASES)
@pytest.mark.parametrize("answered", [True, False])
def test_a_newer_version_makes_stale(name: str, answered: bool) -> None:
    """By identity and workspace; the letter's own date tells where its own result is gone."""
    other, expected = STALE_CASES[name]
    original = document_record(OWN, value={"id": "doc", "updated_at": "2026-03-01T00:00:00Z"})
    own = (result("partial", of=OWN, version=0.0),) if answered else ()

    assert Story((letter(original),), results=(*own, other)).of() == [expected]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (newer(), STALE),
        (newer(of=OWN - 1, version=9.0), OPEN),
        (newer(version=-9.0), STALE),
        (newer("deleted", version=None), STALE),
        (newer(partition=2, version=9.0), STALE),
        (newer(partition=2, version=-9.0), OPEN),
    ],
)
def test_a_tombstone_is_outdated_by_its_place(other: ReceivedResult, expected: Standing) -> None:
    """It has no date of its own: a document published again behind it must not be removed."""
    assert Story((letter(document_record(OWN, value=None)),), results=(other,)).of() == [expected]


def test_a_letter_without_workspace_is_stale_by_identity() -> None:
    """An event that is refused before it is routed names no workspace."""
    own = letter(document_record(OWN), workspace=None)

    assert Story((own,), results=(newer(workspace="any"),)).of() == [STALE]


def test_a_foreign_letter_is_never_stale() -> None:
    """What it claims to be is not believed."""
    forged = replace(FOREIGN, identity=Identity("doc"), workspace=Slug("river"))

    assert Story((forged,), results=(newer(),)).of() == [OPEN]


def test_a_parked_letter_can_be_stale() -> None:
    """Bringing it back could only bring back old text."""
    record = letter_record(document_record(OWN))
    story = Story((letter_of(record),), (letter_of(parked(record)),), results=(newer(),))

    assert story.of() == [STALE, STALE]


# -- what comes of a foreign letter ---------------------------------------------------------------


def _replayed_foreign(status: str, *, event: str | None = None) -> ReceivedResult:
    place = {"topic": LETTERS, "partition": 0, "offset": 0, "event_id": event}
    return result(status, of=77, replay=3, completed=3.0, replay_of=place)


def test_a_replay_of_a_foreign_letter_belongs_to_it() -> None:
    """It has no event id: its place is its original."""
    started = ReplayedRecord(None, Coordinates(REPLAY, 0, 3), "run", str(FOREIGN.at), FOREIGN.at)

    assert Story((FOREIGN,), replays=(started,)).of() == [IN_FLIGHT]
    good = (_replayed_foreign("succeeded"),)
    assert Story((FOREIGN,), replays=(started,), results=good).of() == [RESOLVED]


def test_the_letter_that_comes_of_it_stands_for_it() -> None:
    """And the results of that letter's replays, which have its event id."""
    origin = Origin(FOREIGN.at, FOREIGN.timestamp_ms, replays=1)
    failed = letter(document_record(88), offset=50, failed=4, origin=origin)
    results = (
        _replayed_foreign("partial"),
        _replayed_foreign("succeeded", event=failed.event).model_copy(
            update={"completed_at": result("x", completed=8).completed_at}
        ),
    )

    assert failed.is_ours
    assert Story((FOREIGN, failed), results=results[:1]).of() == [REPLACED, OPEN]
    assert Story((FOREIGN, failed), results=results).of() == [REPLACED, RESOLVED]
    standings = Story((FOREIGN, failed)).standings()
    assert standings.name_of(failed) == standings.name_of(FOREIGN) == FOREIGN.event


# -- what is told of replays -----------------------------------------------------------------------


def test_a_replay_topic_s_record_tells_its_run_and_its_letter() -> None:
    """In headers; a record without them was written by nobody of us."""
    place = Coordinates(REPLAY, 0, 3)
    headers = (
        (of.TOPIC, b"docs"), (of.PARTITION, b"0"), (of.OFFSET, b"0"), (of.TIMESTAMP, b"5"),
        (of.EVENT_ID, event_id(0).encode()), (of.RUN, b"r-1"), (of.LETTER, b"docs.dlq-0@0"),
    )  # fmt: skip
    record = Record(place, 5, b"doc", b"{}", headers)

    expected = ReplayedRecord(event_id(0), place, "r-1", "docs.dlq-0@0", Coordinates("docs", 0, 0))
    assert replayed_of(record) == expected
    assert replayed_of(replace(record, headers=())) is None


def test_an_event_s_story_is_told() -> None:
    """Its letters in order, its replays with what became of them, its last status."""
    results = (FIRST, result("partial", replay=0, completed=5))
    story = Story((SECOND, LETTER), (COPY,), (replay(), replay(1)), results)
    standings = story.standings()

    assert standings.letters_of(LETTER) == (LETTER, COPY, SECOND)
    assert standings.replays_of(SECOND) == {
        Coordinates(REPLAY, 0, 0): "partial",
        Coordinates(REPLAY, 0, 1): None,
    }
    assert standings.runs_of(LETTER)[Coordinates(REPLAY, 0, 1)] == "run"
    assert standings.last_status_of(LETTER) == "partial"
    assert standings.is_answered(LETTER)


@pytest.mark.parametrize("status", ["partial", "succeeded"])
def test_only_the_event_s_own_result_answers_it(status: str) -> None:
    """A replay's result says nothing about how far back the results topic reaches."""
    standings = Story((LETTER,), results=(result(status, replay=0, completed=2),)).standings()

    assert not standings.is_answered(LETTER)


def test_a_letter_that_was_not_handed_in_is_an_error() -> None:
    """Guessing that it is open would replay what nobody looked at."""
    with pytest.raises(KeyError):
        Standings([]).of(LETTER)


def test_dates_without_a_zone_are_compared_all_the_same() -> None:
    """Anybody can write a result; one that others wrote must not end the command."""
    strange = result("succeeded", of=8, version=1, completed_at="2026-03-01T09:00:00").model_copy()
    own = result("failed", replay=3, completed_at="2026-03-01T09:00:00")

    assert Story((LETTER,), results=(strange, own)).of() == [STALE]


def test_memory_goes_by_the_letters() -> None:
    """A hundred thousand results about others leave nothing behind."""
    standings = Standings([LETTER])
    other = result("succeeded", of=99, identity="other")
    for _ in range(3):
        standings.result(other)
    held = len(standings._events) + len(standings._documents) + len(standings._foreign)

    assert held == 2
    assert sys.getsizeof(standings._events[LETTER.event].results) == sys.getsizeof({})


# -- any history at all ----------------------------------------------------------------------------

STATUSES = st.sampled_from(
    ["succeeded", "partial", "failed", "superseded", "deleted", "invalid", "news"]
)
HOURS = st.integers(0, 6)
RESULTS = st.builds(
    lambda status, of, completed, replayed, version, slug, partition: result(
        status,
        of=of,
        completed=completed,
        replay=replayed,
        version=version,
        workspace=slug,
        partition=partition,
    ),
    STATUSES,
    st.integers(0, 2),
    HOURS,
    st.none() | st.integers(0, 3),
    st.none() | HOURS,
    st.sampled_from(["river", "lamp", None]),
    st.integers(0, 1),
)
ORIGINALS = st.builds(
    lambda offset, gone, day: document_record(
        offset,
        value=None if gone else {"id": "doc", "updated_at": f"2026-03-01T0{day}:00:00Z"},
    ),
    st.integers(0, 2),
    st.booleans(),
    HOURS,
)
OURS = st.builds(
    lambda original, failed, replays: letter_record(original, failed=failed, replays=replays),
    ORIGINALS,
    HOURS,
    st.integers(0, 2),
)
RECORDS = st.lists(OURS | st.builds(lambda n: foreign_record(value=bytes([n])), st.integers(0, 1)))


def _placed(records: list[Record], topic: str) -> tuple[Letter, ...]:
    return tuple(
        letter_of(replace(record, at=Coordinates(topic, 0, offset)))
        for offset, record in enumerate(records)
    )


@settings(deadline=None)
@given(
    records=RECORDS,
    aside=RECORDS,
    replays=st.lists(st.builds(replay, st.integers(0, 3), event=st.integers(0, 2))),
    results=st.lists(RESULTS),
    seed=st.integers(0, 1_000),
)
def test_no_history_depends_on_the_order_it_is_read_in(
    records: list[Record],
    aside: list[Record],
    replays: list[ReplayedRecord],
    results: list[ReceivedResult],
    seed: int,
) -> None:
    """And of each event at most one letter of the dead-letter topic stands."""
    places = {each.at: each for each in replays}
    story = Story(
        _placed(records, LETTERS),
        _placed(aside, "docs.parked"),
        tuple(places.values()),
        tuple(results),
    )
    straight, mixed = story.standings(), story.standings(random.Random(seed))
    everything = (*story.letters, *story.parked)

    assert [straight.of(each) for each in everything] == [mixed.of(each) for each in everything]
    for topic in (story.letters, story.parked):
        standing = [straight.name_of(one) for one in topic if straight.of(one) is not REPLACED]
        assert len(standing) == len(set(standing))
    named = {straight.name_of(each) for each in everything}
    alive = {straight.name_of(one) for one in everything if straight.of(one) is not REPLACED}
    assert alive == named
