"""Packs on their way: planned, split where they are blamed and in no outage; one fate a chunk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.marker import StoredUnit, Unit, unit_of
from consumer.model.names import Identity, Location, Slug
from consumer.model.outcome import Applied
from consumer.model.packing import AUTO_CHUNKS, JOINT, Packing, pack_text
from consumer.pipeline import apply
from consumer.pipeline.carried_out import Known
from consumer.pipeline.control_text import kind_of
from consumer.pipeline.culprits import Culprits
from consumer.pipeline.giving_up import UnitStep
from consumer.pipeline.index_rows import StoredRow
from consumer.pipeline.pack_size import PackSize, packs_now
from consumer.pipeline.plan import Plan, make_plan
from consumer.pipeline.poison_probe import PoisonProbe, Suspect
from consumer.pipeline.refused_packs import RefusedPacks, is_to_be_split
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.pipeline.upload import Uploader
from consumer.pipeline.upload_state import PendingUnit, UploadState
from consumer.pipeline.watched_unit import watched
from consumer.resilience.blame import Comparison
from consumer.resilience.fence import Fence
from consumer.resilience.lengths import REFUSED, Lengths
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import (
    TRACE,
    Answer,
    Clock,
    Storage,
    document,
    gates_of,
    giving_up_of,
    uploader_of,
    version,
)
from tests.virtual.loop import virtually

DOCS = Slug("docs")
A = Identity("a")
RECOVERY = 60.0
UNCLEAR = Failure("answered 500")


def _pack(*texts: str, day: float = 0, whole: Sequence[str] = ()) -> StoredUnit:
    """A pack of a document of these texts, as it is stored."""
    of = document("a", *(whole or texts))
    chunks = tuple(chunk for chunk in of.chunks if chunk.content in texts)
    unit = unit_of(chunks, of, version(day))
    return StoredUnit(Location(f"custom-documents/{'+'.join(texts)}.json"), unit.marker)


def _row(unit: StoredUnit) -> StoredRow:
    return StoredRow(unit.location, unit.version, unit.digests, A, unit.chunk_ids)


def _plan(*texts: str, already: Sequence[StoredUnit] = (), most: int = 10) -> Plan:
    return make_plan(DOCS, document("a", *texts), version(5), already, packing=Packing(most))


def _shown(units: Sequence[Unit]) -> list[list[str]]:
    return [[chunk.content for chunk in unit.chunks] for unit in units]


async def _carry_out(uploader: Uploader, plan: Plan) -> Applied:
    right = AssignmentRight(Fence("assignment"))
    return await uploader.carry_out(plan, A, right, trace_id=TRACE)


def _refusing(*texts: str) -> Answer:
    """Refuses whatever holds one of these texts."""

    def answer(unit: Unit, attempt: int) -> Failure | None:
        held = {chunk.content for chunk in unit.chunks}
        refusal = Failure("no", fault=Fault.DOCUMENT, http_status=422)
        return refusal if held.intersection(texts) else None

    return answer


@pytest.mark.parametrize(
    ("stored", "most", "missing", "moved"),
    [
        ([], 1, [["one"], ["two"], ["new"]], []),
        ([], 10, [["one", "two", "new"]], []),
        ([], 2, [["one", "two"], ["new"]], []),
        ([["one", "two"]], 10, [["new"]], []),
        ([["one", "two"]], 1, [["new"]], []),
        ([["one"], ["two"]], 10, [["new"]], []),
        ([["one", "old"]], 10, [["two", "new"]], [["one"]]),
        ([["one", "two", "old"]], 10, [["new"]], [["one", "two"]]),
        ([["one", "two", "old"]], 1, [["new"]], [["one"], ["two"]]),
    ],
)
def test_what_is_new_and_what_is_only_moved(
    stored: list[list[str]], most: int, missing: list[list[str]], moved: list[list[str]]
) -> None:
    """Nothing stored is uploaded for a setting; what a stale pack holds comes after all else."""
    whole = sorted({text for each in stored for text in each})
    plan = _plan(
        "one", "two", "new", already=[_pack(*each, whole=whole) for each in stored], most=most
    )

    assert (_shown(plan.missing), _shown(plan.moved)) == (missing, moved)


def test_what_nobody_has_seen_of_a_pack_counts_as_stored_nowhere() -> None:
    """Its vectors may have been refused: its texts would count as stored where a new one fails."""
    old = _pack("one", "old")
    whole = document("a", "one", "new")
    plan = make_plan(DOCS, whole, version(5), [old], may_lend=lambda unit: False)

    assert (_shown(plan.missing), plan.moved, plan.stale) == ([["one"], ["new"]], (), (old,))


def _anew(*texts: str, already: Sequence[StoredUnit], most: int = 10) -> Plan:
    of = document("a", *texts)
    return make_plan(DOCS, of, version(5), already, packing=Packing(most), is_repack=True)


def test_only_what_was_seen_and_is_not_about_to_go_lends() -> None:
    """The sweep may take what is left over, and the vectors of what nobody saw may be refused."""
    unseen, ended, lends = _pack("one", "old"), _pack("two", "old"), _pack("new", "old", day=2)
    known = Known(tombstones=(version(1, partition=1),))
    rows = [_row(each) for each in (unseen, ended, lends)]
    may_lend = apply._lending(known, rows, lambda at: at != unseen.location)

    assert [may_lend(each) for each in rows] == [False, False, True]


async def test_what_is_packed_anew_goes_when_all_that_it_held_is_stored() -> None:
    """In today's packs; nothing is said to be stored twice, and nothing failed."""
    old = [_pack("one", whole=("one", "two")), _pack("two", whole=("one", "two"))]
    plan = _anew("one", "two", already=old)
    storage = Storage()
    applied = await _carry_out(uploader_of(storage), plan)

    both = pack_text(["one", "two"])
    assert storage.calls == [f"upload {both}", "remove 2"]
    assert (applied.uploaded, applied.unchanged, applied.failed) == (("a_0", "a_1"), (), ())


