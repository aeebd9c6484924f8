"""The journey: bounds, order, and what becomes of work whose right to go on ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from consumer.contract.envelope import Wrapping
from consumer.model.death_count import DeathCount
from consumer.model.document import ProcessedDocument
from consumer.model.fault import Failure, Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Unit
from consumer.model.record import Headers, Record
from consumer.model.routing import Routing
from consumer.pipeline.apply import Applier
from consumer.pipeline.carried_out import CarriedOut
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.pipeline.documents_in_work import DocumentsInWork
from consumer.pipeline.in_flight import InFlightBounds
from consumer.pipeline.journey import Journey
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.ports import DecodeApart, Release
from consumer.pipeline.read import Reader
from consumer.pipeline.reminted_ids import RemintedIds
from consumer.pipeline.settle import Address, Settler
from consumer.resilience.fence import Fence
from consumer.telemetry.metrics import Metrics
from tests.doubles.decoding import decoding_here
from tests.unit.pipeline.doubles import (
    DAY,
    Gate,
    Storage,
    always_stored,
    backoff_of,
    deathwatch_of,
    doubts_of,
    eraser_of,
    gates_of,
    index_of,
    looks_of,
    record,
    uploader_of,
)


def _value(id: str, *texts: str, day: int = 1) -> bytes:
    return orjson.dumps(
        {
            "id": id,
            "title": id,
            "technology": "docs",
            "source_url": f"https://docs.example/{id}",
            "created_at": f"2026-02-{day:02}",
            "chunks": [{"id": f"{id}_{n}", "content": text} for n, text in enumerate(texts)],
        }
    )


class Delivery:
    def __init__(self, record: Record, fence: Fence) -> None:
        self.record = record
        self.fence = fence
        self.ended = False
        self.settled_before = False
        self.carried_out_before = False
        self.held_before = False
        self.held_until = 0.0
        self.taken_over_at: float | None = None
        self.carried_out: bool | None = None
        self.is_settled = False
        self.task: asyncio.Task[object] | None = None

    def carried_by(self, task: asyncio.Task[object]) -> None:
        self.task = task

    def settled(self, *, carried_out: bool) -> None:
        assert not self.is_settled, "settled twice"
        self.is_settled = True
        self.carried_out = carried_out

    def leave_in_doubt(self, what: str, until: float) -> Release:
        self.held_until = until
        return lambda: None

    def left_in_doubt(self, what: str) -> bool:
        return False

    def deaths_of(self, what: str) -> DeathCount | None:
        return None

    def note_deaths(self, what: str, count: DeathCount | None) -> None:
        raise AssertionError("nobody died")

    def hold(self, until: float, *, carried_out: bool) -> Release:
        self.held_until = until
        return partial(self.settled, carried_out=carried_out)


class World:
    """A journey whose records, server and Kafka are in memory."""

    def __init__(
        self,
        documents: int = 32,
        size: int = 1_000_000,
        decode_apart: DecodeApart | None = None,
    ) -> None:
        self.storage = Storage()
        self.fence = Fence("partition")
        self.handed_out: list[Delivery] = []
        self.results: list[dict[str, Any]] = []
        self.letters: list[dict[str, bytes]] = []
        self.publishing = Gate()
        self.metrics = Metrics()
        self.in_work = DocumentsInWork()
        self.settled_before: dict[int, bool] = {}
        """Offsets that an earlier assignment settled, and whether they were carried out."""
        self._waiting: asyncio.Queue[Record] = asyncio.Queue()
        self._offset = 0
        self._news = asyncio.Event()
        index = index_of(self.storage)
        self.gates = gates_of(self.storage)
        queues = KeyQueues()
        self.journey = Journey(
            self._poll,
            partial(
                Reader(
                    limits=DecodeLimits(),
                    identity=IdentityTemplate.parse("{id}"),
                    routing=Routing(),
                    replay_topic="replay",
                    metrics=self.metrics,
                    now=lambda: DAY,
                ).read_apart,
                decode_apart=decode_apart or decoding_here(DecodeLimits()),
            ),
            Applier(
                self.storage,
                index,
                self.gates,
                uploader_of(self.storage, index, gates=self.gates, in_work=self.in_work),
                eraser_of(self.storage, index, self.gates),
                backoff_of(self.gates),
                CarriedOut(),
                RemintedIds(self.metrics),
                looks_of(),
                doubts_of(),
                permits=lambda slug: True,
            ),
            Settler(
                self._publish,
                Address("results", "letters", "replay", "g", "t", "c"),
                metrics=self.metrics,
                now=lambda: DAY,
            ),
            doubts_of(),
            deathwatch_of(self.storage, self.gates),
            queues=queues,
            bounds=InFlightBounds(documents, size),
            metrics=self.metrics,
            in_work=self.in_work,
        )

    def bring(self, values: Iterable[bytes | None], key: bytes = b"k") -> None:
        for value in values:
            self._waiting.put_nowait(record(value, key=key, offset=self._offset))
            self._offset += 1

    async def _poll(self, timeout: float) -> Delivery | None:
        try:
            async with asyncio.timeout(0.01):
                found = await self._waiting.get()
        except TimeoutError:
            return None
        delivery = Delivery(found, self.fence)
        delivery.settled_before = found.at.offset in self.settled_before
        delivery.carried_out_before = self.settled_before.get(found.at.offset, False)
        self.handed_out.append(delivery)
        self._news.set()
        return delivery

    async def _publish(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        await self.publishing.passed()
        if topic == "results":
            self.results.append(orjson.loads(value or b""))
        else:
            self.letters.append(dict(headers))
        self._news.set()

    async def results_are(self, count: int, seconds: float = 5) -> None:
        await self._until(lambda: len(self.results) >= count, seconds)

    async def handed_out_are(self, count: int) -> None:
        await self._until(lambda: len(self.handed_out) >= count)
        await asyncio.sleep(0.03)  # long enough for one too many

    async def all_carried(self) -> None:
        """Until all that was begun has ended, one way or another."""
        async with asyncio.timeout(5):
            await asyncio.gather(*(d.task for d in self.handed_out if d.task))

    async def _until(self, condition: Any, seconds: float = 5) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._news.clear()
                await self._news.wait()

    @property
    def statuses(self) -> list[tuple[str, str]]:
        return [(result["document_id"], result["status"]) for result in self.results]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.journey.run())
        try:
            yield task
        finally:
            self.journey.stop()
            self.storage.uploading.open()
            self.publishing.open()
            self.fence.close()
            async with asyncio.timeout(5):
                await asyncio.gather(task, return_exceptions=True)


async def test_no_more_documents_are_taken_than_the_window_holds() -> None:
    """What waits in Kafka costs no memory here."""
    world = World(documents=3)
    world.bring(_value(f"d{n}", "text") for n in range(10))
    world.storage.uploading.close()
    async with world.running():
        await world.handed_out_are(3)
        assert len(world.handed_out) == 3
        world.storage.uploading.open()
        await world.results_are(10)

    assert all(delivery.is_settled for delivery in world.handed_out)


async def test_no_more_bytes_are_worked_on_than_the_budget_holds() -> None:
    """One record more is in hand, waiting; a record above the whole budget goes alone."""
    small, large = _value("small", "x" * 400), _value("large", "y" * 5_000)
    world = World(size=1_000)
    world.bring([small, large, _value("other", "x" * 400)])
    world.storage.uploading.close()
    async with world.running():
        await world.handed_out_are(2)
        assert len(world.handed_out) == 2
        assert world.handed_out[1].task is None
        world.storage.uploading.open()
        await world.results_are(3)

    assert all(delivery.is_settled for delivery in world.handed_out)


async def test_nothing_is_settled_before_kafka_has_acknowledged_the_result() -> None:
    """An offset that is committed earlier loses the answer in a crash."""
    world = World()
    world.publishing.close()
    world.bring([_value("d", "text")])
    async with world.running():
        await world.publishing.arrived.acquire()
        assert not world.handed_out[0].is_settled
        world.publishing.open()
        await world.results_are(1)

    assert world.handed_out[0].is_settled


async def test_versions_of_one_document_are_applied_in_order_and_overtaken_ones_are_told() -> None:
    """What waits behind a running version and is replaced by a newer one is superseded."""
    world = World()
    world.storage.uploading.close()
    world.bring(_value("d", f"text {day}", day=day) for day in range(1, 6))
    async with world.running():
        await world.handed_out_are(5)
        assert world.statuses == [("d", "superseded")] * 3
        world.storage.uploading.open()
        await world.results_are(5)

    assert [unit.marker.version.instant.day for unit in world.storage.units] == [5]
    assert [status for _, status in world.statuses[3:]] == ["succeeded"] * 2


async def test_a_document_published_again_after_its_tombstone_is_stored() -> None:
    """A waiting tombstone's date says nothing against a document that comes after it."""
    world = World()
    world.storage.uploading.close()
    world.bring([_value("d", "text")], key=b"d")
    world._waiting.put_nowait(record(None, key=b"d", headers=(("workspace", b"docs"),), offset=1))
    world._offset = 2
    world.bring([_value("d", "text")], key=b"d")
    async with world.running():
        await world.handed_out_are(3)
        world.storage.uploading.open()
        await world.results_are(3)

    assert len(world.storage.units) == 1


