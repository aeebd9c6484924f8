"""Texts of events that would break what they are put into: paths, logs, metrics, results, tables.

Whoever may write to the input topic chooses every one of them. They are stored or refused as any
other text is, and nowhere do they count for more than text.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.model.record import Headers
from consumer.model.slug import is_slug
from consumer.telemetry.events import EVENTS
from consumer.telemetry.logs import set_up_logging
from consumer.telemetry.metrics import CHUNK_OUTCOMES, STATUSES
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import Operator
from tests.staging import Json, document

MARK = "h0stile"
"""Stands in each text, so that it is found wherever it goes."""
TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "path": f"../../../../{MARK}/etc/passwd",
        "absolute": f"/{MARK}/etc/passwd",
        "windows": f"..\\..\\{MARK}\\x",
        "dots": "..",
        "encoded": f"%2e%2e%2f{MARK}%2fadmin",
        "query": f"{MARK}?b=c&d#e",
        "line": f'{MARK}\n{{"event":"service.stopped","level":"info"}}',
        "header": f"{MARK}\r\nX-Injected: yes\r\n\r\nGET / HTTP/1.1",
        "terminal": f"\x1b[2J\x1b]0;{MARK}\x07",
        "turned": f"\u202e{MARK}gpj.exe",
        "separators": f"{MARK}\u2028\u2029\x85\x0b\x0c",
        "script": f"<script>{MARK}</script>",
        "attribute": f"\" onload='{MARK}'",
        "label": f'{MARK}"}} 1\nanythingllm_consumer_documents_total{{status="forged',
        "template": f"{{id}} %s %(x)s ${{HOME}} {{{{7*7}}}} {MARK}",
        "markup": f"[bold red]{MARK}[/]",
        "nothing": "",
        "blank": " \t",
        "zero": f"{MARK}\x00rest",
        "long": MARK + "x" * 9000,
        "emoji": f"{MARK} 👩‍👩‍👧‍👦 \u0301\u0301\u0301",
        "flag": f"--{MARK}=yes",
    }
)
WORST = ("path", "line", "terminal", "turned", "label")
FIELDS = ("id", "title", "technology", "source_url", "workspace", "content_hash", "trace_id")
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def _events(text: str, name: str) -> list[Json]:
    """An event for each field that holds the text, and one whose chunk has it for its id."""
    events: list[Json] = [
        document(f"{name}-{field}", ["one"]) | {field: text} for field in FIELDS if field != "id"
    ]
    events.append(document(text, ["one"]))
    events.append(
        document(f"{name}-chunk", []) | {"chunks": [{"id": text, "content": "one", "x": text}]}
    )
    return events


async def _worked(stage: MemoryStage, names: Collection[str]) -> str:
    """Events of these texts in every place, worked to their end; the page of metrics."""
    for name in names:
        text = TEXTS[name]
        raw = text.encode()
        headers: Headers = ((text, raw), ("traceparent", raw), ("workspace", raw))
        for number, event in enumerate(_events(text, name)):
            stage.publish(event, key=f"{name}-{number}")
        stage.publish(document(f"{name}-key", ["one"]), key=text)
        stage.publish(document(f"{name}-headers", ["one"]), headers=headers)
        stage.publish(None, key=text)
        stage.publish(raw, key=text)
    service = stage.start()
    await stage.settled()
    await stage.stop()
    return service.metrics.render().decode()


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("json", WORST),
        pytest.param("json", TEXTS, marks=pytest.mark.slow),
        pytest.param("console", TEXTS, marks=pytest.mark.slow),
    ],
    ids=["json-worst", "json", "console"],
)
async def test_a_hostile_text_counts_for_no_more_than_text(
    stage: MemoryStage, form: Literal["json", "console"], names: Collection[str]
) -> None:
    """Answered once or dead-lettered whole; no path, no line and no series is made of it."""
    sink = io.BytesIO()
    set_up_logging(level="debug", format=form, sink=sink)
    page = await _worked(stage, names)

    published = len(stage.everything(stage.documents))
    answered = {result["event_id"] for result in stage.results}
    letters = {dict(letter.headers)["dlq.event-id"].decode() for letter in stage.dead_letters}
    assert len(answered | letters) == published
    assert {result["status"] for result in stage.results} <= set(STATUSES)
    _judge_workspaces(stage)
    _judge_metrics(page)
    _judge_log(sink.getvalue().decode(), form)


def _judge_workspaces(stage: MemoryStage) -> None:
    """Slugs go into paths of requests: each is one, and none has been turned into another's."""
    assert [] == [slug for slug in stage.simulator.state.workspaces if not is_slug(slug)]


