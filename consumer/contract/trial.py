"""A trial: a record that only shows that a topic takes records of ours (`check --try-writing`).

It must disturb nobody who reads these topics.

- On the results topic it is a whole UploadResult of the status that says "nothing was done", about
  a document that nobody has. Its event id is always the same, so readers keep the first.
- On the dead-letter and the parked topic it is no letter: none of a letter's headers is there.
- On an input topic there is none: whatever it were, it would be worked.

Ours skip it. It is recognised by key and all headers, so that no letter can pass for it: those of
a letter were added to its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from consumer.contract.upload_result import ResultStatus, Source, UploadResult, event_id_of
from consumer.model.record import Coordinates, Headers, Record

NAME = "anythingllm-consumer-check"
KEY = NAME.encode()
HEADERS: Headers = (("anythingllm-consumer.trial", b"1"),)

_ORIGIN = Coordinates(NAME, 0, 0)
_SAYS = "a trial of `check --try-writing`: it is about no document, leave it alone"
# A short record would travel as it is, whatever the codec: aiokafka packs only what gets smaller.
_REPEATED = 40


def is_trial(record: Record) -> bool:
    """Whether a record is a trial, which no reader need look at."""
    return is_trial_result(record.key, record.headers)


def is_trial_result(key: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """The same of a record that another client has read, by its key and its headers."""
    return key == KEY and tuple(headers) == HEADERS


def trial_letter() -> bytes:
    """The value of a trial on the dead-letter or the parked topic."""
    return "\n".join([_SAYS] * _REPEATED).encode()


def trial_result(now: datetime, cluster_id: str) -> bytes:
    """The value of a trial on the results topic.

    Args:
        now: aware.
        cluster_id: Kafka's cluster id.
    """
    made_up = Record(_ORIGIN, timestamp_ms=0, key=KEY, value=None)
    return UploadResult(
        schema_version="1.0",
        event_id=event_id_of(made_up, cluster_id),
        trace_id="0" * 31 + "1",
        identity=NAME,
        document_id=NAME,
        workspace_slug=None,
        status=ResultStatus.SUPERSEDED,
        total_chunks=0,
        successful_uploads=0,
        failed_uploads=0,
        uploaded_chunk_ids=[],
        unchanged_chunk_ids=[],
        failed_chunk_ids=[],
        removed_chunks=0,
        errors=[_SAYS] * _REPEATED,
        failed_chunks=[],
        content_hash=None,
        document_version=None,
        truncated=False,
        source=Source(topic=NAME, partition=0, offset=0, timestamp=now),
        replay_of=None,
        started_at=now,
        completed_at=now,
        duration_ms=0,
    ).encode()