async def test_what_is_in_work_can_be_seen() -> None:
    """Each document with the station it is at, and nothing once it is settled."""
    world = World()
    world.publishing.close()
    world.bring([_value("d", "text"), _value("d", "newer text", day=2)])

    def seen() -> list[tuple[str, bool]]:
        found = ((each, world.in_work.progress(each)) for each in world.in_work)
        return [(str(each.station), progress is not None) for each, progress in found]

    world.storage.uploading.close()
    async with world.running():
        await world.handed_out_are(2)
        await world.storage.uploading.arrived.acquire()
        assert seen() == [("plan", True), ("turn", False)]
        world.storage.uploading.open()
        await world.publishing.arrived.acquire()
        assert seen() == [("settle", False), ("turn", False)]
        world.publishing.open()
        await world.results_are(2)
        await world.all_carried()
        assert seen() == []


def _down(unit: Unit, attempt: int) -> Failure | None:
    return Failure("down", fault=Fault.THEIRS, retry_after=3600)


async def test_every_line_about_a_document_names_it() -> None:
    """Topic and offset alone would have a reader at night look into Kafka."""
    world = World()
    world.storage.answer = lambda _unit, n: Failure("odd") if n == 1 else None
    with capture_logs([merge_contextvars]) as logs:
        async with world.running():
            world.bring([_value("a", "one")], key=b"a")
            await world.results_are(1)

    assert "chunk.attempt_failed" in {line["event"] for line in logs}
    assert {line.get("identity") for line in logs} == {"a"}


