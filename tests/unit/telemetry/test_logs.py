"""Logging: one safe line per event, whatever is logged and wherever it goes."""

from __future__ import annotations

import base64
import io
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.fault import Fault
from consumer.telemetry.events import EACH_TOLD, EVENTS
from consumer.telemetry.logs import _ToStructlog, debugging, set_up_logging
from consumer.telemetry.repeats import BURST
from consumer.telemetry.scrub import MASK, MAX_TEXT, MAX_TRACEBACK, Scrubber

CANARY = "CANARY/s3cret+key=="


@pytest.fixture
def sink() -> io.BytesIO:
    return io.BytesIO()


def lines(sink: io.BytesIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in sink.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_time_level_logger_and_context(sink: io.BytesIO) -> None:
    """What was bound at the start of a journey is on every line of it."""
    set_up_logging(sink=sink)
    structlog.contextvars.bind_contextvars(trace_id="ab" * 16)

    structlog.get_logger("consumer.pipeline").info("document.settled", chunks=3, fault=Fault.BUSY)

    (line,) = lines(sink)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert at.tzinfo == UTC
    assert line == {
        "level": "info",
        "event": "document.settled",
        "logger": "consumer.pipeline",
        "trace_id": "ab" * 16,
        "chunks": 3,
        "fault": "busy",
    }


def test_levels_below_the_chosen_one_are_not_written(sink: io.BytesIO) -> None:
    """And commands can ask whether debugging is on."""
    assert not debugging()
    set_up_logging(level="warning", sink=sink)
    structlog.get_logger("x").info("some.event")
    structlog.get_logger("x").warning("other.event")

    assert [line["event"] for line in lines(sink)] == ["other.event"]
    assert not debugging()
    set_up_logging(level="debug", sink=sink)
    assert debugging()


def test_libraries_come_out_as_one_event_from_warning_on(sink: io.BytesIO) -> None:
    """Also when a library passes arguments that don't fit its own text."""
    logging.getLogger().handlers[:] = []  # pytest's own would raise where ours must not
    set_up_logging(sink=sink)
    library = logging.getLogger("aiokafka.conn")
    library.info("chatter")
    library.warning("can't reach %s", "broker-1")
    library.error("does not fit %d", "x")

    assert [(one["event"], one["logger"], one["level"], one["message"]) for one in lines(sink)] == [
        ("library.message", "aiokafka.conn", "warning", "can't reach broker-1"),
        ("library.message", "aiokafka.conn", "error", "does not fit %d"),
    ]


def test_setting_up_twice_does_not_double_library_messages(sink: io.BytesIO) -> None:
    """Tests and commands set up more than once."""
    set_up_logging(sink=sink)
    set_up_logging(sink=sink)
    logging.getLogger("aiohttp").warning("once")

    assert len(lines(sink)) == 1


def raise_with(secret: str) -> None:
    local_copy = f"{secret} in a local variable"
    raise ValueError(f"the server said {secret} to {len(local_copy)}")


@pytest.mark.parametrize("form", ["json", "console"])
def test_canary_secrets_never_reach_the_log(form: Any, sink: io.BytesIO) -> None:
    """By field name, inside texts, nested, encoded, in exceptions and from libraries."""
    set_up_logging(level="debug", format=form, secrets=[CANARY, "CANARY"], sink=sink)
    log = structlog.get_logger("x")
    raw = CANARY.encode()
    log.info("a.b", api_key="other", Authorization="Bearer other", sasl_password="other")
    log.info("a.b", note=f"key is {CANARY}!", headers={"x-api-key": "other", "x": [CANARY]})
    log.info(
        "a.b", note=base64.b64encode(raw).decode(), url=f"http://h/?k={quote(CANARY, safe='')}"
    )
    log.info("a.b", blob=raw, **{CANARY: 1})
    log.info("a.b", long="x" * (MAX_TEXT - 3) + CANARY, error=ValueError(CANARY))
    try:
        raise_with(CANARY)
    except ValueError as error:
        log.exception("a.b")
        log.error("a.b", exc_info=error)
        logging.getLogger("aiohttp").error("failed with %s", CANARY, exc_info=True)

    written = sink.getvalue().decode()
    assert written.count("a.b") == 7
    assert "Traceback" in written
    for hidden in (
        CANARY,
        "CANARY",
        "other",
        quote(CANARY, safe=""),
        base64.b64encode(raw).decode(),
    ):
        assert hidden not in written


def test_tracebacks_carry_no_local_variables_and_keep_their_end(sink: io.BytesIO) -> None:
    """Local variables hold documents; the end of a traceback says what happened."""
    set_up_logging(sink=sink)

    def deep(left: int) -> None:
        document_text = "text of a document"
        if left == 0:
            raise KeyError(len(document_text))
        if left % 2:
            deep(left - 1)
        else:
            # A second line: Python shortens a traceback that repeats one line.
            deep(left - 1)

    try:
        deep(200)
    except KeyError:
        structlog.get_logger("x").exception("a.b")

    (line,) = lines(sink)
    assert line["exception"].endswith("KeyError: 18")
    assert len(line["exception"]) < 10_000
    assert "'text of" not in line["exception"]


def test_a_secret_at_the_cut_of_a_traceback_leaves_no_half() -> None:
    """Masking comes before shortening."""
    message = CANARY + "x" * (MAX_TRACEBACK - len(CANARY) // 2)

    assert CANARY[-6:] not in Scrubber([CANARY]).tail(message)


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_no_value_makes_a_log_call_fail(sink: io.BytesIO) -> None:
    """A log call that raises would take a worker down with it."""
    set_up_logging(sink=sink)
    loop: list[object] = []
    loop.append(loop)
    values = [
        *("\ud800 lone", "a\r\nb", "\x1b[2J\u202e", b"\xff\xfe", 2**70, float("nan"), float("inf")),
        *(Hostile(), loop, {Hostile(): 1}, {1: {2: 3}}, {"a"}, Path("/x"), object(), Ellipsis),
        *(ValueError(Hostile()), Fault.THEIRS, datetime.now(UTC), range(3), "x" * 10**6),
    ]
    for value in values:
        structlog.get_logger("x").info("a.b", value=value)

    assert [line["event"] for line in lines(sink)] == ["a.b"] * len(values)
    assert max(map(len, sink.getvalue().splitlines())) < 2 * MAX_TEXT


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.binary()
        | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_becomes_exactly_one_line(value: object) -> None:
    """In both formats; nothing a publisher sends can forge a second line."""
    for form in ("json", "console"):
        sink = io.BytesIO()
        set_up_logging(format=form, sink=sink)
        structlog.get_logger("x").info("a.b", value=value)
        assert len(sink.getvalue().decode().splitlines()) == 1


def test_the_console_escapes_what_could_take_over_a_terminal(sink: io.BytesIO) -> None:
    """Line ends, escape sequences and changes of writing direction are shown, not obeyed."""
    set_up_logging(format="console", sink=sink)
    structlog.get_logger("x").info("a.b", title="x\r\nforged=1\x1b[2J\u202e")

    written = sink.getvalue().decode()
    assert "x\\x0d\\nforged=1\\x1b[2J\\u202e" in written.replace("\\\\", "\\")
    assert written.count("\n") == 1


def test_a_full_disk_does_not_stop_the_work() -> None:
    """Lines are lost then, records are not."""
    with open("/dev/full", "wb", buffering=0) as full:
        set_up_logging(sink=full)
        structlog.get_logger("x").info("a.b")
        logging.getLogger("aiohttp").error("c")

        assert full.tell() == 0


def test_a_reader_that_has_gone_does_not_stop_the_work() -> None:
    """`run | head` must not end the service."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as broken:
        set_up_logging(sink=broken)
        structlog.get_logger("x").info("a.b")
    set_up_logging(sink=broken)
    structlog.get_logger("x").info("a.b")

    with pytest.raises(ValueError, match="closed"):
        broken.write(b"the sink is truly gone")


class Dribble:
    """Takes three bytes at a time, as a pipe that is nearly full does."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, line: bytes) -> int:
        self.taken += line[:3]
        return len(line[:3])


def test_a_sink_that_takes_little_at_a_time_gets_the_whole_line() -> None:
    """Half a line would spoil the next one too."""
    sink = Dribble()
    set_up_logging(sink=sink)
    structlog.get_logger("x").info("a.b", text="abc")

    assert orjson.loads(sink.taken)["text"] == "abc"


def test_standard_output_is_the_default(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """One object a line, where containers expect it."""
    set_up_logging()
    structlog.get_logger("x").info("a.b")
    sys.stdout.flush()

    assert orjson.loads(capsysbinary.readouterr().out)["event"] == "a.b"


def test_short_secrets_are_only_masked_by_name() -> None:
    """A password "a" would otherwise turn every text into asterisks."""
    assert Scrubber(["a"]).fields({"note": "a banana", "password": "a"}) == {
        "note": "a banana",
        "password": MASK,
    }


def test_ordinary_names_are_not_masked() -> None:
    """A mask over key, token counts or trace ids would blind the operator."""
    fields = {"key": "k", "tokens": 3, "identity": "i", "trace_id": "t", "differing_key": "x"}

    assert Scrubber(["s3cret"]).fields(fields) == fields


def test_a_library_that_repeats_itself_is_told_once(sink: io.BytesIO) -> None:
    """A hundred lines a second in an outage become one every ten seconds, with their number."""
    set_up_logging(sink=sink)
    now = [100.0]
    (handler,) = [one for one in logging.getLogger().handlers if isinstance(one, _ToStructlog)]
    handler._clock = lambda: now[0]
    library = logging.getLogger("some.library")

    for node in range(100):
        library.warning("no connection to %s", node)
    library.warning("something else")
    now[0] += 11
    library.warning("no connection to %s", 100)

    assert [(one["message"], one.get("repeats_kept_back")) for one in lines(sink)] == [
        ("no connection to 0", None),
        ("something else", None),
        ("no connection to 100", 99),
    ]


@pytest.mark.parametrize("name", sorted(set(EVENTS) - EACH_TOLD - {"log.kept_back"}))
def test_no_event_floods_the_log(name: str, sink: io.BytesIO) -> None:
    """A rule over the whole vocabulary: ten thousand records that meet it are a few lines."""
    now = [0.0]
    set_up_logging(sink=sink, level="debug", clock=lambda: now[0])
    log = structlog.get_logger("consumer.somewhere")
    for number in range(1000):
        now[0] += 0.009
        log.info(name, identity=str(number))
    now[0] += 10
    log.info("other.event")

    told = lines(sink)
    assert [each["event"] for each in told].count(name) == BURST
    assert told[-2] | {"timestamp": ""} == {
        "timestamp": "",
        "level": "warning",
        "event": "log.kept_back",
        "logger": "consumer.telemetry.logs",
        "about": name,
        "count": 1000 - BURST,
    }
    assert told[-1]["event"] == "other.event"


@pytest.mark.parametrize("name", sorted(EACH_TOLD))
def test_what_nothing_else_tells_is_told_each_time(name: str, sink: io.BytesIO) -> None:
    """Whoever looks for a document or a loss finds it, also in the middle of a thousand others."""
    set_up_logging(sink=sink, clock=lambda: 0.0)
    for number in range(100):
        structlog.get_logger().info(name, identity=str(number))

    assert [each["identity"] for each in lines(sink)] == [str(n) for n in range(100)]


@pytest.mark.parametrize(
    "name",
    ["offset.out_of_range", "partition.went_back", "topic.begun_at_its_end", "workspace.changed"],
)
def test_losses_are_told_each_time(name: str) -> None:
    """Their lines are the only place with partition and count, or with the workspace."""
    assert name in EACH_TOLD


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_what_was_kept_back_is_told_in_the_console_too(level: str, sink: io.BytesIO) -> None:
    now = [0.0]
    set_up_logging(sink=sink, format="console", clock=lambda: now[0])
    tell = getattr(structlog.get_logger(), level)
    for _ in range(50):
        tell("a.b")
    now[0] += 10
    tell("a.b")

    shown = sink.getvalue().decode().splitlines()
    assert len(shown) == BURST + 2
    assert "log.kept_back" in shown[-2]
    assert f"count={50 - BURST}" in shown[-2]