async def test_where_packing_anew_fails_all_stays_and_no_chunk_fails() -> None:
    """Each text is stored in its old unit: a dead letter would say that one is not."""
    old = [_pack(each, whole=("one", "two", "three")) for each in ("one", "two", "three")]
    plan = _anew("one", "two", "three", already=old)
    storage, culprits = Storage(_refusing("two")), Culprits()
    applied = await _carry_out(uploader_of(storage, culprits=culprits), plan)

    assert not [call for call in storage.calls if call.startswith("remove")]
    assert (applied.failed, applied.removed_chunks, applied.unchanged) == ((), 0, ("a_1",))
    assert "two" in culprits


def test_what_is_not_all_stored_is_not_packed_anew() -> None:
    """The next event decides; it is carried out as any other one."""
    plan = _anew("one", "two", "new", already=[_pack("one"), _pack("two")])

    assert (_shown(plan.missing), plan.moved, plan.stale, plan.is_repack) == (
        [["new"]], (), (), False,
    )  # fmt: skip


async def test_a_pack_is_one_request_and_as_many_chunks() -> None:
    """In the result, and in the gauge of what is in flight."""
    metrics = Metrics()
    in_flight: list[float | None] = []

    def note(unit: Unit, attempt: int) -> None:
        in_flight.append(metrics.registry.get_sample_value("anythingllm_consumer_chunks_in_flight"))

    storage = Storage(note)
    applied = await _carry_out(uploader_of(storage, metrics=metrics), _plan("one", "two", "three"))

    assert storage.calls == [f"upload {pack_text(['one', 'two', 'three'])}"]
    assert (applied.uploaded, in_flight) == (("a_0", "a_1", "a_2"), [3])


async def test_a_refused_pack_is_split_and_only_the_culprit_fails() -> None:
    """Its siblings are stored; the pack is taken back before that."""
    storage, metrics, culprits = Storage(_refusing("two")), Metrics(), Culprits()
    uploader = uploader_of(storage, metrics=metrics, culprits=culprits)
    plan = _plan("one", "two", "three")
    applied = await _carry_out(uploader, plan)

    pack = pack_text(["one", "two", "three"])
    assert storage.calls == [
        f"upload {pack}",
        f"abandon {pack}",
        "upload one",
        "upload two",
        "abandon two",
        "upload three",
    ]
    assert [(each.chunk_id, each.http_status) for each in applied.failed] == [("a_1", 422)]
    assert applied.uploaded == ("a_0", "a_2")
    assert metrics.registry.get_sample_value("anythingllm_consumer_packs_split_total") == 1
    again = make_plan(
        DOCS, plan.document, version(6), (), packing=Packing(10, culprits.__contains__)
    )
    assert _shown(again.missing) == [["two"], ["one", "three"]]


