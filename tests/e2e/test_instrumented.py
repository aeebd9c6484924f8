"""The service as operators of OpenTelemetry run it: under ``opentelemetry-instrument``.

Their packages for aiokafka and aiohttp wrap the clients in its process; the service depends on none
of them, and notes its own spans only where it is told to.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.sandbox.samples import sample_documents
from tests.e2e.support import Json, Stage, chunk_ids, stored, uploads

INSTRUMENTED = (str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable)
EXPORT = {
    "OTEL_TRACES_EXPORTER": "console",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_SERVICE_NAME": "anythingllm-consumer",
}
NO_TEXT = b"\xff\xfe"  # no UTF-8: what OpenTelemetry's wrapper of aiokafka raises on


def trace(number: int) -> str:
    """A publisher's trace id."""
    return f"{number:032x}"


def spans(out: str) -> Iterator[Json]:
    """What OpenTelemetry's console exporter wrote between the lines of the log."""
    for text in re.findall(r"^\{\n.*?^\}$", out, re.MULTILINE | re.DOTALL):
        yield json.loads(text)


async def publish(stage: Stage, events: Sequence[Json]) -> None:
    """Each in a trace of its own; the last one's ``traceparent`` is no text."""
    publisher = Publisher(stage.connection, give_up=True)
    await publisher.start()
    for number, event in enumerate(events, 1):
        parent = f"00-{trace(number)}-{number:016x}-01".encode()
        headers = (
            ("traceparent", NO_TEXT if event is events[-1] else parent),
            ("origin", "café".encode("latin-1")),
        )
        await publisher.publish(
            OutgoingRecord(
                stage.settings["KAFKA_DOCUMENTS_TOPIC"],
                event["id"].encode(),
                json.dumps(event).encode(),
                headers,
            )
        )
    await publisher.stop()


async def traces_in(stage: Stage, topic: str) -> list[tuple[str, set[str]]]:
    """Of every record the trace its body or event has, and those its headers name."""
    found = []
    async for record in read_topic(stage.connection, stage.settings[topic]):
        named = {value.decode() for name, value in record.headers if value and name == "trace_id"}
        parents = [value for name, value in record.headers if value and name == "traceparent"]
        named |= {value.decode().split("-")[1] for value in parents if value != NO_TEXT}
        found.append((json.loads(record.value or b"{}").get("trace_id", ""), named))
    return found


async def test_one_trace_leads_from_an_event_to_its_result(stage: Stage) -> None:
    """Nothing is lost; requests and results are noted in the trace that the publisher began."""
    documents = sample_documents(12, seed=3, technologies=["docs"], max_chunks=3)
    events = [*documents[:-1], {"id": "breaks-the-contract", "chunks": 3}, documents[-1]]
    service = await stage.programs.start(
        "run", settings={**stage.settings, **EXPORT}, python=INSTRUMENTED
    )
    await publish(stage, events)
    results = await stage.until_results(len(events))
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0

    assert Counter(result.status for result in results) == {"succeeded": 12, "invalid": 1}
    wanted = Counter(chunk_ids(documents))
    assert Counter((copy.document_id, copy.chunk_id) for copy in stored(stage.simulator)) == wanted
    assert Counter(uploads(stage.simulator)) == wanted
    assert set((await stage.unsettled()).values()) == {0}

    known = {trace(number) for number in range(1, len(events))}
    assert known < {result.trace_id for result in results}
    for own, named in await traces_in(stage, "KAFKA_RESULTS_TOPIC"):
        assert named == {own}
    noted = list(spans(service.out))
    for what, kind in (("/raw-text", "SpanKind.CLIENT"), ("send", "SpanKind.PRODUCER")):
        of_kind = [span for span in noted if span["kind"] == kind]
        about = [span for span in of_kind if what in span["attributes"].get("http.url", what)]
        traces = {span["context"]["trace_id"].removeprefix("0x") for span in about}
        assert traces == {result.trace_id for result in results if _noted(what, result.status)}


def _noted(what: str, status: str) -> bool:
    return what == "send" or status == "succeeded"


async def test_with_tracing_of_ours_nothing_is_noted_twice(stage: Stage) -> None:
    """One span a request and a sending, ours, and all of them in the publisher's trace."""
    documents = sample_documents(3, seed=4, technologies=["docs"], max_chunks=2)
    service = await stage.programs.start(
        "run",
        settings={**stage.settings, **EXPORT, "TRACING_ENABLED": "true"},
        python=INSTRUMENTED,
    )
    await publish(stage, [*documents, {"id": "no-text", "chunks": []}])
    await stage.until_results(len(documents))
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0

    for own, named in await traces_in(stage, "KAFKA_RESULTS_TOPIC"):
        assert named == {own}
    about = [span for span in spans(service.out) if _trace_of(span) in set(map(trace, range(1, 4)))]
    names = Counter(span["name"].split()[0] for span in about)
    assert names["process"] == names["send"] == len(documents)
    sent = sum(span["name"] == "POST /v1/document/raw-text" for span in about)
    others = [span for span in about if "http.url" in span["attributes"]]
    assert sent >= len(chunk_ids(documents))
    assert others == [span for span in about if span["name"].endswith(" send")] == []
    parents = {span["parent_id"] for span in about if span["name"].startswith("process")}
    assert {each.removeprefix("0x") for each in parents} == {f"{n:016x}" for n in range(1, 4)}


def _trace_of(span: Json) -> str:
    return str(span["context"]["trace_id"]).removeprefix("0x")
