"""One sick workspace: its documents stand aside and wait, and nobody else notices."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from structlog.testing import capture_logs

from consumer.telemetry.metrics import PREFIX
from tests.integration.service_fixtures import MakeStage, Running, Stage
from tests.staging import document, eventually, texts
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, RECOVERY, World, event, world

SICK = {"sick": 12}  # vectors of another width than those in its table
WORKSPACES = ("sick", "docs", "more")
LEAST_ROOM = 17 * 1024  # bytes aside that a small document takes

Json = dict[str, Any]


def _events(count: int) -> list[Json]:
    """Documents for a sick and two healthy workspaces in turn."""
    return [
        document(f"doc-{n}", texts(f"doc-{n}", 3), technology=WORKSPACES[n % 3])
        for n in range(count)
    ]


def _of(slug: str, events: Iterable[Json]) -> dict[str, list[str]]:
    return {
        each["id"]: sorted(chunk["content"] for chunk in each["chunks"])
        for each in events
        if each["technology"] == slug
    }


def _gauge(running: Running, name: str) -> float:
    value = running.service._metrics.registry.get_sample_value(f"{PREFIX}_{name}")
    assert value is not None
    return value


async def _stage(make_stage: MakeStage, **settings: str) -> Stage:
    few = {"INTAKE_MAX_DOCUMENTS_IN_FLIGHT": "4", **settings}
    stage = await make_stage(few, workspaces=WORKSPACES)
    stage.simulator.faults.workspace_dimensions = dict(SICK)
    return stage


async def _publish(stage: Stage, events: Sequence[Json]) -> None:
    for each in events:
        await stage.publish(each, partition=0)


async def _stand_aside(running: Running, count: int) -> None:
    await eventually(lambda: _gauge(running, "documents_aside") == count)


def _assert_whole(stage: Stage, events: Sequence[Json]) -> None:
    for slug in WORKSPACES:
        assert stage.stored(slug) == _of(slug, events)
    assert stage.dead_letters == []


async def test_a_sick_workspace_is_named_and_the_others_are_answered(
    make_stage: MakeStage,
) -> None:
    """Although there are five times as many documents for it as may be in work.

    Nothing behind the first one that waits is committed; healed, all are answered and committed.
    """
    stage, events = await _stage(make_stage), _events(60)
    await _publish(stage, events)
    running = await stage.start()
    results = await stage.wait_results(40)
    await _stand_aside(running, 20)

    assert not {result["workspace_slug"] for result in results} & {"sick"}
    condition = running.service.condition
    assert condition.ready() == condition.alive() == []
    (said,) = [each for each in condition.degraded() if "is paused" in each]
    assert said.startswith("workspace sick is paused: ")
    assert "nothing can be found in it" in said
    assert _gauge(running, "workspaces_paused") == 1
    assert (await stage.committed())[0] == 0, "the first document is for the sick workspace"

    stage.simulator.faults.workspace_dimensions = {}
    await stage.wait_results(60)
    await stage.wait_committed()
    _assert_whole(stage, events)
    assert condition.degraded() == []
    shown = ("workspaces_paused", "documents_aside", "bytes_aside", "bytes_in_flight")
    assert [_gauge(running, name) for name in shown] == [0, 0, 0, 0]


async def test_without_room_aside_the_intake_stops_and_goes_on_when_it_is_healed(
    make_stage: MakeStage,
) -> None:
    """Memory has its bounds: what is aside, and what waits in the four places, and nothing more."""
    room = str(10 * LEAST_ROOM + 8 * 1024)
    stage = await _stage(make_stage, INTAKE_MAX_ASIDE_BYTES=room)
    events = [document(f"doc-{n}", texts(f"doc-{n}", 3), technology="sick") for n in range(40)]
    behind = document("behind", ["a text"])
    await _publish(stage, [*events, behind])
    running = await stage.start()
    await running.has_open(10 + 4)
    await _stand_aside(running, 10)
    journey = running.service.condition.journey
    assert journey is not None
    assert not journey.has_room
    assert stage.results == []

    stage.simulator.faults.workspace_dimensions = {}
    results = await stage.wait_results(41)
    await stage.wait_committed()
    assert {result["status"] for result in results} == {"succeeded"}
    _assert_whole(stage, [*events, behind])


async def test_what_stands_aside_is_dropped_at_once_in_a_rebalance(make_stage: MakeStage) -> None:
    """The next owner gets it again: each stored once, in the end."""
    stage, events = await _stage(make_stage), _events(30)
    for number, each in enumerate(events):
        await stage.publish(each, partition=number // 3 % 3)
    first = await stage.start()
    await stage.wait_results(20)
    await _stand_aside(first, 10)
    began = time.monotonic()
    second = await stage.start()
    await eventually(lambda: first.service._source.assigned and second.service._source.assigned)
    waited = time.monotonic() - began
    assert waited < stage.settings.revocation_seconds, "nobody waits for who only waits"
    await eventually(lambda: _gauge(second, "documents_aside") > 0)
    await eventually(
        lambda: _gauge(first, "documents_aside") + _gauge(second, "documents_aside") == 10
    )

    stage.simulator.faults.workspace_dimensions = {}
    await stage.wait_results(30)
    await stage.wait_committed()
    _assert_whole(stage, events)
    assert stage.uploads() - _failed_uploads(stage) == 90


def _failed_uploads(stage: Stage) -> int:
    """Files that were stored while they could not be embedded, and are listed nowhere."""
    listed = {
        row.file.location for ws in stage.simulator.state.workspaces.values()
        for row in ws.rows.values()
    }  # fmt: skip
    stored = stage.simulator.journal.of("document.stored")
    return sum(e["location"] not in listed and e["doc_source"][:7] == '{"alc":' for e in stored)


async def test_a_stop_ends_at_once_while_documents_stand_aside(make_stage: MakeStage) -> None:
    """They are neither settled nor committed, and come again at the next start."""
    stage, events = await _stage(make_stage), _events(30)
    await _publish(stage, events)
    first = await stage.start()
    await stage.wait_results(20)
    await _stand_aside(first, 10)
    began = time.monotonic()
    with capture_logs() as logs:
        await first.stop()

    assert time.monotonic() - began < stage.settings.shutdown.drain_seconds
    assert [line["remaining"] for line in logs if line["event"] == "service.stopped"] == [10]
    assert (await stage.committed())[0] == 0
    stage.simulator.faults.workspace_dimensions = {}
    await stage.start()
    await stage.wait_results(30)
    await stage.wait_committed()
    _assert_whole(stage, events)


# -- with exact times ------------------------------------------------------------------------------


async def _sick(w: World, *more: str) -> None:
    """Workspaces in use; then one of them falls sick."""
    w.sim.faults.latency = 0.02
    for slug in ("sick", *more):
        w.publish(event(f"first-{slug}", ["a text"], technology=slug))
    await w.settled()
    w.sim.faults.workspace_dimensions = dict(SICK)


def _texts(id: str) -> list[str]:
    return [f"text {n} of {id}" for n in range(2)]


@virtually
async def test_who_waits_behind_a_document_that_stands_aside_does_so_as_well() -> None:
    """Events of the same document for other workspaces wait for their turn, out of the way.

    When the workspace works again none of them keeps the ones before it from going on.
    """
    async with world(INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4") as w:
        await _sick(w, "well", "third")
        for n in range(6):
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology="sick"))
        await w.idle(300)
        for n in range(6):
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology="third"))
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology="third", day=1))
        for n in range(10):
            w.publish(event(f"w{n}", _texts(f"w{n}"), technology="well"))
        await w.has_results(3 + 6 + 10, within=300)
        assert set(w.pipeline.gates.pauses.paused) == {"sick"}
        assert w.open == 12

        w.sim.faults.workspace_dimensions = {}
        await w.settled(within=RECOVERY + 60)
        assert w.letters == []
        assert w.statuses() == {"succeeded": 3 + 6 + 6 + 10, "superseded": 6}
        assert len(w.stored("sick")) == len(w.stored("third")) == 1 + 12


@virtually
async def test_a_tombstone_ends_what_only_waits_for_a_sick_workspace() -> None:
    """As one by one: nothing is to be stored any more, so nothing has to be waited for."""
    async with world(INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4") as w:
        await _sick(w)
        for n in range(6):
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology="sick", day=5))
        await w.idle(300)
        for n in range(6):
            w.publish(event(f"d{n}", ["older"], technology="sick", day=1))
            w.publish(None, key=f"d{n}")
        await w.has_results(1 + 18, within=300)

        assert set(w.pipeline.gates.pauses.paused) == {"sick"}
        assert w.statuses() == {"succeeded": 1, "superseded": 12, "deleted": 6}
        assert set(w.stored("sick")) == {"first-sick_0"}
        assert w.letters == []


@virtually
async def test_who_waits_already_when_a_workspace_is_paused_stands_aside_then() -> None:
    """More of its documents than places were in work before anybody could know."""
    async with world(INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4") as w:
        await _sick(w, "well")
        for n in range(4):
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology="sick"))
        for n in range(10):
            w.publish(event(f"w{n}", _texts(f"w{n}"), technology="well"))
        await w.has_results(2 + 10, within=2 * RECOVERY)

        assert w.open == 4


@virtually
async def test_what_has_no_room_aside_holds_nobody_up_after_the_healing() -> None:
    """A hundred documents for it, room aside for 40: resumed in a recovery period and a probe."""
    room = str(40 * LEAST_ROOM)
    async with world(INTAKE_MAX_DOCUMENTS_IN_FLIGHT="4", INTAKE_MAX_ASIDE_BYTES=room) as w:
        await _sick(w)
        for n in range(50):
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology="sick", day=5))
        for n in range(50):
            w.publish(event(f"d{n}", ["older"], technology="sick", day=1))
        await w.idle(HOUR)
        assert w.open == 44

        w.sim.faults.workspace_dimensions = {}
        await w.has_results(2, within=RECOVERY + 15)
        await w.settled(within=120)
        assert w.statuses() == {"succeeded": 51, "superseded": 50}
