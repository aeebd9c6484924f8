"""Carries out one schedule and says what is wrong with it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import structlog
from aiokafka.errors import KafkaError

from consumer.anythingllm.sentinel import is_sentinel
from tests.simulation.findings import Finding, Wrong
from tests.simulation.judge import judge
from tests.simulation.schedule import (
    At,
    Doc,
    Hit,
    Life,
    Nothing,
    On,
    Published,
    Replay,
    Schedule,
    Tomb,
    When,
)
from tests.simulation.stage import DELETES_FAIL, DOCUMENTS, EPOCH, Json, Stage, staged
from tests.simulation.watch import Watch
from tests.virtual.loop import Spins, Stuck, VirtualLoop

_PATIENCE = 600.0  # seconds that a moment may be waited for which does not come
_HELD_WITHIN = 2 * 3600.0
_NAMED_WITHIN = 600.0
_SETTLED_WITHIN = 6 * 3600.0
_AFTERWARDS = 400.0  # on top of the ambiguity: the look that is due then, and another one after it
_SENTINELS_GO_WITHIN = 900.0
_REMOVALS_TESTED_WITHIN = 1800.0  # where they have failed again and again
_MOST_TURNS = 1_000_000


@dataclass(frozen=True)
class Ran:
    """How a schedule went.

    Args:
        found: what is wrong.
        counts: what happened how often.
        seconds: of virtual time.
        trace: of everything that was stored, answered and committed, as a hash.
    """

    found: tuple[Finding, ...]
    counts: Mapping[str, int]
    seconds: float
    trace: str


def run(schedule: Schedule) -> Ran:
    """Carry out a schedule, on a loop of its own."""
    random.seed(schedule.seed)  # aiohttp's pool draws lots between those who wait for it
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    loop = VirtualLoop(most_turns=_MOST_TURNS)
    watch = Watch()
    loop.set_exception_handler(lambda _, context: _unhandled(watch, context))
    asyncio.set_event_loop(loop)
    try:
        with suppress(Stuck, Spins):
            return loop.run_until_complete(_perform(schedule, watch, loop))
        watch.note(Wrong.STUCK, "nothing will ever happen, or for ever the same")
        return Ran(tuple(sorted(watch.found)), Counter(), loop.now, "")
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _unhandled(watch: Watch, context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    if watch.over or isinstance(error, KafkaError):
        return  # we end everybody; aiokafka as well leaves a commit alone that was given up
    watch.note(Wrong.DIED, f"{context['message']}: {error!r}"[:200])


async def _perform(schedule: Schedule, watch: Watch, loop: VirtualLoop) -> Ran:
    async with staged(schedule.setup, schedule.seed, watch) as stage:
        watch.stage = stage
        stage.watch_lease = any(life.what in ("freeze", "cut-off") for life in schedule.life)
        if not stage.watch_lease:
            stage.kafka.heartbeats_apart = 3.0  # nobody's lease runs out
        stage.add_faults(schedule.faults)
        stage.start("A")
        restless = asyncio.create_task(_restless(stage, schedule.setup.restless))
        async with asyncio.TaskGroup() as acts:
            acts.create_task(_publish(stage, schedule))
            for life in schedule.life:
                acts.create_task(_live(stage, watch, life))
        await _heal(stage, schedule, watch)
        restless.cancel()
        judge(schedule, watch)
        trace = _trace(stage, watch)
        counts = _counts(stage, schedule, watch)
        watch.over = True
    return Ran(tuple(sorted(watch.found)), counts, loop.now, trace)


async def _restless(stage: Stage, seconds: float) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        stage.kafka.group.rebalance()


async def _wait(stage: Stage, when: When) -> None:
    match when:
        case At(seconds):
            await asyncio.sleep(seconds)
        case On():
            await stage.moment(when, _PATIENCE)


async def _publish(stage: Stage, schedule: Schedule) -> None:
    await asyncio.sleep(schedule.setup.begins)
    for published in schedule.history:
        await _wait(stage, published.when)
        _write(stage, published)


def _write(stage: Stage, published: Published) -> None:
    match published:
        case Doc():
            stage.write(published.id, _value(published), name=published.name)
        case Tomb(id, slug):
            headers = () if slug is None else (("workspace", slug.encode()),)
            stage.write(id, None, headers=headers)
        case Replay(name, repack=repack, rebuild=rebuild):
            stage.replay(name, repack=repack, rebuild=rebuild)
        case Nothing(id):
            stage.kafka.append_nothing(DOCUMENTS, stage.partition_of(id))


def _value(doc: Doc) -> Json:
    value: Json = {
        "id": doc.id,
        "title": f"The title of {doc.id}",
        "source_url": f"https://docs.example/{doc.id}",
        "technology": doc.slug,
        "chunks": [
            {"id": f"{doc.id}_{n}", "content": text, "chunk_index": n}
            for n, text in enumerate(doc.texts)
        ],
    }
    if doc.day is not None:
        value["created_at"] = (EPOCH + timedelta(days=doc.day)).isoformat()
    return value


async def _live(stage: Stage, watch: Watch, life: Life) -> None:
    await _wait(stage, life.when)
    stage.happened(f"life.{life.what}")
    seconds, who = life.seconds, life.who
    match life.what:
        case "crash":
            stage.crash(who)
            await asyncio.sleep(seconds)
            stage.start(who)
        case "stop":
            await _stop(stage, watch, who)
            await asyncio.sleep(seconds)
            stage.start(who)
        case "start":
            stage.start(who)
        case "rebalance":
            stage.kafka.group.rebalance()
        case "freeze" | "cut-off":
            await _stand_still(stage, watch, life)
        case "server-restarts":
            await _restart_server(stage, seconds)
        case "proxy-away":
            stage.loop.network.refuses = True
            stage.loop.network.break_off()
            await asyncio.sleep(seconds)
            stage.loop.network.refuses = False
        case "embedder-down":
            stage.sim.faults.embedder_down = True
            await asyncio.sleep(seconds)
            stage.sim.faults.embedder_down = False
        case "collector-frozen":
            stage.sim.faults.collector = "frozen"
            await asyncio.sleep(seconds)
            stage.sim.faults.collector = "up"
        case "vectors-refused" | "vectors-kept" | "database-down" | "dimension":
            stage.break_database(life.what, broken=True)
            await asyncio.sleep(seconds)
            stage.break_database(life.what, broken=False)
        case "empty" | "remake" | "delete":
            stage.change_by_hand(life.what, life.slug)


async def _stop(stage: Stage, watch: Watch, who: str) -> None:
    member = stage.members.get(who)
    await stage.stop(who)
    if member is not None and member.task.done():
        watch.stopped.add(member.owner)


async def _stand_still(stage: Stage, watch: Watch, life: Life) -> None:
    member = stage.members.get(life.who)
    if member is None:
        return
    watch.stood_still.add(member.owner)
    if life.what == "freeze":
        stage.loop.freeze(member.owner)
    else:
        stage.kafka.cut_off(member.owner)
    await asyncio.sleep(life.seconds)
    if stage.members.get(life.who) is member:  # and not killed meanwhile
        stage.loop.thaw(member.owner)
        if member.owner in stage.kafka.idle_since:
            # What it was about to send nobody can hold back: that arrives at once.
            stage.kafka.idle_since[member.owner] = stage.loop.now
    stage.kafka.reconnect(member.owner)


async def _restart_server(stage: Stage, seconds: float) -> None:
    if stage.sim_down:
        return
    stage.sim_down = True
    await stage.sim.stop()
    await asyncio.sleep(seconds)
    await stage.sim.start()
    stage.sim_down = False


async def _heal(stage: Stage, schedule: Schedule, watch: Watch) -> None:
    """Everything is well again, and time passes."""
    if not stage.members:
        stage.start("A")
    await stage.settled(schedule.setup.trouble)
    stays = tuple(hit for hit in schedule.faults if hit.stays)
    stage.mend(but=stays)
    if stays:
        await _check_held(stage, stays, watch)
        stage.mend()
    if not await stage.settled(_SETTLED_WITHIN):
        open_ = sorted(watch.told.keys() - watch.answers.keys())
        watch.note(Wrong.STUCK, f"not settled in time; unanswered: {open_}")
    ambiguity = schedule.setup.ambiguity
    restless = 2 * ambiguity if schedule.setup.restless else 0
    failed = any(life.what in DELETES_FAIL for life in schedule.life)
    rarely = _REMOVALS_TESTED_WITHIN if failed else 0
    await asyncio.sleep(ambiguity + _AFTERWARDS + restless + rarely)
    if stage.sentinels():
        await asyncio.sleep(_SENTINELS_GO_WITHIN)


async def _check_held(stage: Stage, stays: tuple[Hit, ...], watch: Watch) -> None:
    """Who has nothing to do with a sick workspace does not wait for it."""
    sick = {hit.slug for hit in stays}
    held = {
        told.identity
        for told in watch.told.values()
        if told.slug in sick or (told.kind == "tombstone" and told.slug is None)
    }
    others = [told for told in watch.told.values() if told.identity not in held]
    end = stage.loop.now + _HELD_WITHIN
    while any(told.place not in watch.answers for told in others):
        if stage.loop.now > end:
            waiting = sorted(t.identity for t in others if t.place not in watch.answers)
            watch.note(Wrong.HELD, ", ".join(waiting))
            return
        await asyncio.sleep(10)
    await asyncio.sleep(_NAMED_WITHIN)
    waiting = sorted(
        told.identity for told in watch.told.values() if told.place not in watch.answers
    )
    if waiting and not sick & stage.paused():
        watch.note(Wrong.UNNAMED, f"{', '.join(waiting)} wait for {', '.join(sick)}")


def _trace(stage: Stage, watch: Watch) -> str:
    stored = {
        slug: sorted(chunk for chunk in stage.sim.chunks(slug) if not is_sentinel(chunk[0]))
        for slug in stage.sim.state.workspaces
    }
    answers = [
        [place, [(a["status"], a["at"], a["owner"]) for a in answers]]
        for place, answers in watch.answers.items()
    ]
    told = orjson.dumps([stored, answers, dict(stage.counts)])
    return hashlib.sha256(told).hexdigest()[:16]


def _counts(stage: Stage, schedule: Schedule, watch: Watch) -> Mapping[str, int]:
    counts: Counter[str] = Counter(stage.counts)
    counts[f"setup.{schedule.setup.vector_db}"] = 1
    counts["setup.visible_after"] = schedule.setup.visible_after > 0
    counts["vectors.refused"] = stage.sim.journal.count("vectors.lost")
    counts.update(f"orphan.{why}" for why in watch.orphans)
    for entry in stage.sim.journal.of("fault.fired"):
        counts[f"fault.{entry['kind']}"] += 1
    for answers in watch.answers.values():
        counts[f"answer.{answers[0]['status']}"] += 1
        counts["answer.repeated"] += len(answers) > 1
    for published in schedule.history:
        counts[f"history.{type(published).__name__.lower()}"] += 1
    return counts
