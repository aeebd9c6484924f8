"""Carrying out plans: fates as values, fair slots, waits that end, and nothing stale gone early."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.marker import StoredUnit, Unit
from consumer.model.names import Identity, Slug
from consumer.model.outcome import Applied, FailureReason
from consumer.pipeline.backoff import pause_of
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.pipeline.plan import Plan, make_plan
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight, DocumentRight
from consumer.pipeline.upload import PlanOutdated, Uploader
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.resilience.fuse import FuseRules
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import (
    TRACE,
    Answer,
    Clock,
    Storage,
    document,
    doubts_of,
    finishing,
    gates_of,
    index_of,
    stored,
    uploader_of,
    version,
)
from tests.virtual.loop import virtual_clock, virtually

DOCS = Slug("docs")
A = Identity("a")


def _plan(id: str, *texts: str, already: Sequence[StoredUnit] = ()) -> Plan:
    return make_plan(DOCS, document(id, *texts), version(5), already)


class Fences:
    def __init__(self) -> None:
        self.assignment = Fence("partition")
        self.stop = Fence("stop")

    async def carry_out(self, uploader: Uploader, plan: Plan) -> Applied:
        place = await InFlightLimit(InFlightBounds(1, 1), Metrics()).place()
        right = DocumentRight(self.assignment, self.stop, Fence("overtaken"), place)
        return await uploader.carry_out(plan, A, right, trace_id=TRACE)


def _failing(text: str, times: int, **failure: object) -> Answer:
    def answer(unit: Unit, attempt: int) -> Failure | None:
        if unit.text == text and attempt <= times:
            return Failure("it failed", **failure)  # type: ignore[arg-type]
        return None

    return answer


async def test_what_an_upload_may_still_remove_is_in_doubt_when_it_ends() -> None:
    """Otherwise the next version would count as stored what is about to go."""
    doubts, going = doubts_of(), stored("a", "one").location
    storage = Storage(_failing("one", 1, fault=Fault.DOCUMENT), going_by_uploads=[going])
    await Fences().carry_out(uploader_of(storage, doubts=doubts), _plan("a", "one"))

    assert doubts.going(DOCS, A) == {going}


async def test_what_proves_an_upload_is_counted_as_none() -> None:
    """The figures would show more uploads at once than are allowed, and each upload twice."""
    metrics = Metrics()
    in_flight: list[float | None] = []

    def note(unit: Unit, attempt: int) -> None:
        in_flight.append(metrics.registry.get_sample_value("anythingllm_consumer_chunks_in_flight"))

    storage = Storage(note, is_proven_later=True)
    await Fences().carry_out(uploader_of(storage, metrics=metrics), _plan("a", "one"))

    uploads = metrics.registry.get_sample_value("anythingllm_consumer_upload_seconds_count")
    assert (in_flight, uploads) == ([1, 0], 1)


async def test_what_is_stale_is_removed_after_everything_missing_is_stored() -> None:
    """The other way round text would be missing in between."""
    old = stored("a", "old")
    storage = Storage(units=[old])
    applied = await Fences().carry_out(
        uploader_of(storage), _plan("a", "one", "two", already=[old])
    )

    assert storage.calls == ["upload one", "upload two", "remove 1"]
    assert (sorted(applied.uploaded), applied.removed_chunks) == (["a_0", "a_1"], 1)


async def test_a_refused_chunk_is_given_up_at_once_and_keeps_what_is_stale() -> None:
    """A definite refusal is no reason to try again; its siblings are stored all the same."""
    old = stored("a", "old")
    refusal = _failing("two", 99, fault=Fault.DOCUMENT, http_status=422)
    storage = Storage(refusal, units=[old])
    applied = await Fences().carry_out(
        uploader_of(storage), _plan("a", "one", "two", "three", already=[old])
    )

    (failed,) = applied.failed
    assert (failed.chunk_id, failed.reason) == ("a_1", FailureReason.REJECTED)
    assert (failed.http_status, failed.attempts) == (422, 1)
    assert sorted(applied.uploaded) == ["a_0", "a_2"]
    assert applied.removed_chunks == 0
    assert old in storage.units


@pytest.mark.parametrize("fault", [Fault.THEIRS, Fault.BUSY, Fault.UNCLEAR])
async def test_everything_but_a_refusal_is_tried_for_as_long_as_it_takes(fault: Fault) -> None:
    """No number of failures makes an outage the document's fault."""
    down = Failure("the embedder is down")
    storage = Storage(
        _failing("one", 20, fault=fault, retry_after=0.001), embedding=lambda text: down
    )
    applied = await Fences().carry_out(uploader_of(storage), _plan("a", "one", "two"))

    assert sorted(applied.uploaded) == ["a_0", "a_1"]
    assert storage.calls.count("upload one") == 21
    assert storage.calls.count("upload two") == 1


