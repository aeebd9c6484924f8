"""Watches a run: what was told and answered, and what is wrong with it at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiokafka import TopicPartition

from consumer.model import origin as of
from consumer.model.marker import Marker, decode_marker
from consumer.model.packing import contents_of
from consumer.model.record import Record
from tests.simulation.findings import Finding, Wrong
from tests.simulation.reference import Place, Told
from tests.simulation.stage import Json, Stage

_A_DAY_MS = 86_400_000
_KEPT = "its former text "
_AT_ONCE = 0.01  # seconds: what arrives then was sent before


class Watch:
    """See the module's docstring (`tests.simulation.stage.Observer`)."""

    stage: Stage

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.told: dict[Place, Told] = {}
        self.at: dict[Place, float] = {}
        self.answers: dict[Place, list[Json]] = {}
        self.letters: list[Mapping[str, str]] = []
        self.orphans: list[str] = []  # why vectors that nothing lists may be there
        self.stopped: set[str] = set()  # owners that ended in order
        self.stood_still: set[str] = set()  # owners that may have lost their partitions
        self.rebuilt: set[str] = set()  # documents that somebody had made anew
        self.over = False
        self._committed: dict[TopicPartition, int] = {}

    def note(self, wrong: Wrong, what: str) -> None:
        """Something is wrong."""
        finding = Finding(wrong, what)
        if finding not in self.found:
            self.found.append(finding)

    def published(self, record: Record, value: Json | None) -> None:
        told = told_by(record, value)
        self.told[told.place] = told
        self.at[told.place] = self.stage.loop.now
        if record.header(of.REBUILD) is not None:
            self.rebuilt.add(told.identity)

    def committed(self, partition: TopicPartition, offset: int) -> None:
        former = self._committed.get(partition, 0)
        self._committed[partition] = max(offset, former)
        if offset < former:
            self.note(Wrong.COMMIT, f"{_named(partition)}: {offset} after {former}")
        if offset > self.stage.kafka.logs[partition].end:
            self.note(Wrong.COMMIT, f"{_named(partition)}: {offset} is beyond the end")
        for at in range(former, offset):
            place = (partition.topic, partition.partition, at)
            if place in self.told and place not in self.answers:
                self.note(Wrong.COMMIT, f"{_named(partition)}: {offset}, and {at} is unanswered")

    def answered(self, owner: str, result: Json) -> None:
        source = result["source"]
        place = (source["topic"], source["partition"], source["offset"])
        if place not in self.told:
            self.note(Wrong.STATUS, f"an answer to nothing: {place}")
            return
        told, before = self.told[place], self.answers.setdefault(place, [])
        if before and before[0]["event_id"] != result["event_id"]:
            self.note(Wrong.EVENT_ID, f"{told.identity} at {place}")
        if before and before[0]["owner"] in self.stopped - self.stood_still:
            self.note(Wrong.REPEATED, f"{told.identity} at {place[2]} of {_topic(place)}")
        before.append({**result, "owner": owner, "at": self.stage.loop.now})
        if result["status"] == "succeeded":
            self._check_stored(told)

    def _check_stored(self, told: Told) -> None:
        """What is said to be stored is, at that moment."""
        slug = told.slug or ""
        overtaken = any(
            other.identity == told.identity
            and other.version[1] > told.version[1]
            and other.slug in (None, slug)
            for other in self.told.values()
        )
        if overtaken or slug in self.stage.hands:
            return
        missing = Counter(told.texts) - self.stored(slug).get(told.identity, Counter())
        if missing:
            self.note(Wrong.PREMATURE, f"{told.identity} in {slug}: {_listed(missing)}")

    def removed(self, slug: str, source: str, kept: int) -> None:
        marker = decode_marker(source)
        if kept or marker is None or slug in self.stage.hands or self._is_there_twice(slug, marker):
            return
        if self.stage.strange_vectors:
            return  # what may have such vectors is stored for nobody, and is uploaded anew
        identity = marker.document_id
        if identity in self.rebuilt:
            return  # it is taken out on purpose, and stored anew
        left = self.stored(slug).get(identity, Counter())
        about_it = [
            told
            for told in self.told.values()
            if told.identity == identity and told.slug in (None, slug)
        ]
        if not any(told.kind == "tombstone" or Counter(told.texts) <= left for told in about_it):
            texts = ", ".join(repr(chunk.id) for chunk in marker.chunks)
            self.note(Wrong.GAP, f"{texts} went from {slug} before any version was whole")

    def _is_there_twice(self, slug: str, marker: Marker) -> bool:
        """Whether the text that went was stored once more."""
        left = [
            decode_marker(source) for source, _, copies in self.stage.sim.chunks(slug) if copies
        ]
        texts = {
            chunk.digest
            for each in left
            if each and each.document_id == marker.document_id
            for chunk in each.chunks
        }
        return all(chunk.digest in texts for chunk in marker.chunks)

    def lettered(self, headers: Mapping[str, str]) -> None:
        self.letters.append(headers)

    def changing(self, owner: str, endpoint: str) -> None:
        since = self.stage.kafka.idle_since.get(owner)
        now = self.stage.loop.now
        if since is not None and now - since > _AT_ONCE:
            self.note(Wrong.FENCE, f"{endpoint} of {owner} while its partition went, or was gone")

    def died(self, owner: str, error: BaseException) -> None:
        self.note(Wrong.DIED, f"{type(error).__name__}: {error}"[:200])

    def stored(self, slug: str) -> dict[str, Counter[str]]:
        """What searches can find in a workspace, by identity.

        Where people changed it, what is listed: vectors may be lost in the race that follows.
        """
        by_hand = slug in self.stage.hands
        found: dict[str, Counter[str]] = {}
        for source, text, copies in self.stage.sim.chunks(slug):
            marker = decode_marker(source)
            if marker is not None and (copies or by_hand):
                found.setdefault(marker.document_id, Counter()).update(contents_of(text))
        return found


def told_kept(answer: Json) -> frozenset[str]:
    """The chunks of which an answer says that they could not be removed."""
    entries = [each for each in answer["failed_chunks"] if each["message"].startswith(_KEPT)]
    return frozenset(each["chunk_id"] for each in entries)


def told_by(record: Record, value: Json | None) -> Told:
    """An event as the reference takes it."""
    at, headers = record.at, dict(record.headers)
    is_replay = of.OFFSET in headers and at.topic.endswith(".replay")
    offset = int(headers[of.OFFSET]) if is_replay else at.offset
    stamp = int(headers[of.TIMESTAMP]) if is_replay else record.timestamp_ms
    place = (at.topic, at.partition, at.offset)
    identity = (record.key or b"").decode()
    if value is None:
        slug = headers.get("workspace", b"").decode() or None
        return Told(place, identity, "tombstone", slug, (), (stamp, offset), is_replay)
    texts = tuple(chunk["content"] for chunk in value["chunks"])
    if not all(texts):
        return Told(place, identity, "invalid", version=(stamp, offset), is_replay=is_replay)
    date = value.get("created_at")
    instant = stamp if date is None else int(datetime.fromisoformat(date).timestamp() * 1000)
    if instant - stamp > _A_DAY_MS:
        instant = stamp
    version = (instant, offset)
    return Told(place, identity, "document", value["technology"], texts, version, is_replay)


def _topic(place: Place) -> str:
    return "replays" if place[0].endswith(".replay") else "documents"


def _named(partition: TopicPartition) -> str:
    return f"{_topic((partition.topic, 0, 0))} {partition.partition}"


def _listed(texts: Mapping[str, Any]) -> str:
    return ", ".join(repr(text) for text in sorted(texts))
