"""Whether a dead letter is replayed, and as what: tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.contract.received_letter import Letter, letter_of
from consumer.contract.reference import reference_to
from consumer.kafka.offset_reset import OffsetRange
from consumer.model.names import Identity, TraceId
from consumer.model.origin import Origin, origin_of
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Headers, Record, Unreadable
from consumer.model.remedy import NOT_LOOKED_AT, REMEDIES, Outlook
from consumer.operations.letters.selection import Selection
from consumer.operations.letters.standing import Standing, replayed_of
from consumer.operations.replay.plan import ReplayPlan, plan_of
from consumer.operations.replay.prospects import GONE, TOO_LARGE, Prospects, ReplayLimits
from consumer.operations.replay.run import (
    Commit,
    NoRunError,
    ReplayRun,
    RunFile,
    RunProgress,
    RunTooLongError,
    commits_of,
    is_run_id,
    run_id,
    run_in,
)
from consumer.operations.replay.verdict import (
    ReplayRules,
    ReplayVerdict,
    partition_of,
    replay_of,
    verdict_of,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT_ID = "90e54ce4-6a57-5116-a27b-e2d683b0241c"
ORIGINAL = Record(
    at=Coordinates("documents", 3, 41),
    timestamp_ms=1_795_000_000_000,
    key=b"\xff key",
    value=b'{"id": "x"}',
    headers=(("a", b"1"), ("a", b"\x00"), ("dlq.replays", b"forged")),
)


def a_letter(
    offset: int = 7,
    *,
    replays: int = 0,
    record: Record = ORIGINAL,
    reason: str = "rejected",
    by_reference: bool = False,
) -> tuple[Letter, Record]:
    """A dead letter as the service writes it, and as it is read back."""
    written = DeadLetter(
        record=reference_to(record) if by_reference else record,
        origin=Origin(ORIGINAL.at, ORIGINAL.timestamp_ms, replays=replays, event_id=EVENT_ID),
        cause=Cause(FailureReason(reason), "refused 17", "upload", "x"),
        event_id=EVENT_ID,
        trace_id=TraceId("1" * 32),
        group="group",
        task="task",
        failed_at=NOW,
        identity=Identity("x"),
        document_id="x",
    )
    lies = Record(
        Coordinates("letters", 0, offset), 1_795_000_100_000, written.key, written.value,
        written.headers,
    )  # fmt: skip
    return letter_of(lies), lies


def a_foreign_one(headers: Headers = ()) -> tuple[Letter, Record]:
    lies = Record(Coordinates("letters", 1, 9), 5, b"k", b"v", headers)
    return letter_of(lies), lies


# -- verdicts --------------------------------------------------------------------------------------

OURS = a_letter()[0]
WORN = a_letter(replays=3)[0]
FOREIGN = a_foreign_one()[0]
UNREADABLE = letter_of(
    Record(
        Coordinates("letters", 0, 1), 5, None, None,
        unreadable=Unreadable(FailureReason.UNDECODABLE, "damaged"),
    )
)  # fmt: skip
USUAL = ReplayRules(max_replays=3)
FORCED = ReplayRules(max_replays=3, force=True)
BACK = ReplayRules(max_replays=3, from_parked=True)


@pytest.mark.parametrize(
    ("letter", "standing", "rules", "verdict"),
    [
        (OURS, Standing.OPEN, USUAL, ReplayVerdict.REPLAY),
        (OURS, Standing.RESOLVED, USUAL, ReplayVerdict.RESOLVED),
        (OURS, Standing.STALE, USUAL, ReplayVerdict.STALE),
        (OURS, Standing.IN_FLIGHT, USUAL, ReplayVerdict.IN_FLIGHT),
        (OURS, Standing.PARKED, USUAL, ReplayVerdict.PARKED),
        (OURS, Standing.REPLACED, USUAL, ReplayVerdict.REPLACED),
        (WORN, Standing.OPEN, USUAL, ReplayVerdict.PARK),
        (WORN, Standing.OPEN, ReplayRules(max_replays=4), ReplayVerdict.REPLAY),
        (OURS, Standing.OPEN, ReplayRules(max_replays=0), ReplayVerdict.PARK),
        (WORN, Standing.STALE, USUAL, ReplayVerdict.STALE),
        (FOREIGN, Standing.OPEN, USUAL, ReplayVerdict.FOREIGN),
        (FOREIGN, Standing.OPEN, FORCED, ReplayVerdict.REPLAY),
        (FOREIGN, Standing.RESOLVED, FORCED, ReplayVerdict.RESOLVED),
        (UNREADABLE, Standing.OPEN, FORCED, ReplayVerdict.UNREADABLE),
        (WORN, Standing.PARKED, BACK, ReplayVerdict.REPLAY),
        (OURS, Standing.STALE, BACK, ReplayVerdict.STALE),
        (OURS, Standing.IN_FLIGHT, BACK, ReplayVerdict.IN_FLIGHT),
        (OURS, Standing.RESOLVED, BACK, ReplayVerdict.RESOLVED),
        (FOREIGN, Standing.PARKED, BACK, ReplayVerdict.FOREIGN),
        (FOREIGN, Standing.PARKED, replace(BACK, force=True), ReplayVerdict.REPLAY),
    ],
)
def test_only_what_is_open_is_replayed(
    letter: Letter, standing: Standing, rules: ReplayRules, verdict: ReplayVerdict
) -> None:
    """Parked ones only where asked for; foreign ones only by force; worn ones are put aside."""
    assert verdict_of(letter, standing, rules) is verdict


def hopeful(letter: Letter) -> Outlook:
    return Outlook(True, "who knows")


def test_a_plan_counts_and_keeps_the_order_of_the_topic() -> None:
    """What is left of the open is told by name, everything else by number."""
    letters = [a_letter(offset)[0] for offset in (9, 4, 6)] + [WORN, FOREIGN]
    stale = letters[1]

    def standing(letter: Letter) -> Standing:
        return Standing.STALE if letter is stale else Standing.OPEN

    plan = plan_of(letters, standing, Selection(), USUAL, hopeful)
    few = plan_of(letters, standing, Selection(last_offset=6), USUAL, hopeful)

    assert [letter.at.offset for letter in plan.replayed] == [6, 9]
    assert [each[:2] for each in plan.left] == [
        (stale, ReplayVerdict.STALE),
        (FOREIGN, ReplayVerdict.FOREIGN),
    ]
    assert [(each.at.offset, verdict) for each, verdict in plan.work] == [
        (6, ReplayVerdict.REPLAY),
        (7, ReplayVerdict.PARK),
        (9, ReplayVerdict.REPLAY),
    ]
    assert (plan.to_do, plan.highest_partition) == (3, 3)
    assert (plan.reasons, plan.causes) == ({"rejected": 2}, {"refused #": 2})
    assert plan.as_object()["stale"] == 1
    assert [letter.at.offset for letter in few.replayed] == [6]


# -- the replay ------------------------------------------------------------------------------------


def test_a_plan_splits_what_replaying_can_help_from_what_it_can_not() -> None:
    """What it can't help is left with its reason, unless that is asked for, and asked last."""
    letters = [a_letter(offset)[0] for offset in range(6)] + [WORN, FOREIGN]
    asked: list[int] = []

    def prospect(letter: Letter) -> Outlook:
        asked.append(letter.at.offset)
        return Outlook(letter.at.offset % 3 > 0, f"because {letter.at.offset % 3}")

    def planned(rules: ReplayRules) -> ReplayPlan:
        return plan_of(letters, lambda letter: Standing.OPEN, Selection(), rules, prospect)

    plan = planned(USUAL)
    everything = planned(replace(USUAL, include_hopeless=True))

    assert [letter.at.offset for letter in plan.replayed] == [1, 2, 4, 5]
    hopeless = [each for each in plan.left if each.verdict is ReplayVerdict.HOPELESS]
    assert [(each.letter.at.offset, each.why) for each in hopeless] == [
        (0, "because 0"), (3, "because 0"),
    ]  # fmt: skip
    assert plan.counts[ReplayVerdict.HOPELESS] == 2
    assert (plan.helps, plan.hopeless) == ({"because 1": 2, "because 2": 2}, {"because 0": 2})
    assert plan.as_object()["can_not_help"] == {"because 0": 2}
    assert len(everything.replayed) == 6
    assert everything.hopeless == {"because 0": 2}
    assert WORN.at.offset not in asked, "it is parked, whatever could help"
    assert FOREIGN.at.offset not in asked