@virtually
async def test_the_attempts_of_a_round_are_counted_for_the_chunk_alone() -> None:
    """Outages count no attempt: what is told of a refused chunk is how often *it* was tried."""

    def answer(unit: Unit, attempt: int) -> Failure | None:
        faults = {1: Fault.THEIRS, 2: Fault.UNCLEAR, 3: Fault.BUSY, 4: Fault.DOCUMENT}
        return Failure("it failed", fault=faults[attempt])

    storage = Storage(answer)
    uploader = uploader_of(storage, gates=gates_of(storage, clock=virtual_clock()))
    applied = await Fences().carry_out(uploader, _plan("a", "one"))

    assert applied.failed[0].attempts == 2


async def test_requests_at_once_are_bounded_in_all_and_for_one_document() -> None:
    """Slots are shared by all documents, and no document has more than its share."""
    storage, texts = Storage(), [f"text {n}" for n in range(30)]
    uploader = uploader_of(storage, slots=3, per_document=2)
    await Fences().carry_out(uploader, _plan("a", *texts))
    assert storage.most_in_flight == 2
    await asyncio.gather(*(Fences().carry_out(uploader, _plan(n, *texts)) for n in "bcd"))

    assert storage.most_in_flight == 3


async def test_who_waits_between_attempts_holds_no_slot() -> None:
    """With one slot, a document whose chunk fails again and again does not stop another."""
    storage = Storage(_failing("sick", 10_000))
    uploader = uploader_of(storage, slots=1)
    sick = asyncio.create_task(Fences().carry_out(uploader, _plan("a", "sick")))
    async with finishing(sick):
        async with asyncio.timeout(5):
            applied = await Fences().carry_out(uploader, _plan("b", *map(str, range(50))))

        assert len(applied.uploaded) == 50
        assert not sick.done()


async def test_a_closed_fence_starts_no_request_and_lets_those_under_way_finish() -> None:
    """Nobody would know of a request that was broken off whether it took effect."""
    storage, fences = Storage(), Fences()
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    storage.uploading.close()
    plan = _plan("a", *(f"text {n}" for n in range(10)))
    work = asyncio.create_task(fences.carry_out(uploader_of(storage, index, slots=2), plan))
    await storage.uploading.arrived.acquire()
    await storage.uploading.arrived.acquire()
    fences.assignment.close()
    await asyncio.sleep(0)
    assert not work.done()
    storage.uploading.open()
    with pytest.raises(FenceClosedError):
        await work

    assert storage.calls.count("listing docs") == 1
    assert len([call for call in storage.calls if call.startswith("upload")]) == 2
    assert len(await index.units(DOCS, A, trace_id=TRACE)) == 2