async def test_where_a_new_chunk_fails_nothing_of_a_stale_pack_is_stored_twice() -> None:
    """The pack stays, because something is missing: what it holds is stored, and counts so."""
    old = _pack("one", "old")
    storage = Storage(_refusing("new"), units=[old])
    applied = await _carry_out(uploader_of(storage), _plan("one", "new", already=[old]))

    assert (applied.uploaded, applied.unchanged) == ((), ("a_0",))
    assert [each.chunk_id for each in applied.failed] == ["a_1"]
    assert storage.units == [old]


async def test_what_a_stale_pack_holds_is_uploaded_before_it_is_removed() -> None:
    """Its text is never missing in between."""
    old = _pack("one", "two", "old")
    storage = Storage(units=[old])
    applied = await _carry_out(uploader_of(storage), _plan("one", "two", "new", already=[old]))

    pack = pack_text(["one", "two"])
    assert storage.calls == ["upload new", f"upload {pack}", "remove 1"]
    assert (sorted(applied.uploaded), applied.removed_chunks) == (["a_0", "a_1", "a_2"], 3)


@virtually
async def test_an_outage_splits_nothing() -> None:
    """However long it lasts: it comes back, and the pack is stored as it is."""
    left = [50]

    def answer(unit: Unit, attempt: int) -> Failure | None:
        left[0] -= 1
        return Failure("not embedded") if left[0] > 0 else None

    down = Failure("the embedder is down")
    storage = Storage(answer, embedding=lambda text: down if left[0] > 0 else None)
    metrics = Metrics()
    await _carry_out(uploader_of(storage, metrics=metrics), _plan("one", "two"))

    assert metrics.registry.get_sample_value("anythingllm_consumer_packs_split_total") == 0
    assert {call for call in storage.calls if call.startswith("upload")} == {
        f"upload {pack_text(['one', 'two'])}"
    }


class Judged:
    """A pack that fails, and controls beside it."""

    def __init__(
        self, embeds: set[int], texts: Sequence[str] = ("word " * 40, "more " * 60)
    ) -> None:
        self.clock = Clock()
        self.embeds = embeds  # lengths of text that pass, beside its own
        self.storage = Storage(embedding=self._embed)
        gates = gates_of(self.storage, clock=self.clock)
        slots = RequestSlots(asyncio.Semaphore(1), gates)
        self.giving_up = giving_up_of(
            self.storage, gates, slots, recovery=RECOVERY, clock=self.clock, many=5
        )
        plan = make_plan(DOCS, document("a", *texts), version(), (), packing=Packing(10))
        (unit,) = plan.missing
        upload = self.storage.upload("docs", unit, trace_id=TRACE, check=lambda: None)
        self.pending = PendingUnit(unit, upload, watched(unit, A, DOCS))
        right = AssignmentRight(Fence("assignment"))
        self.work = UploadState(plan, A, right, TRACE, [self.pending])

    def _embed(self, text: str) -> Failure | None:
        if text == self.pending.unit.text:
            return UNCLEAR
        return None if len(text) in self.embeds else UNCLEAR

    async def rounds(self, most: int) -> int:
        """Until it is split; 0: it never is."""
        for n in range(1, most + 1):
            self.pending.failure = UNCLEAR
            self.pending.attempts += 1
            if await self.giving_up.after(self.pending, UNCLEAR, self.work):
                return n
            self.clock.now = max(self.clock.now + 1, self.pending.due)
        return 0


async def test_a_pack_that_fails_alone_is_split_after_a_minute() -> None:
    """Four pairs: nothing is given up, so less is asked than before a dead letter."""
    judged = Judged(set())
    judged.embeds.add(len(judged.pending.unit.text))
    begun = judged.clock.now
    assert await judged.rounds(10) == 4

    assert judged.clock.now - begun <= RECOVERY
    assert not judged.work.used_up


async def test_a_pack_is_split_where_all_of_its_length_fail_and_shorter_ones_pass() -> None:
    """An embedder that takes no request so long would hold it for ever."""
    judged = Judged({len("more " * 60)})

    assert 0 < await judged.rounds(10) <= 5


async def test_a_pack_is_not_split_where_nothing_passes() -> None:
    """That is an outage."""
    assert await Judged(set()).rounds(60) == 0


@pytest.mark.parametrize(
    ("own", "passed", "failed_since", "expected"),
    [(3, 3, 0, False), (4, 4, 0, True), (4, 2, 0, False), (9, 9, 1, False), (0, 9, 0, False)],
)
def test_when_a_pack_is_to_be_split(
    own: int, passed: int, failed_since: int, expected: bool
) -> None:
    """Below one chance in a hundred, and while others pass."""
    found = Comparison(0.0)
    for _ in range(own):
        found = found.with_own()
    for _ in range(passed):
        found = found.with_control(failed=False)
    for _ in range(failed_since):
        found = found.with_control(failed=True)

    assert is_to_be_split(found) is expected


