"""What is published, for tests of who reads it: recorded results, a later version, both schemas.

The published schema is open: it takes every 1.x. The strict one takes only what this version may
write; it stands here because nobody but us should refuse anything by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import orjson
from jsonschema import Draft7Validator, Draft202012Validator

from consumer.contract.schemas import DRAFT_7, RESULT, files
from consumer.contract.upload_result import UploadResult
from tests.compatibility.forms import Json, recorded

COUNTERS = ("total_chunks", "successful_uploads", "failed_uploads")
STATUSES = frozenset({"succeeded", "partial", "failed", "superseded", "deleted", "invalid"})


def recorded_results() -> list[bytes]:
    """Results of every status, byte for byte as commit cdefe5a published them and as we do today.

    Those that are not kept whole (cut to 512 KiB) are left out.
    """
    settled = recorded("settled.json")
    results = settled["address"]["results"]
    sent = [each for case in settled["cases"] for each in case["written"]]
    return [
        each["value"].encode()
        for each in sent
        if each["topic"] == results and isinstance(each["value"], str)
    ]


def later(result: Json) -> Json:
    """What a version 1.1 may look like that has a new field, a new status and a new reason."""
    reason = {"reason": "quarantined", "until": "2027-01-01T00:00:00Z", "message": "held back"}
    chunk = {"chunk_id": "c-1", "http_status": None, "attempts": 0, **reason}
    return result | {
        "schema_version": "1.1",
        "status": "postponed",
        "failed_chunks": [chunk],
        "failed_chunk_ids": ["c-1"],
        "priority": {"level": 3, "by": ["somebody"]},
        "source": result["source"] | {"leader_epoch": 7},
    }


def strict_result_schema() -> Json:
    """What this version may write: nothing unknown, and counters that fit the status."""
    zero, some = {"const": 0}, {"minimum": 1}
    conditions = [
        _when(["superseded", "deleted", "invalid"], dict.fromkeys(COUNTERS, zero)),
        _when(["succeeded"], {"failed_uploads": zero}),
        _when(["failed"], {"successful_uploads": zero, "failed_uploads": some}),
        _when(["partial"], {"successful_uploads": some, "failed_uploads": some}),
        _when(sorted(STATUSES - {"invalid"}), {"reason": False}),
    ]
    return UploadResult.model_json_schema() | {"allOf": conditions}


def _when(statuses: Sequence[str], then: Mapping[str, object]) -> Json:
    condition = {"properties": {"status": {"enum": list(statuses)}}}
    return {"if": condition, "then": {"properties": then}}


@cache
def _validators() -> Sequence[Any]:
    published = files()
    return (
        Draft202012Validator(strict_result_schema()),
        Draft202012Validator(orjson.loads(published[RESULT])),
        Draft7Validator(orjson.loads(published[f"{DRAFT_7}/{RESULT}"])),
    )


def validated(value: bytes) -> Json:
    """A result that we have published: it fits the strict schema and both published ones."""
    _validate(value)
    result: Json = orjson.loads(value)
    return result


@lru_cache(maxsize=10_000)  # who waits for results looks at the same ones again and again
def _validate(value: bytes) -> None:
    for each in _validators():
        each.validate(orjson.loads(value))