@pytest.mark.parametrize("which", ["assignment", "stop"])
async def test_a_wait_for_an_outage_to_end_is_ended_by_revocation_and_by_stop(which: str) -> None:
    """A document that can only wait gives its partition, or the process, up at once."""
    fences = Fences()
    storage = Storage(_failing("one", 10_000, fault=Fault.BUSY, retry_after=3600.0))
    work = asyncio.create_task(fences.carry_out(uploader_of(storage), _plan("a", "one")))
    await storage.uploading.arrived.acquire()
    await asyncio.sleep(0.01)
    getattr(fences, which).close()
    async with asyncio.timeout(1):
        with pytest.raises(FenceClosedError):
            await work


async def test_a_slot_that_was_waited_for_in_vain_is_not_lost() -> None:
    """Whoever is woken out of the queue for slots leaves it in order."""
    storage, fences = Storage(), Fences()
    uploader = uploader_of(storage, slots=1)
    storage.uploading.close()
    first = asyncio.create_task(Fences().carry_out(uploader, _plan("a", "one")))
    await storage.uploading.arrived.acquire()
    second = asyncio.create_task(fences.carry_out(uploader, _plan("b", "two")))
    await asyncio.sleep(0.01)
    fences.assignment.close()
    with pytest.raises(FenceClosedError):
        await second
    storage.uploading.open()
    await first
    async with asyncio.timeout(1):
        applied = await Fences().carry_out(uploader, _plan("c", "three"))

    assert applied.uploaded == ("c_0",)


async def test_an_outage_ends_the_round_of_its_document() -> None:
    """Not one request, and not one log line, for each of 1,000 chunks in every round."""
    rounds = 0

    def answer(unit: Unit, attempt: int) -> Failure | None:
        nonlocal rounds
        rounds += 1
        return Failure("down", fault=Fault.THEIRS) if rounds <= 5 else None

    storage, texts = Storage(answer), [f"text {n}" for n in range(1_000)]
    applied = await Fences().carry_out(uploader_of(storage, per_document=1), _plan("a", *texts))

    assert len(applied.uploaded) == 1_000
    assert len([call for call in storage.calls if call.startswith("upload")]) == 1_005


class _Pending(Failure):
    fault = Fault.THEIRS
    pending = True


async def test_to_wait_for_what_may_still_come_is_its_chunks_alone() -> None:
    """It is looked for again; its siblings need not wait for that."""

    def answer(unit: Unit, attempt: int) -> Failure | None:
        is_first = unit.text == "one" and attempt == 1
        return _Pending("it may still come", ambiguous=True) if is_first else None

    storage = Storage(answer)
    plan = _plan("a", "one", "two", "three")
    await Fences().carry_out(uploader_of(storage, per_document=1), plan)

    assert storage.calls == ["upload one", "upload two", "upload three", "upload one"]


async def test_a_gateway_that_reaches_nobody_ends_the_round_also_in_doubt() -> None:
    """It is an outage, whatever became of this chunk: its siblings would fail in the same way."""
    storage = Storage(_failing("one", 1, fault=Fault.THEIRS, ambiguous=True))
    plan = _plan("a", "one", "two", "three")
    await Fences().carry_out(uploader_of(storage, per_document=1), plan)

    assert storage.calls[:2] == ["upload one", "upload one"]


async def test_a_rest_that_somebody_asked_for_is_kept_by_all_documents() -> None:
    """A 429 is a clock for everybody, not for the chunk that met it."""
    clock = Clock()
    storage = Storage(_failing("one", 1, fault=Fault.BUSY, retry_after=30.0))
    uploader = uploader_of(storage, gates=gates_of(storage, clock=clock))
    first = asyncio.create_task(Fences().carry_out(uploader, _plan("a", "one")))
    await storage.uploading.arrived.acquire()
    await asyncio.sleep(0.01)
    second = asyncio.create_task(Fences().carry_out(uploader, _plan("b", "two")))
    async with finishing(first, second):
        await asyncio.sleep(0.05)
        assert storage.calls == ["upload one"]
        clock.now += 31
        async with asyncio.timeout(1):
            await Fences().carry_out(uploader, _plan("c", "three"))

        assert storage.calls == ["upload one", "upload three"]


