"""Bad input never stalls the stream, and nothing of it is lost.

Each bad event becomes a dead letter with the original bytes, its publisher is answered where that
is possible, and the good documents before and after it are stored as if nothing had been.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from consumer.kafka.publisher import TooLargeForTopicError
from consumer.model.record import Headers, Record
from tests.integration.service_fixtures import MakeStage, Stage
from tests.staging import SECONDS, document, header, statuses, texts

MIB = 1024 * 1024
CONNECT = "__connect.errors."
DEEP = b'{"id": "deep", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@dataclass(frozen=True)
class Bad:
    """A bad event.

    Args:
        name: also its document id, where that can be read.
        value: the bytes.
        reason: of its dead letter.
        readable: whether the document's id can be read, so that there is a result.
    """

    name: str
    value: bytes | None
    reason: str = "invalid"
    readable: bool = True
    key: bytes | None = b"some key"
    headers: Headers = ()


def _bad(name: str, reason: str = "invalid", **changes: Any) -> Bad:
    return Bad(name, orjson.dumps(document(name, ["a text"]) | changes), reason)


def _without(name: str, field: str) -> Bad:
    event = document(name, ["a text"])
    del event[field]
    return Bad(name, orjson.dumps(event))


def _raw(name: str, content: bytes, readable: bool = True) -> Bad:
    value = orjson.dumps(document(name, ["CONTENT"])).replace(b'"CONTENT"', content)
    return Bad(name, value, readable=readable)


CHUNK = {"id": "c", "content": "a text"}
BAD = [
    Bad("garbage", b"\xff\xfe\x00 no json", "undecodable", readable=False),
    Bad("cut", orjson.dumps(document("cut", ["a text"]))[:-9], "undecodable", readable=False),
    Bad("empty", b"", "undecodable", readable=False),
    Bad("json-null", b"null", readable=False),
    Bad("a-list", b"[]", readable=False),
    Bad("a-number", b"17", readable=False),
    Bad("deep", DEEP, "undecodable", readable=False),
    Bad("utf16", '{"id": "x"}'.encode("utf-16"), "undecodable", readable=False),
    _bad("wrong-type", title=17),
    _bad("chunks-no-list", chunks={"0": CHUNK}),
    _bad("chunk-no-object", chunks=["a text"]),
    _bad("number-as-text", chunks=[CHUNK | {"chunk_index": "1"}]),
    _bad("huge-integer", word_count=2**63 - 1),
    _bad("double-ids", chunks=[CHUNK, CHUNK]),
    _bad("blank-chunk", chunks=[CHUNK | {"content": " \n "}]),
    _bad("other-parent", chunks=[CHUNK | {"parent_document_id": "another"}]),
    _bad("nul-in-text", chunks=[CHUNK | {"content": "a\x00b"}]),
    _bad("long-chunk-id", chunks=[CHUNK | {"id": "x" * 2_000}]),
    Bad("long-id", orjson.dumps(document("x" * 2_000, ["a text"])), readable=False),
    _bad("no-date", created_at="yesterday"),
    *[_without(f"no-{field}", field) for field in ("title", "technology", "source_url", "chunks")],
    Bad("no-id", orjson.dumps({"title": "no id"}), readable=False),
    _raw("lone-surrogate", rb'"half \ud83d"'),
    _raw("not-a-number", b"NaN"),
    _raw("infinite", b"1e999"),
    _raw("huge-number", b"9" * 400),
    _bad("too-many", "oversized", chunks=[CHUNK | {"id": str(n)} for n in range(51)]),
    _bad("chunk-too-large", "oversized", chunks=[CHUNK | {"content": "x" * 20_001}]),
    _bad("event-too-large", "oversized", processing_metadata={"x": "x" * 70_000}),
    _bad("no-slug", "unroutable", technology="日本語"),
    _bad("path-slug", "unroutable", workspace="../x"),
    _bad("two-slugs", "unroutable", workspace="a,b"),
    _bad("upper-slug", "unroutable", workspace="Docs"),
    _bad("empty-slug", "unroutable", workspace=""),
    _bad("forbidden-slug", "unroutable", workspace="secret"),
    _bad("forbidden-technology", "unroutable", technology="secret"),
    Bad("tombstone-without-key", None, readable=False, key=None),
    Bad("tombstone-empty-key", None, readable=False, key=b""),
    Bad("tombstone-odd-key", None, readable=False, key=b"\xff\xfe"),
]
LIMITS = {
    "DOCUMENT_MAX_CHUNKS": "50",
    "DOCUMENT_MAX_CHUNK_BYTES": "20000",
    "DOCUMENT_MAX_BYTES": "65536",
    "ROUTING_ALLOWED_WORKSPACES": "docs,docs-*",
}
HEADERS: Headers = (  # type: ignore[assignment]  # Kafka has null headers, too
    ("purpose", b"a test \xf0\x9f\x94\x94"),
    ("purpose", b"twice"),
    ("empty", b""),
    ("null", None),
)


def _at(letter: Record) -> tuple[str | None, int, int]:
    partition, offset = header(letter, CONNECT + "partition"), header(letter, CONNECT + "offset")
    return header(letter, CONNECT + "topic"), int(partition or -1), int(offset or -1)


async def test_every_kind_of_bad_event_is_dead_lettered_whole_and_the_stream_goes_on(
    make_stage: MakeStage,
) -> None:
    """Key, value and headers are on the dead-letter topic byte for byte, with why and where from.

    Nothing that a publisher can send stalls its partition.
    """
    stage = await make_stage(LIMITS)
    # The topics take more than the service does, as they would after a limit was lowered.
    larger = stage.with_settings(DOCUMENT_MAX_BYTES="8MiB")
    stage._publisher._max_record_bytes = larger.document.max_bytes
    async with _wide(stage):
        for number, bad in enumerate(BAD):
            await stage.publish(document(f"good-{number}", ["a good text"]), partition=0)
            await _publish_once_it_fits(stage, bad.value, bad.key)
        await stage.publish(document("last", ["a good text"]), partition=0)
        await stage.start()
        letters = await stage.wait_dead_letters(len(BAD))
        answered = [bad for bad in BAD if bad.readable]
        results = await stage.wait_results(len(answered) + len(BAD) + 1)
        await stage.finish()

    found = statuses(results)
    good = {f"good-{number}" for number in range(len(BAD))} | {"last"}
    assert {name for name, status in found.items() if status == "succeeded"} == good
    invalid = {name for name, status in found.items() if status == "invalid"}
    assert invalid == {bad.name for bad in answered}
    assert set(stage.stored()) == good

    by_offset = {_at(letter)[2]: letter for letter in letters}
    sent = {r.at.offset: r for r in await stage.everything(stage.documents)}
    for number, bad in enumerate(BAD):
        _check_letter(stage, bad, sent[2 * number + 1], by_offset[2 * number + 1])


def _check_letter(stage: Stage, bad: Bad, sent: Record, letter: Record) -> None:
    assert (letter.key, letter.value) == (sent.key, sent.value), bad.name
    assert letter.headers[: len(HEADERS)] == HEADERS, bad.name
    added = dict(letter.headers[len(HEADERS) :])
    assert len(added) == len(letter.headers) - len(HEADERS), f"{bad.name}: a header twice"
    said = {name: value.decode() for name, value in added.items()}
    assert said["dlq.reason"] == bad.reason, bad.name
    assert _at(letter) == (sent.at.topic, sent.at.partition, sent.at.offset)
    assert said["dlq.original-timestamp"] == str(sent.timestamp_ms)
    assert said["dlq.group"] == stage.settings.kafka.group_id
    assert said["dlq.replays"] == "0"
    assert said["dlq.first-failed-at"] == said["dlq.last-failed-at"]
    assert said[CONNECT + "connector.name"] == "anythingllm-consumer"
    assert said[CONNECT + "stage"] == ("plan" if bad.reason == "unroutable" else "decode")
    assert {"dlq.event-id", "dlq.trace-id", "dlq.attempts"} <= set(said)
    assert {CONNECT + name for name in ("class.name", "task.id", "exception.message")} <= set(said)
    assert said.get("dlq.document-id") == (bad.name if bad.readable else None), bad.name
    assert "a text" not in said[CONNECT + "exception.message"], "document text in a header"


class _wide:  # noqa: N801 - reads as a statement
    """Lets the input topic take larger records than the settings say."""

    def __init__(self, stage: Stage, size: int = 8 * 1024 * 1024) -> None:
        self._stage = stage
        self._size = size

    async def __aenter__(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        admin = AIOKafkaAdminClient(**self._stage.connection.client_options())
        await admin.start()
        try:
            wanted = {"max.message.bytes": str(self._size)}
            topic = ConfigResource(ConfigResourceType.TOPIC, self._stage.documents, wanted)
            await admin.alter_configs([topic])
        finally:
            await admin.close()

    async def __aexit__(self, *_: object) -> None:
        return None


async def test_a_null_key_is_accepted(stage: Stage) -> None:
    """Order is then kept per partition only; the document is stored all the same."""
    await stage.publish(document("keyless", ["a text"]), key=None)
    await stage.start()
    (result,) = await stage.wait_results(1)

    assert result["status"] == "succeeded"
    assert stage.stored() == {"keyless": ["a text"]}


async def _publish_once_it_fits(stage: Stage, value: bytes | None, key: bytes | str | None) -> None:
    """A broker has a topic's new setting a moment after it has said so."""
    async with asyncio.timeout(SECONDS):
        while True:
            with suppress(TooLargeForTopicError):
                await stage.publish(value, key=key, headers=HEADERS, partition=0)
                return
            await asyncio.sleep(0.02)