async def test_work_behind_a_closed_fence_is_dropped_without_a_word() -> None:
    """The next owner does it again; an answer from us would be one too many."""
    world = World()
    world.storage.answer = _down
    world.bring(_value(f"d{n}", "text") for n in range(3))
    async with world.running() as task:
        await world.handed_out_are(3)
        world.fence.close()
        await world.all_carried()
        assert not task.done()

    assert world.results == []
    assert not any(delivery.is_settled for delivery in world.handed_out)


async def test_dropped_work_gives_back_its_place() -> None:
    """Otherwise a few rebalances would take all places for good."""
    world = World(documents=2, size=2_000)
    world.storage.answer = _down
    async with world.running():
        for number in range(3):
            world.bring([_value("a", "text"), _value("a2", "text")])
            await world.handed_out_are(2 * number + 2)
            world.fence.close()
            await world.all_carried()
            world.fence = Fence("next")
        world.storage.answer = always_stored
        world.bring([_value("b", "text"), _value("c", "text")])
        await world.results_are(2)

    assert sorted(world.statuses) == [("b", "succeeded"), ("c", "succeeded")]
    in_flight = world.metrics.registry.get_sample_value
    assert in_flight("anythingllm_consumer_documents_in_flight") == 0
    assert in_flight("anythingllm_consumer_bytes_in_flight") == 0