async def test_removals_are_repeated_until_they_are_done_and_then_noted() -> None:
    """The index must not say "gone" before it is so."""
    old = stored("a", "old")
    failures = [Failure("down", fault=Fault.THEIRS), Failure("unclear")]
    storage = Storage(units=[old], removal_fails=failures)
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    applied = await Fences().carry_out(uploader_of(storage, index), _plan("a", already=[old]))

    assert storage.calls.count("remove 1") == 3
    assert applied.removed_chunks == 1
    assert await index.units(DOCS, A, trace_id=TRACE) == ()


async def test_a_fault_in_the_program_is_not_eaten() -> None:
    """Anything but a `Failure` ends the work with that exception."""

    def answer(unit: Unit, attempt: int) -> Failure | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Fences().carry_out(uploader_of(Storage(answer)), _plan("a", "one", "two"))


async def test_a_workspace_that_does_not_get_ready_holds_no_slots() -> None:
    """Making a workspace ready can take minutes; the others' documents go on meanwhile."""
    sick, well = Storage(), Storage()
    slots = asyncio.Semaphore(1)
    waiting = uploader_of(sick, slots=slots)
    going = uploader_of(well, slots=slots)
    sick.preparing.close()
    held_up = asyncio.create_task(Fences().carry_out(waiting, _plan("a", "one", "two")))
    async with finishing(held_up):
        await sick.preparing.arrived.acquire()
        async with asyncio.timeout(1):
            applied = await Fences().carry_out(going, _plan("b", "three"))

    assert applied.uploaded == ("b_0",)


async def test_a_vanished_workspace_makes_the_plan_outdated() -> None:
    """What was stored there is gone: the plan's unchanged chunks would be reported falsely."""

    def gone(unit: Unit, attempt: int) -> Failure | None:
        failure = Failure("no such workspace", fault=Fault.THEIRS)
        failure.workspace_gone = True
        return failure

    storage = Storage(gone)
    with pytest.raises(PlanOutdated):
        await Fences().carry_out(uploader_of(storage), _plan("a", "one"))

    assert storage.calls == ["upload one"]


@pytest.mark.parametrize("already", [(), (stored("a", "old"),)])
async def test_what_was_planned_before_others_emptied_the_workspace_is_planned_anew(
    already: Sequence[StoredUnit],
) -> None:
    """Its unchanged chunks may be gone; also where that shows while something is removed."""
    storage = Storage(units=list(already))
    index = index_of(storage)
    plan = _plan("a", "one", already=already)
    storage.uploading.close()
    carrying = asyncio.create_task(Fences().carry_out(uploader_of(storage, index), plan))
    async with finishing(carrying):
        await storage.uploading.arrived.acquire()
        index.forget(DOCS)
        storage.uploading.open()
        with pytest.raises(PlanOutdated) as outdated:
            await carrying

    assert outdated.value.uploaded == ("a_0",)
    assert "remove 1" not in storage.calls


def test_the_pause_after_a_wish_is_the_wish_and_little_more() -> None:
    """After a long outage work begins when the breaker's time is over, not a backoff later."""
    grown = RetryPolicy(attempts=3, base=60.0, cap=60.0)
    for seed in range(50):
        rng = random.Random(seed)
        assert 30.0 <= pause_of(grown, 9, [30.0, 12.0], rng) <= 35.0
        assert 0.0 <= pause_of(grown, 9, [], rng) <= 60.0


async def test_a_chunk_that_is_given_up_leaves_no_file_behind() -> None:
    """Whether it was refused, or proven to fail by itself."""
    refused = Storage(_failing("one", 99, fault=Fault.DOCUMENT))
    await Fences().carry_out(uploader_of(refused), _plan("a", "one", "two"))
    poison = Storage(_failing("one", 99), embedding=lambda text: _poison(text, "one"))
    applied = await Fences().carry_out(uploader_of(poison), _plan("a", "one", "two"))

    assert refused.calls.count("abandon one") == poison.calls.count("abandon one") == 1
    assert [failed.reason for failed in applied.failed] == [FailureReason.EXHAUSTED]