async def test_a_pack_that_is_held_for_its_length_is_split_at_once() -> None:
    """What one pack took minutes to show need not be shown by each."""
    judged = Judged(set())
    lengths: Lengths = judged.giving_up._lengths
    long = len(judged.pending.unit.text)
    for _ in range(REFUSED):
        lengths.control(long, failed=True)
    judged.clock.now += 1
    assert await judged.giving_up.before(judged.pending, judged.work) is UnitStep.WAIT

    lengths.passed(10)
    judged.pending.due = judged.clock.now
    assert await judged.giving_up.before(judged.pending, judged.work) is UnitStep.GIVE_UP
    assert judged.pending.given_up


@virtually
async def test_a_pack_in_doubt_is_looked_for_before_it_is_split() -> None:
    """Its upload may still take effect, and its chunks would be there twice."""
    storage = Storage()
    uploader, plan = uploader_of(storage), _plan("one", "two")
    (pack,) = (unit.text for unit in plan.missing)
    storage.in_doubt[pack] = Failure("may come", ambiguous=True)
    lengths: Lengths = uploader._giving_up._lengths
    for _ in range(REFUSED):
        lengths.control(len(pack), failed=True)
    lengths.passed(10)
    applied = await _carry_out(uploader, plan)

    split = [f"abandon {pack}", "upload one", "upload two"]
    assert storage.calls == [f"look for {pack}", *split]
    assert applied.uploaded == ("a_0", "a_1")


def test_shorter_texts_that_were_stored_before_show_nothing() -> None:
    """All may be failing since."""
    clock = Clock()
    lengths = Lengths(clock, recovery=RECOVERY)
    lengths.passed(10)
    clock.now += 1
    for _ in range(REFUSED):
        lengths.control(2_000, failed=True)

    assert not lengths.shorter_pass


async def test_plain_texts_beside_a_pack_are_as_long_as_its_longest_chunk() -> None:
    """Longer ones might fail for their length, as the pack may."""
    judged = Judged(set(), texts=("日本語の文章。" * 30, "短い文。"))
    judged.embeds.clear()
    sent: list[str] = []
    judged.storage.embedding = sent.append  # and all is well
    slots = RequestSlots(asyncio.Semaphore(1), gates_of(judged.storage))
    probe = PoisonProbe(judged.storage, slots, random.Random(1))
    pair = Comparison(0.0).with_own().with_control(failed=True)
    right = AssignmentRight(Fence("assignment"))
    suspect = Suspect(DOCS, judged.pending.unit.text, right, TRACE)
    assert await RefusedPacks(probe, judged.clock).compare(judged.pending, suspect, pair)

    assert {len(text) for text in sent} == {len("日本語の文章。" * 30)}
    assert all(kind_of(text).is_prose for text in sent)


def test_culprits_are_bounded() -> None:
    """The longest unused goes first."""
    culprits = Culprits(most=2)
    for digest in ("a", "b", "a", "c"):
        culprits.note(digest)

    assert [digest in culprits for digest in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    ("before", "taken", "after"),
    [
        (False, 0.0, False),
        (False, 0.5, False),
        (False, 0.97, False),
        (False, 1.0, True),
        (True, 0.97, True),
        (True, 0.5, True),
        (True, 0.49, False),
        (True, 0.0, False),
    ],
)
def test_packs_begin_with_a_backlog_and_end_well_below_it(
    before: bool, taken: float, after: bool
) -> None:
    """One document more or less turns nothing over."""
    assert packs_now(taken, packed_before=before) is after


def test_the_pack_size_is_set_or_goes_by_the_backlog() -> None:
    """And remembers what it was."""
    taken = [0.0]
    size = PackSize(None, lambda: taken[0])
    found = []
    for taken[0] in (0.0, 1.0, 0.7, 0.4, 0.7):
        found.append(size.now())

    assert found == [1, AUTO_CHUNKS, AUTO_CHUNKS, 1, 1]
    assert PackSize(7, lambda: 1.0).now() == 7


def test_what_stands_between_chunks_is_blank() -> None:
    """Nobody sees it, and nothing of it is embedded."""
    assert not JOINT.strip()