async def test_work_whose_partition_ended_meanwhile_publishes_nothing() -> None:
    """Its last request was let finish; its answer belongs to the next owner."""
    world = World()
    world.storage.uploading.close()
    world.bring([_value("d", "text")])
    async with world.running():
        await world.storage.uploading.arrived.acquire()
        world.handed_out[0].ended = True
        world.storage.uploading.open()
        await world.all_carried()

    assert (world.results, world.handed_out[0].is_settled) == ([], False)


async def test_a_stop_takes_nothing_in_and_finishes_what_is_begun() -> None:
    """Also what waits for its turn behind another version.

    A poll under way may hand out one more, which is not begun.
    """
    world = World()
    world.storage.uploading.close()
    world.bring([_value("d", "one", day=1), _value("d", "two", day=2)])
    async with world.running() as task:
        await world.handed_out_are(2)
        world.journey.stop()
        world.bring([_value("late", "text")])
        world.storage.uploading.open()
        async with asyncio.timeout(5):
            await task

    assert world.statuses == [("d", "succeeded")] * 2
    assert [late.task for late in world.handed_out[2:]] in ([], [None])


async def test_what_waits_behind_a_document_that_a_stop_drops_is_dropped() -> None:
    """The next start begins with the earlier one: a tombstone would remove what it finds."""
    world = World()
    world.storage.answer = lambda unit, n: _down(unit, n) if unit.text == "one" else None
    world.storage.uploading.close()
    world.bring([_value("d", "one", day=2), _value("d", "two", day=1)])
    async with world.running() as task:
        await world.handed_out_are(2)
        await world.storage.uploading.arrived.acquire()
        world.journey.stop()
        world.storage.uploading.open()
        async with asyncio.timeout(5):
            await task

    assert world.statuses == []
    assert not any(delivery.is_settled for delivery in world.handed_out)
    assert "upload two" not in world.storage.calls


async def test_a_fault_in_the_program_ends_the_journey() -> None:
    """Nothing runs on with a document missing; nothing of it is settled."""

    def broken(unit: Unit, attempt: int) -> Failure | None:
        raise ZeroDivisionError

    world = World()
    world.storage.answer = broken
    world.bring([_value("d", "text"), _value("e", "text")])
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(5):
            await world.journey.run()

    assert caught.value.subgroup(ZeroDivisionError) is not None
    assert not any(delivery.is_settled for delivery in world.handed_out)


async def test_a_bad_event_is_settled_while_the_server_is_down() -> None:
    """What needs no AnythingLLM does not wait for it."""
    world = World()
    world.storage.uploading.close()
    world.bring([_value("d", "text"), b"nonsense", _value("", "no id")])
    async with world.running():
        await world.handed_out_are(3)
        assert [letter["dlq.reason"] for letter in world.letters] == [b"undecodable", b"invalid"]
        assert [delivery.is_settled for delivery in world.handed_out] == [False, True, True]


async def test_what_was_settled_before_a_restart_is_not_worked_again() -> None:
    """Its result is published: a second one would be one too many."""
    world = World()
    world.settled_before = {1: True}
    world.bring([_value("a", "text"), _value("b", "text"), _value("c", "text")])
    async with world.running():
        await world.results_are(2)
        await world.all_carried()

    assert sorted(world.statuses) == [("a", "succeeded"), ("c", "succeeded")]
    assert [delivery.is_settled for delivery in world.handed_out] == [True] * 3
    assert [delivery.carried_out for delivery in world.handed_out] == [True] * 3
    assert len(world.storage.units) == 2