BYTES = ReplayLimits(publisher=1_000, topic=900, letters=900, event=800)


@pytest.mark.parametrize(
    ("size", "limits", "can_help", "told"),
    [
        (100, BYTES, True, NOT_LOOKED_AT),
        (850, BYTES, False, REMEDIES[FailureReason.OVERSIZED].fails),
        (950, BYTES, False, TOO_LARGE),
        (950, replace(BYTES, letters=500, event=2_000), True, NOT_LOOKED_AT),
        (1_050, replace(BYTES, letters=500, event=2_000), False, TOO_LARGE),
        (950, replace(BYTES, topic=0, event=2_000), True, NOT_LOOKED_AT),
    ],
)
def test_a_letter_by_reference_that_is_too_large_is_known_beforehand(
    size: int, limits: ReplayLimits, can_help: bool, told: str
) -> None:
    """For the publisher, for the replay topic where it takes no more than that of letters did.

    Where only compression can get it through, that is said, and it is tried.
    """
    record = replace(ORIGINAL, value=b"x" * size)
    letter = a_letter(record=record, reason="oversized", by_reference=True)[0]
    held = {ORIGINAL.at.topic: {ORIGINAL.at.partition: OffsetRange(40, 50)}}
    known = Prospects({}, held, limits, frozenset())
    nothing_there = replace(known, ranges={})

    assert known.of(letter) == Outlook(can_help, told)
    assert nothing_there.of(letter) == Outlook(False, GONE)
    unsure = can_help and size > limits.topic > 0
    assert len(known.notes([letter])) == unsure


