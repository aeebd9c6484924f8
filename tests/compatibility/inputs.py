"""Inputs at random for both codes: what nobody thought of when the files were recorded."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from tests.compatibility.forms import Json

_LETTERS = (
    "abcXYZ019 .-_/\\\"'`<>&#?=%+:;,|{}[]()",
    "äöüßéñçÅøæœ",
    "日本語ガイドひらがな中文",
    "яшщюЖ αβγΩ",
    "🔔👩‍💻\u2028\u2029\u0085\u00a0\u200b\ufeff",
    "\t\n\r\x1b\x7f\x01",
)
_KINDS = ("applied", "applied", "applied", "superseded", "deleted")
_START = datetime(2026, 1, 1, tzinfo=UTC)


class Inputs:
    """Makes inputs.

    Args:
        seed: the same one makes the same inputs.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def marked(self) -> Json:
        """A case's input for ``markers.json``."""
        event = self._event()
        numbers = list(range(len(event["chunks"])))
        cut = self._rng.randint(0, len(numbers))
        return {
            "slug": self._rng.choice(["docs", "c-and-dot-net", "a_b"]),
            "is_replay": self._rng.random() < 0.3,
            "units": [each for each in (numbers[:cut], numbers[cut:]) if each],
            "record": self._record(None),
            "event": event,
        }

    def settled(self) -> Json:
        """A case's input for ``settled.json``."""
        event = self._event()
        record = self._record(self._value(event))
        received = _START + timedelta(seconds=self._rng.uniform(0, 3e7))
        completed = received + timedelta(seconds=self._rng.uniform(-1, 100))
        refused_by = ("documents.processed.dlq", "documents.upload-results")
        return {
            "record": record,
            "received_at": received.isoformat(),
            "completed_at": completed.isoformat(),
            "outcome": self._outcome([chunk["id"] for chunk in event["chunks"]]),
            "identity": self._rng.choice(["{id}", "{source_url}", "{technology}/{id}"]),
            "limits": {"max_bytes": self._rng.choice([200, 2**20])},
            "refused_by": [each for each in refused_by if self._rng.random() < 0.15],
        }

    def committed(self) -> Json:
        """A case's input for the runs in ``runs.json``."""
        rng = self._rng
        partitions = rng.randint(1, 5)
        started = _START + timedelta(seconds=rng.uniform(0, 3e7))
        run: Json = {
            "id": f"{started:%Y%m%d-%H%M%S}-{rng.getrandbits(16):04x}",
            "started_at": started.isoformat(),
            "operator": self._text(1, 20),
            "source": "documents.processed.dlq",
            "ends": [rng.getrandbits(40) for _ in range(partitions)],
            "replay_topic": "documents.processed.replay",
            "replay_ends": [rng.getrandbits(20) for _ in range(rng.randint(1, 5))],
            "selected": rng.randint(0, 10**6),
            "from_parked": rng.random() < 0.5,
            "selection": {
                name: self._text(1, 30)
                for name in ("cause", "identity", "document", "workspace", "technology", "text")
                if rng.random() < 0.4
            },
        }
        progress = {
            "next": [rng.randint(0, end) for end in run["ends"]],
            "published": rng.randint(0, 99),
            "skipped": {self._text(1, 20): rng.randint(1, 9) for _ in range(rng.randint(0, 3))},
            "done": rng.random() < 0.2,
        }
        return {"run": run, "progress": progress, "everything": rng.random() < 0.8}

    # -- parts -------------------------------------------------------------------------------------

    def _text(self, least: int, most: int) -> str:
        letters = "".join(self._rng.sample(_LETTERS, self._rng.randint(1, 3)))
        return "x" + "".join(self._rng.choices(letters, k=self._rng.randint(least, most)))

    def _event(self) -> Json:
        rng = self._rng
        event: Json = {
            "id": self._text(0, 30),
            "title": self._text(0, 60),
            "technology": self._text(0, 15),
            "source_url": rng.choice(["https://docs.example/", "http:/", ""]) + self._text(0, 40),
            "chunks": [self._chunk(number) for number in range(rng.randint(1, 5))],
        }
        for name in ("created_at", "updated_at"):
            if rng.random() < 0.6:
                instant = _START + timedelta(seconds=rng.randint(0, 3 * 10**8))
                event[name] = instant.isoformat()[: rng.choice([10, 16, 19, 25])]
        if rng.random() < 0.3:
            event["workspace"] = rng.choice(["docs", "No Slug"])
        if rng.random() < 0.3:
            event["trace_id"] = self._text(0, 40)
        if rng.random() < 0.3:
            event["content_hash"] = self._text(0, 40)
        return event

    def _chunk(self, number: int) -> Json:
        index = self._rng.choice([{}, {"chunk_index": self._rng.choice([number, 7 * number])}])
        return {"id": f"{number}{self._text(0, 10)}", "content": self._text(0, 80), **index}

    def _value(self, event: Json) -> Any:
        """Its bytes, sometimes spoilt: a field less or of another kind, cut, or none at all."""
        way = self._rng.randint(0, 9)
        if way == 0:
            return None
        if way == 1:
            name = self._rng.choice(list(event))
            event = {**event, name: self._rng.choice([None, 5, [], "", "\x00", {"a": 1}])}
        text = orjson.dumps(event).decode()
        return text[: self._rng.randint(0, len(text))] if way == 2 else text

    def _record(self, value: Any) -> Json:
        rng = self._rng
        headers: list[list[Any]] = [
            [rng.choice(["own", "trace_id", "workspace", "ü"]), self._text(0, 40)]
            for _ in range(rng.randint(0, 3))
        ]
        if rng.random() < 0.3:
            headers += self._origin()
        return {
            "topic": rng.choice(["documents.processed", "documents.processed.replay"]),
            "partition": rng.randint(0, 40),
            "offset": rng.getrandbits(rng.randint(1, 60)),
            "timestamp_ms": rng.choice([-1, 0, rng.randint(1, 2 * 10**12)]),
            "key": rng.choice([None, self._text(0, 20), {"base64": "/wD+"}]),
            "value": value,
            "headers": headers,
        }

    def _origin(self) -> list[list[str]]:
        """What a replayed record says of its original, sometimes wrongly."""
        rng = self._rng
        found = {
            "__connect.errors.topic": rng.choice(["documents.processed", ""]),
            "__connect.errors.partition": str(rng.randint(-1, 40)),
            "__connect.errors.offset": str(rng.getrandbits(rng.randint(1, 70))),
            "dlq.original-timestamp": str(rng.randint(-2, 2 * 10**12)),
            "dlq.event-id": rng.choice(["0b2f52ba-6f43-5c0d-8f0d-6f4f2c6a9f57", "no uuid"]),
            "dlq.first-failed-at": rng.choice(["2026-11-20T08:30:00.25Z", "2026-11-20", "x"]),
            "dlq.replays": rng.choice(["0", "7", "many", "٣"]),
            "dlq.reason": "rejected",
        }
        return [[name, value] for name, value in found.items() if rng.random() < 0.9]

    def _outcome(self, ids: list[str]) -> Json:
        kind = self._rng.choice(_KINDS)
        version = {"instant": "2026-03-01T00:00:00.5+00:00", "partition": 1, "offset": 2}
        if kind == "superseded":
            return {"kind": kind, "slug": None, "version": version}
        if kind == "deleted":
            return {"kind": kind, "slug": "docs", "removed": 3}
        fates = [self._rng.choice(["uploaded", "unchanged", "failed"]) for _ in ids]
        of = {
            fate: [i for i, f in zip(ids, fates, strict=True) if f == fate] for fate in set(fates)
        }
        failed = [self._failed(id) for id in of.pop("failed", [])]
        return {"kind": kind, "slug": "docs", "version": version, **of, "failed": failed}

    def _failed(self, id: str) -> Json:
        rng = self._rng
        return {
            "chunk_id": id,
            "reason": rng.choice(["rejected", "exhausted"]),
            "message": self._text(0, 900),
            "http_status": rng.choice([None, 413, 422, 500]),
            "attempts": rng.randint(1, 99),
            "fault": rng.choice(["document", "unclear"]),
        }