@pytest.mark.parametrize(("carried_out", "status"), [(True, "superseded"), (False, "succeeded")])
async def test_what_was_carried_out_before_a_restart_is_remembered(
    carried_out: bool, status: str
) -> None:
    """A version that left no marker still keeps older ones out; one that was refused does not."""
    world = World()
    world.settled_before = {0: carried_out}
    world.bring([_value("a", day=2), _value("a", "old text", day=1)])
    async with world.running():
        await world.results_are(1)

    assert world.statuses == [("a", status)]


async def test_what_was_not_carried_out_is_settled_as_such() -> None:
    """After a restart it must not keep older versions out."""
    world = World()
    world.bring([b"no event"])
    async with world.running():
        await world.handed_out_are(1)
        await world.all_carried()

    assert [delivery.carried_out for delivery in world.handed_out] == [False]


def _heavy(id: str) -> bytes:
    chunks = [{"id": f"{id}_{n}", "content": f"text {n}"} for n in range(2_000)]
    head = {"id": id, "title": "T", "technology": "t", "source_url": "u"}
    return orjson.dumps(head | {"chunks": chunks, "unknown": [0] * 10_000})


class _Apart:
    """Decodes when it is let."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.decoding = Gate()
        self.ended = 0

    async def decode(self, value: bytes, wrapping: Wrapping) -> ProcessedDocument:
        self.begun.release()
        try:
            await self.decoding.passed()
        finally:
            self.ended += 1
        return decode(value, DecodeLimits())


async def test_a_heavy_event_keeps_its_place_in_the_order() -> None:
    """What was polled later waits for it to be decoded, and what was begun before does not."""
    apart = _Apart()
    apart.decoding.close()
    world = World(decode_apart=apart.decode)
    world.bring([_value("a", "text"), _heavy("d"), _value("d", "newer", day=2)])
    async with world.running():
        await apart.begun.acquire()
        await world.results_are(1)
        assert world.statuses == [("a", "succeeded")]
        apart.decoding.open()
        await world.results_are(3)

    assert [id for id, _ in world.statuses] == ["a", "d", "d"]
    chunks = [result["total_chunks"] for result in world.results]
    assert chunks[2] == 1  # the newer one is what stays


async def test_a_heavy_event_whose_partition_goes_is_not_decoded_any_more() -> None:
    """A revocation waits for nothing, and the place is free again."""
    apart = _Apart()
    apart.decoding.close()
    world = World(documents=1, decode_apart=apart.decode)
    world.bring([_heavy("d")])
    async with world.running() as task:
        await apart.begun.acquire()
        world.fence.close()
        world.fence = Fence("next")
        world.bring([_value("b", "text")])
        await world.results_are(1)
        assert not task.done()

    assert (world.statuses, apart.ended) == ([("b", "succeeded")], 1)
    assert world.metrics.registry.get_sample_value("anythingllm_consumer_bytes_in_flight") == 0


async def test_a_stop_ends_the_decoding_of_a_heavy_event() -> None:
    """It comes again to whoever takes over."""
    apart = _Apart()
    apart.decoding.close()
    world = World(decode_apart=apart.decode)
    world.bring([_heavy("d")])
    async with world.running() as task:
        await apart.begun.acquire()
        world.journey.stop()
        async with asyncio.timeout(5):
            await task

    assert (world.results, apart.ended) == ([], 1)


async def test_events_that_were_settled_before_leave_the_loop_a_turn_each() -> None:
    """After a restart there may be hundreds of them in a row, all in memory."""
    world = World()
    world.settled_before = dict.fromkeys(range(50), False)
    polled = list(map(_value, [f"d{n}" for n in range(50)], ["text"] * 50))
    world.bring(polled)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while len(world.handed_out) < len(polled):
            await asyncio.sleep(0)
            turns += 1

    async with world.running():
        await count()

    assert turns >= len(polled)