def test_a_replay_is_the_original_and_says_where_it_came_from() -> None:
    """Every byte of the original; the headers that `origin_of` reads; run and letter."""
    letter, lies = a_letter(replays=1)
    made = replay_of(letter, lies, "run-1")
    back = Record(Coordinates("replay", 3, 0), 9, made.key, made.value, made.headers)
    origin = origin_of(back, is_replay=True)
    seen = replayed_of(back)

    assert (made.key, made.value, made.partition) == (ORIGINAL.key, ORIGINAL.value, 3)
    assert made.headers[:2] == (("a", b"1"), ("a", b"\x00"))
    assert origin == Origin(ORIGINAL.at, ORIGINAL.timestamp_ms, 2, EVENT_ID, NOW, "run-1")
    assert seen is not None
    assert (seen.run, seen.letter, seen.event_id) == ("run-1", "letters-0@7", EVENT_ID)
    names = [name for name, _ in made.headers]
    assert len(names) - len(set(names)) == 1, "only the original's own header stands there twice"


def test_a_foreign_letter_begins_where_it_lies() -> None:
    """What it claims about itself is not believed: neither id nor count nor place."""
    letter, lies = a_foreign_one((("dlq.replays", b"99"), ("dlq.event-id", b"x"), ("own", b"1")))
    made = replay_of(letter, lies, "run-1")
    back = Record(Coordinates("replay", 0, 0), 9, made.key, made.value, made.headers)

    assert origin_of(back, is_replay=True) == Origin(lies.at, lies.timestamp_ms, 1, run="run-1")
    assert made.headers[0] == ("own", b"1")
    assert (made.partition, partition_of(letter)) == (None, None)


# -- runs ------------------------------------------------------------------------------------------

RUN = ReplayRun(
    id="20260301-120000-00ff",
    started_at=NOW,
    operator="alice@one",
    source="letters",
    ends={0: 10, 1: 0, 2: 7},
    replay_topic="replay",
    replay_ends={0: 5, 1: 0},
    selection=Selection(reasons=frozenset({"rejected", "foreign"}), since=NOW, partition=0),
    from_parked=True,
    leaves_hopeless=True,
    rate=2.5,
    selected=9,
    file=RunFile("/a/file", "ab"),
)
PROGRESS = RunProgress({0: 3, 1: 0, 2: 0}, published=2, parked=1, skipped={"stale": 4}, done=False)


def kept(run: ReplayRun, progress: RunProgress) -> dict[tuple[str, int], Commit]:
    return dict(commits_of(run, progress))


def test_a_run_is_read_back_from_what_was_committed() -> None:
    """Nothing else is needed to resume it: filters, ends, counts, progress."""
    assert run_in(kept(RUN, PROGRESS)) == (RUN, PROGRESS)
    plain = ReplayRun("20260301-120000-0000", NOW, "a@b", "letters", {0: 0}, "replay", {0: 0})
    assert run_in(kept(plain, RunProgress({0: 0}))) == (plain, RunProgress({0: 0}))


def test_a_later_commit_leaves_what_never_changes() -> None:
    """Only the source's partitions, whose offsets are the progress."""
    later = commits_of(RUN, PROGRESS, everything=False)
    both = kept(RUN, RunProgress()) | later

    assert {topic for topic, _ in later} == {"letters"}
    assert run_in(both) == (RUN, PROGRESS)


@pytest.mark.parametrize(
    "commits",
    [
        {},
        {("letters", 0): Commit(3, "")},
        {("letters", 0): Commit(3, "not json")},
        {("letters", 0): Commit(3, '{"end": 3}')},
        {("letters", 0): Commit(3, '{"run": {"v": 99}, "counts": {}}')},
        {("letters", 0): Commit(3, '{"run": 17}')},
    ],
)
def test_a_group_that_is_no_run_is_told_from_one(commits: dict[tuple[str, int], Commit]) -> None:
    """Anybody may have a group of such a name."""
    with pytest.raises(NoRunError):
        run_in(commits)


def test_filters_that_do_not_fit_are_refused() -> None:
    """Kafka keeps 4 KiB beside an offset."""
    names = frozenset(f"{number:040}" for number in range(200))
    with pytest.raises(RunTooLongError):
        commits_of(replace(RUN, selection=Selection(events=names)), PROGRESS)


def test_ids_sort_by_time_and_are_recognised() -> None:
    """They stand in names of groups, which are anybody's."""
    earlier, later = run_id(NOW, 65_535), run_id(NOW.replace(hour=13), 0)

    assert sorted([later, earlier]) == [earlier, later]
    assert is_run_id(earlier)
    assert not any(map(is_run_id, ["", "x", earlier + "0", earlier[:-1] + "g", "a" * 20]))