async def test_a_chunk_that_is_given_up_and_is_there_after_all_is_stored() -> None:
    """A last look shows it: nobody could look at its file before."""
    storage = Storage(_failing("one", 99, fault=Fault.DOCUMENT), stored_after_all={"one"})
    index = index_of(storage)
    await index.units(DOCS, Identity("a"), trace_id=TRACE)
    applied = await Fences().carry_out(uploader_of(storage, index), _plan("a", "one", "two"))

    assert (applied.failed, set(applied.uploaded)) == ((), {"a_0", "a_1"})
    assert len(index.known(DOCS, Identity("a"))) == 2


async def test_what_an_upload_has_removed_is_believed_to_be_there_no_more() -> None:
    """A listing showed it; the second look would take the copy that stays for its double."""
    gone = stored("a", "one", location="custom-documents/gone.json")
    storage = Storage(units=[gone], removed_by_uploads=[gone])
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    await Fences().carry_out(uploader_of(storage, index), _plan("a", "one"))

    assert [row.location for row in index.known(DOCS, A)] == ["custom-documents/one.json"]


def _poison(text: str, poison: str) -> Failure | None:
    return Failure("refused") if text == poison else None


async def test_a_workspace_of_which_only_uploads_say_that_it_is_gone_has_to_prove_itself() -> None:
    """Otherwise it would be found, and tried, for ever."""

    def answer(unit: Unit, attempt: int) -> Failure | None:
        failure = Failure("gone", fault=Fault.THEIRS)
        failure.workspace_gone = True
        return failure

    storage = Storage(answer)
    with pytest.raises(PlanOutdated):
        await Fences().carry_out(uploader_of(storage), _plan("a", "one"))

    assert storage.distrusted == ["docs"]


@virtually
async def test_replays_do_not_use_up_the_trials_of_a_blown_fuse_without_a_word() -> None:
    """One that goes well is a sign that things are better, as that of any other document."""
    storage = Storage()
    rules = FuseRules(share=0.5, window=20, minimum=1, recovery=60.0)
    gates = gates_of(storage, clock=virtual_clock(), fuse=rules)
    gates.document_done(used_up=True, is_trial=False)
    uploader, fence = uploader_of(storage, gates=gates), Fence("assignment")
    replays = [
        uploader.carry_out(
            _plan(f"a{n}", "one"), A, AssignmentRight(fence), trace_id=TRACE, is_replay=True
        )
        for n in range(10)
    ]
    await asyncio.gather(*replays)

    assert not gates.fuse.blown
    assert virtual_clock()() < 200


@virtually
async def test_replays_that_fail_do_not_blow_the_fuse() -> None:
    """Whoever replays knows that they failed."""
    storage = Storage(_failing("one", 10_000), embedding=lambda text: _poison(text, "one"))
    rules = FuseRules(share=0.5, window=20, minimum=1, recovery=60.0)
    gates = gates_of(storage, clock=virtual_clock(), fuse=rules)
    uploader, fence = uploader_of(storage, gates=gates), Fence("assignment")
    for n in range(10):
        plan = _plan(f"a{n}", "one")
        applied = await uploader.carry_out(
            plan, A, AssignmentRight(fence), trace_id=TRACE, is_replay=True
        )
        assert len(applied.failed) == 1

    assert not gates.fuse.blown


async def test_what_proves_an_upload_has_slots_of_its_own() -> None:
    """Uploads that hang keep no document open whose chunks are all there."""
    storage, busy = Storage(), asyncio.Semaphore(1)
    await busy.acquire()
    slots = RequestSlots(busy, gates_of(storage))
    right = AssignmentRight(Fence("assignment"))

    async def request() -> str:
        return "proven"

    async with asyncio.timeout(5):
        assert await slots.send(DOCS, request, right, proves=True) == "proven"
