"""Looks at a run after its end: what is stored, answered, committed, and still in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.marker import Marker, decode_marker
from consumer.resilience.refusals import FOR_GOOD_SECONDS
from consumer.sandbox.simulator import VectorDb
from consumer.telemetry.metrics import PREFIX
from tests.simulation.findings import Wrong
from tests.simulation.reference import Allowed, Place, State, Told, allowed
from tests.simulation.schedule import Hit, Schedule
from tests.simulation.stage import DOCUMENTS, STRANGE
from tests.simulation.watch import Watch, told_kept

_REFUSALS = (413, 422)
_FORBIDDEN = 403
# Of what `generate` draws, what a firewall may say at once to some names, and to no others.
_FIREWALL = (400, 404, 409, 502, 503, 504, 520)
_LOSING = frozenset({"dimension", "vectors-refused", "database-down"})  # on some databases
_LETTERED = frozenset({"invalid", "partial", "failed"})
_LEVEL = (
    "documents_in_flight", "bytes_in_flight", "chunks_in_flight", "documents_waiting",
    "documents_aside", "bytes_aside", "workspaces_paused",
)  # fmt: skip
_TASKS_EACH = 16  # of a member that has nothing to do
_CHANGES_HANDS = frozenset({"crash", "stop", "start", "rebalance", "freeze", "cut-off"})
_BELIEVED = 30.0  # seconds, on top of INDEX_MAX_AGE_SECONDS


def judge(schedule: Schedule, watch: Watch) -> None:
    """Note everything that is wrong."""
    forgets = bool(schedule.setup.restless) or any(
        life.what in _CHANGES_HANDS for life in schedule.life
    )
    forbids = _forbids(watch, schedule.faults)
    by_identity: dict[str, list[Told]] = {}
    for told in watch.told.values():
        by_identity.setdefault(told.identity, []).append(told)
    for identity, events in sorted(by_identity.items()):
        live_first = sorted(events, key=lambda told: (told.is_replay, told.place))
        refused = {told.place: _refused(watch, told) for told in events}
        may = allowed(
            live_first, forgets=forgets, refused=refused, by_hand=frozenset(watch.stage.hands)
        )
        left = _given_up(live_first, refused, forbids=forbids)
        _judge_answers(watch, live_first, may, forbids=forbids)
        _judge_stored(watch, identity, may, live_first, left)
    _judge_letters(watch, schedule, forbids=forbids)
    _judge_commits(watch)
    _judge_workspaces(watch, schedule)
    _judge_orphans(watch, schedule)
    _judge_memory(watch)


def _forbids(watch: Watch, hits: Iterable[Hit]) -> bool:
    """Whether removals were forbidden: what was to go then stays for good.

    AnythingLLM forbids them all, or a firewall some names, for so long that it is believed.
    """
    dislikes_names = any(
        hit.kind == "status" and hit.on == "removal" and hit.contains and hit.status in _FIREWALL
        for hit in hits
    )
    return _forbids_all(hits) or (dislikes_names and _lasted(watch) >= FOR_GOOD_SECONDS)


def _forbids_all(hits: Iterable[Hit]) -> bool:
    return any(hit.status == _FORBIDDEN and hit.kind == "status" for hit in hits)


def _lasted(watch: Watch) -> float:
    """Seconds from the first removal that a fault met to the last one."""
    fired = watch.stage.sim.journal.of("fault.fired", method="DELETE")
    return fired[-1]["at"] - fired[0]["at"] if fired else 0.0


def _refused(watch: Watch, told: Told) -> list[Counter[str]]:
    found = []
    for answer in watch.answers.get(told.place, ()):
        if answer["status"] in ("partial", "failed"):
            failed = set(answer["failed_chunk_ids"]) - told_kept(answer)
            if failed:
                places = [int(id.rpartition("_")[2]) for id in failed]
                found.append(Counter(told.texts[place] for place in places))
    return found


def _given_up(
    events: Iterable[Told], refused: Mapping[Place, Iterable[Counter[str]]], *, forbids: bool
) -> set[tuple[str, str]]:
    """Workspaces and texts that may be left: a chunk was refused there, and nothing is removed.

    Or removals are forbidden.
    """
    events = list(events)
    slugs = {told.slug for told in events if forbids or any(refused[told.place])}
    return {(told.slug or "", text) for told in events if told.slug in slugs for text in told.texts}


def _may_be_kept(watch: Watch, told: Told) -> bool:
    """Whether vectors of the document stayed without rows: an event that says so is right."""
    stage = watch.stage
    kept = [source for _, source in stage.kept]
    slugs = {*stage.sim.state.workspaces, *stage.hands}
    found = [source for slug in slugs for source, _ in stage.sim.orphans(slug)]
    return any(_identity(source) == told.identity for source in (*kept, *found))


def _identity(source: str) -> str | None:
    marker = decode_marker(source)
    return marker.document_id if marker else None


def _judge_answers(watch: Watch, events: Iterable[Told], may: Allowed, *, forbids: bool) -> None:
    for told in events:
        answers = watch.answers.get(told.place)
        if answers and told_kept(answers[0]):
            if not forbids and not _may_be_kept(watch, told):
                watch.note(Wrong.STATUS, f"{told.identity} at {told.place[2]}: nothing was kept")
        elif not answers:
            watch.note(Wrong.UNANSWERED, f"{told.identity} at {told.place[2]}")
        elif (status := answers[0]["status"]) not in may.statuses[told.place]:
            wanted = " or ".join(sorted(may.statuses[told.place]))
            watch.note(Wrong.STATUS, f"{told.identity} at {told.place[2]}: {status}, not {wanted}")


def _judge_stored(
    watch: Watch,
    identity: str,
    may: Allowed,
    events: list[Told],
    given_up: set[tuple[str, str]],
) -> None:
    stage = watch.stage
    slugs = sorted({*stage.sim.state.workspaces, *(told.slug for told in events if told.slug)})
    stored = {slug: watch.stored(slug).get(identity, Counter()) for slug in slugs}
    by_weight = []
    for state in may.states:
        differences = [
            [
                (wrong, text)
                for wrong, text in _difference(watch, state, slug, stored[slug], events)
                if wrong is Wrong.LOST or (slug, text) not in given_up
            ]
            for slug in slugs
        ]
        by_weight.append((sum(len(each) for each in differences), differences))
    weight, differences = min(by_weight, key=lambda pair: pair[0])
    if weight:
        for slug, difference in zip(slugs, differences, strict=True):
            for wrong, text in difference:
                watch.note(wrong, f"{text!r} of {identity} in {slug}")


def _difference(
    watch: Watch, state: State, slug: str, stored: Counter[str], events: Iterable[Told]
) -> list[tuple[Wrong, str]]:
    wanted = state.texts(slug)
    more, fewer = stored - wanted, wanted - stored
    found = [(Wrong.DOUBLE if text in wanted else Wrong.LEFT, text) for text in more]
    if not fewer:
        return found
    if _excused(watch, slug, events):
        return [each for each in found if each[0] is not Wrong.LEFT]
    return [*found, *((Wrong.LOST, text) for text in fewer)]


def _excused(watch: Watch, slug: str, events: Iterable[Told]) -> bool:
    """Whether people took it away, and the service could not know when it worked last."""
    times = watch.stage.hands.get(slug)
    if not times:
        return False
    carried_out = [
        watch.at[told.place]
        for told in events
        if told.kind != "invalid"
        and told.slug in (None, slug)
        and any(answer["status"] != "superseded" for answer in watch.answers.get(told.place, ()))
    ]
    believed = watch.stage.setup.max_age + _BELIEVED
    return max(carried_out, default=0.0) <= max(times) + believed


def _judge_letters(watch: Watch, schedule: Schedule, *, forbids: bool) -> None:
    lettered = set()
    for letter in watch.letters:
        at = tuple(letter[f"__connect.errors.{name}"] for name in ("topic", "partition", "offset"))
        place = (at[0], int(at[1]), int(at[2]))
        lettered.add(place)
        told = watch.told.get(place)
        is_kept = letter["__connect.errors.stage"] == "remove"
        if is_kept and told is not None and (forbids or _may_be_kept(watch, told)):
            continue
        if told is not None and _loses_vectors(schedule):
            continue
        if told is None or not _deserved(told, letter["dlq.reason"], schedule.faults):
            watch.note(Wrong.LETTER, f"{letter['dlq.reason']} for {told and told.identity}")

    for told in watch.told.values():
        # A replay's letter names the original.
        original = (DOCUMENTS, told.place[1], told.version[1])
        statuses = {answer["status"] for answer in watch.answers.get(told.place, ())}
        if statuses & _LETTERED and not lettered & {told.place, original}:
            watch.note(Wrong.NO_LETTER, f"{told.identity} at {told.place[2]}")


def _deserved(told: Told, reason: str, hits: Iterable[Hit]) -> bool:
    if reason == "invalid":
        return told.kind == "invalid"
    for hit in hits:
        about_it = any(hit.contains in text for text in told.texts)
        refuses = hit.on == "upload" and hit.kind == "status" and hit.status in _REFUSALS
        poisons = bool(hit.contains) and hit.times is None
        if about_it and (refuses or poisons):
            return True
    return False


def _judge_commits(watch: Watch) -> None:
    kafka = watch.stage.kafka
    for partition, log in kafka.logs.items():
        at = kafka.group.committed.get(partition)
        if log.end and (at is None or at.offset != log.end):
            where = "nowhere" if at is None else at.offset
            topic = "replays" if partition.topic.endswith(".replay") else "documents"
            watch.note(Wrong.NOT_AT_END, f"{topic} {partition.partition}: {where} of {log.end}")


def _judge_workspaces(watch: Watch, schedule: Schedule) -> None:
    sim = watch.stage.sim
    for slug in sorted(sim.state.workspaces):
        found = {source for source, _, copies in sim.chunks(slug) if copies}
        for source, text, copies in sim.chunks(slug):
            if is_sentinel(source):
                if not _forbids_all(schedule.faults):
                    watch.note(Wrong.SENTINEL, slug)
            elif not copies and source in found:
                watch.orphans.append("copy")
            elif not copies and _is_before_a_partial_one(watch, source):
                watch.orphans.append("overtaken")
            elif not copies and _loses_vectors(schedule) and _is_lettered(watch, source):
                watch.orphans.append("told")
            elif not copies and slug not in watch.stage.hands:
                watch.note(Wrong.UNSEARCHABLE, f"{text!r} in {slug}")
    for slug in schedule.setup.prepared:
        strange = [text for _, text, _ in sim.chunks(slug) if text == STRANGE + slug]
        if slug not in watch.stage.hands and len(strange) != 1:
            watch.note(Wrong.FOREIGN, slug)


def _loses_vectors(schedule: Schedule) -> bool:
    """Whether what is listed may not be found, and removals are forbidden, which would mend it."""
    return _forbids_all(schedule.faults) and any(life.what in _LOSING for life in schedule.life)


def _is_lettered(watch: Watch, source: str) -> bool:
    """Whether a dead letter tells of the document that the unit is of."""
    return any(letter["dlq.identity"] == _identity(source) for letter in watch.letters)


def _is_before_a_partial_one(watch: Watch, source: str) -> bool:
    """Whether a unit is of an older version than one of which a chunk was refused.

    Nothing of former versions goes then, before the dead letter is replayed; what is wanted of it
    and can't be found is looked for elsewhere (`_judge_stored`).
    """
    marker = decode_marker(source)
    if marker is None:
        return False
    version = int(marker.version.instant.timestamp() * 1000), marker.version.offset or 0
    return any(
        told.identity == marker.document_id and told.version > version
        for told in watch.told.values()
        if any(answer["status"] == "partial" for answer in watch.answers.get(told.place, ()))
    )


def _judge_orphans(watch: Watch, schedule: Schedule) -> None:
    """Vectors that are found for ever, and that no call can reach (`tests.simulation.findings`)."""
    stage = watch.stage
    killed = any(life.what == "server-restarts" for life in schedule.life)
    for slug in sorted(stage.sim.state.workspaces.keys() - stage.hands.keys()):
        stored = {source for source, _, _ in stage.sim.chunks(slug)}
        for source, text in stage.sim.orphans(slug):
            if is_sentinel(source):
                watch.orphans.append("sentinel")
                continue
            marker, kept = decode_marker(source), stage.kept.get((slug, source))
            if marker is None:
                continue
            shown = f"{text.rpartition(chr(10))[2]!r} of {marker.document_id} in {slug}"
            if killed and schedule.setup.vector_db == VectorDb.CHROMA:
                watch.orphans.append("killed")
            elif kept is None or not kept.at_once:
                watch.note(Wrong.ORPHAN, shown)
            elif not kept.by_event:
                watch.orphans.append("left-over")
            elif source in stored:  # a double, shown as one hit; the event that ends it looks
                watch.orphans.append("double")
            elif _is_told(watch, marker):
                watch.orphans.append("told")
            else:
                watch.note(Wrong.UNTOLD, shown)


def _is_told(watch: Watch, marker: Marker) -> bool:
    """Whether some event of the document was answered that these chunks could not be removed."""
    ids = {chunk.id for chunk in marker.chunks}
    return any(
        ids <= told_kept(answer)
        for place, answers in watch.answers.items()
        if watch.told[place].identity == marker.document_id
        for answer in answers
    )


def _judge_memory(watch: Watch) -> None:
    stage = watch.stage
    for member in stage.members.values():
        registry = member.metrics.registry
        level = {name: registry.get_sample_value(f"{PREFIX}_{name}") or 0.0 for name in _LEVEL}
        for name, value in level.items():
            if value:
                watch.note(Wrong.MEMORY, f"{name} is {value:g}")
    if not stage.loop.frozen:  # those of a dead process are never ended
        most = _TASKS_EACH * (1 + len(stage.members))
        if (count := len(asyncio.all_tasks())) > most:
            watch.note(Wrong.MEMORY, f"{count} tasks")