async def test_an_event_that_no_dead_letter_topic_takes_is_dead_lettered_by_reference(
    make_stage: MakeStage,
) -> None:
    """Coordinates, size, hash and a preview stand in for what does not fit; nothing stalls."""
    stage = await make_stage({"DOCUMENT_MAX_BYTES": "65536", "DOCUMENT_MAX_CHUNK_BYTES": "20000"})
    stage._publisher._max_record_bytes = 8 * 1024 * 1024
    async with _wide(stage):
        value = orjson.dumps(document("giant", texts("giant", 20_000)))
        await _publish_once_it_fits(stage, value, "giant")
        await stage.publish(document("good", ["a good text"]), partition=0)
        await stage.start()
        (letter,) = await stage.wait_dead_letters(1)
        await stage.wait_results(1)
        await stage.finish()

    reference = orjson.loads(letter.value or b"")
    assert header(letter, "dlq.reason") == "oversized"
    assert reference["kind"] == "reference"
    assert reference["value_bytes"] == len(value)
    assert (reference["topic"], reference["offset"]) == (stage.documents, 0)
    assert stage.stored() == {"good": ["a good text"]}


@pytest.mark.slow
async def test_a_record_of_fifty_megabytes_is_dead_lettered_by_reference(
    make_stage: MakeStage,
) -> None:
    """It is fetched, because a broker sends it or nothing; it is not read, and costs no partition.

    Its text does not get smaller by compression, and most of it is an id and a title.
    """
    stage = await make_stage()
    noise = random.Random(1).randbytes(25 * MIB).hex()
    async with _wide(stage, 64 * MIB):
        value = orjson.dumps(document("huge", ["a text"], title=noise))
        assert len(value) > 50_000_000
        producer = AIOKafkaProducer(
            bootstrap_servers=stage.kafka.bootstrap_servers, max_request_size=64 * MIB
        )
        async with producer, asyncio.timeout(SECONDS):
            while True:
                with suppress(MessageSizeTooLargeError):
                    await producer.send_and_wait(stage.documents, value, key=b"huge", partition=0)
                    break
                await asyncio.sleep(0.02)  # a broker has a topic's new setting a moment later
        await stage.publish(document("behind", ["a good text"]), partition=0)
        running = await stage.start()
        (letter,) = await stage.wait_dead_letters(1)
        await stage.wait_results(1)
        await stage.finish()

    reference = orjson.loads(letter.value or b"")
    assert header(letter, "dlq.reason") == "oversized"
    assert (reference["value_bytes"], reference["offset"]) == (len(value), 0)
    assert len(letter.value or b"") < 64 * 1024
    assert stage.stored() == {"behind": ["a good text"]}
    assert running.service._metrics.value("rebalances_total") == 0