def _judge_metrics(page: str) -> None:
    assert MARK not in page
    statuses, outcomes = set(), set()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            statuses |= {v for name, v in sample.labels.items() if name == "status"}
            outcomes |= {v for name, v in sample.labels.items() if name == "outcome"}
    assert statuses == set(STATUSES)
    assert outcomes >= set(CHUNK_OUTCOMES)


def _judge_log(log: str, form: str) -> None:
    assert _acts(log.replace("\n", "")) == []
    lines = log.split("\n")[:-1]
    if form == "json":
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        assert {entry["event"] for entry in entries} <= set(EVENTS)
    else:
        assert [] == [line for line in lines if line.startswith('{"event"')]
    assert not any("service.stopped" in line and MARK not in line for line in lines)


def _acts(text: str) -> list[str]:
    """Characters that act on whoever shows the text: ends of lines, controls, turned directions."""
    return [
        each
        for each in text
        if unicodedata.category(each) in {"Cc", "Zl", "Zp"}
        or unicodedata.bidirectional(each) in _TURNING
    ]


@pytest.mark.slow
async def test_commands_show_a_hostile_text_as_text(operator: Operator) -> None:
    """Dead letters, results and workspaces for people; no file is written for one."""
    await _worked(operator.stage, TEXTS)
    before = _files(operator.commands.folder)
    for words in (("dlq", "list"), ("results",), ("workspaces", "list"), ("audit", "--no-search")):
        ended = await operator.run(*words)
        shown = ended.out + ended.err
        assert _acts(shown.replace("\n", "").replace("\t", "")) == []
        assert "Traceback" not in shown
        assert (MARK in shown) == (words[0] != "audit")
    assert _files(operator.commands.folder) == before


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_headers_by_the_thousand_are_kept_whole(stage: MemoryStage) -> None:
    """A letter has them byte for byte, in their order; what can be stored is stored."""
    headers: Headers = tuple((f"x-{number % 900}", b"%d" % number) for number in range(5_000))
    stage.publish(document("good", ["one"]), headers=headers, partition=0)
    stage.publish(b"no event", key="bad", headers=headers, partition=0)
    stage.start()
    await stage.settled()
    await stage.stop()

    (letter,) = stage.dead_letters
    assert letter.headers[: len(headers)] == headers
    assert set(stage.stored()) == {"good"}


async def test_headers_that_leave_no_room_for_a_letter_s_own_are_dead_lettered_by_reference(
    stage: MemoryStage,
) -> None:
    """Megabytes of headers on a few bytes of value: the record is named, and the stream goes on."""
    wide: Headers = tuple((f"x-{number}", b"x" * 1024) for number in range(9 * 1024))
    stage.publish(b"no event", key="wide", headers=wide, partition=0)
    stage.publish(document("behind", ["one"]), partition=0)
    stage.start()
    await stage.settled()
    await stage.stop()

    (letter,) = stage.dead_letters
    reference = orjson.loads(letter.value or b"")
    assert (reference["kind"], reference["offset"]) == ("reference", 0)
    assert len(letter.headers) < 100
    assert set(stage.stored()) == {"behind"}
