"""Sets up logging: one line per event, from our own code and from libraries alike.

Rules:

1. A log call never raises and never stops the work: neither what is logged (`Scrubber`) nor where
   it goes (a full disk, a closed pipe) can make it.
2. JSON is for machines: one object a line on standard output. The console format is for people
   (`consumer.telemetry.console`), and what is chosen where nothing is set and a terminal reads.
3. Libraries log through the standard library; from WARNING on that comes out as the event
   ``library.message``, with the same mask for secrets.
4. No event floods the log (`LineBudget`): disks fill, and readers miss what else there is.
5. Tracebacks carry no local variables: they would hold documents and keys.
"""

from __future__ import annotations

import io
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

import orjson
import structlog
from structlog.typing import EventDict, Processor

from consumer.telemetry.console import console
from consumer.telemetry.events import EACH_TOLD
from consumer.telemetry.repeats import KeptBack, LineBudget
from consumer.telemetry.scrub import Scrubber

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]
Render = Callable[[dict[str, Any]], bytes]

LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SAME_AGAIN_SECONDS = 10.0  # a library says the same at most this often
_KINDS_REMEMBERED = 1_000  # library messages that are told apart; beyond, some come once more


def format_for(setting: Literal["auto", "json", "console"], *, is_terminal: bool) -> Format:
    """The format that a setting means.

    Args:
        setting: ``LOG_FORMAT``; what it says wins over what is guessed.
        is_terminal: whether somebody looks at where the lines go.
    """
    if setting == "auto":
        return "console" if is_terminal else "json"
    return setting


class Sink(Protocol):
    """Where lines go."""

    def write(self, line: bytes, /) -> int | None:
        """Take a line, or the first part of it."""
        ...


def set_up_logging(
    *,
    level: Level = "info",
    format: Format = "json",
    secrets: Iterable[str] = (),
    sink: Sink | None = None,
    colors: bool = False,
    quiet_kafka: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Send all events and library messages to one place; may be called again.

    Args:
        level: the least important level that is written.
        format: ``json`` or ``console``.
        secrets: exact values that are masked wherever they occur.
        sink: takes the lines; None is this process's standard output.
        colors: for the console format on a terminal.
        quiet_kafka: whether aiokafka says nothing.
        clock: monotonic seconds, for lines that repeat.
    """
    budget = LineBudget(clock)
    scrubber = Scrubber(secrets)
    render = _as_json if format == "json" else console(colors=colors)
    processors: list[Processor] = [
        _Sparing(budget),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Finish(scrubber, render, budget),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_LineLoggers(sink if sink is not None else standard_stream("stdout")),
        # Off, so that modules' loggers follow a later set-up; costs a few microseconds a line.
        cache_logger_on_first_use=False,
    )
    _route_libraries(max(LEVELS[level], logging.WARNING))
    _quieten("aiokafka", quiet=quiet_kafka)


def _quieten(library: str, *, quiet: bool) -> None:
    """Keep a library's lines out of the log, or let them in again.

    By its way up and not by its level: what listens to the library itself still hears why something
    failed (`consumer.kafka.connection.explained`).
    """
    logger = logging.getLogger(library)
    logger.propagate = not quiet
    # Set anew by every set-up, as all the rest: nothing is left of a former one.
    logger.handlers[:] = [one for one in logger.handlers if not _is_null(one)]
    if quiet:
        logger.addHandler(logging.NullHandler())  # without any Python would print the lines raw


def _is_null(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.NullHandler)


def standard_stream(name: Literal["stdout", "stderr"]) -> Sink:
    """This process's stream, unbuffered where it is a real one.

    A buffered stream whose reader has gone fails once more when the interpreter ends and turns
    exit code 0 into 120.
    """
    stream = getattr(sys, name)
    try:
        return io.FileIO(stream.fileno(), "wb", closefd=False)
    except (AttributeError, OSError, ValueError):
        # Started without that stream, or a test captures it.
        buffer: Sink = getattr(stream, "buffer", None) or io.BytesIO()
        return buffer


class _LineLogger:
    """Writes finished lines; what can't be written is dropped, the work goes on."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self.name = name

    def msg(self, line: bytes) -> None:
        rest = line
        try:
            while rest:
                taken = self._sink.write(rest)
                if taken is None or taken <= 0:
                    return
                rest = rest[taken:]
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = log = msg


class _LineLoggers:
    """Makes a `_LineLogger` per name."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def __call__(self, *args: Any) -> _LineLogger:
        return _LineLogger(self._sink, str(args[0]) if args else "consumer")


def _add_logger_name(logger: _LineLogger, method: str, event: EventDict) -> EventDict:
    event.setdefault("logger", logger.name)
    return event


class _Sparing:
    """The first processor: drops what repeats too often."""

    def __init__(self, budget: LineBudget) -> None:
        self._budget = budget

    def __call__(self, logger: _LineLogger, method: str, event: EventDict) -> EventDict:
        name = event.get("event")
        if isinstance(name, str) and name not in EACH_TOLD and not self._budget.takes(name):
            raise structlog.DropEvent
        return event


class _Finish:
    """The last processor: from fields to the bytes of one line, whatever the fields hold.

    Before it come the lines that say how many were dropped.
    """

    def __init__(self, scrubber: Scrubber, render: Render, budget: LineBudget) -> None:
        self.scrubber = scrubber
        self._render = render
        self._budget = budget

    def __call__(self, logger: _LineLogger, method: str, event: EventDict) -> bytes:
        kept_back = [self._about(each, event) for each in self._budget.ended()]
        return b"".join([*kept_back, self._line(event)])

    def _about(self, kept_back: KeptBack, event: EventDict) -> bytes:
        return self._line(
            {
                "timestamp": event.get("timestamp"),
                "level": "warning",
                "event": "log.kept_back",
                "logger": __name__,
                "about": kept_back.event,
                "count": kept_back.count,
            }
        )

    def _line(self, event: EventDict) -> bytes:
        try:
            _format_exception(event)
            return self._render(self.scrubber.fields(event))
        except Exception as error:
            about = event.get("event")
            fallback = {"event": "log.failed", "level": "error", "error": type(error).__name__}
            if isinstance(about, str):
                fallback["about"] = ascii(about)
            return orjson.dumps(fallback) + b"\n"


def _format_exception(event: EventDict) -> None:
    given = event.pop("exc_info", None)
    if not given:
        return
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        trace: TracebackType | None = error.__traceback__
        event["exception"] = "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _as_json(event: EventDict) -> bytes:
    head = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return orjson.dumps({**head, **event}, option=orjson.OPT_APPEND_NEWLINE)


def _route_libraries(level: int) -> None:
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _ToStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_ToStructlog())
    root.setLevel(level)
    logging.captureWarnings(True)


class _ToStructlog(logging.Handler):
    """Turns a library's record into an event of ours, the same one at most every ten seconds.

    aiokafka writes a hundred lines a second while no broker answers; an operator needs one, and
    the disk its room.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._messages: dict[tuple[str, str], _RepeatedMessage] = {}

    def emit(self, record: logging.LogRecord) -> None:
        kept_back = self._kept_back(record)
        if kept_back is None:
            return
        try:
            message = record.getMessage()
        except Exception:
            # A library's own mistake in its arguments.
            message = str(record.msg)
        structlog.get_logger(record.name).log(
            _known_level(record.levelno),
            "library.message",
            message=message,
            **({"repeats_kept_back": kept_back} if kept_back else {}),
            **({"exc_info": record.exc_info} if record.exc_info else {}),
        )

    def _kept_back(self, record: logging.LogRecord) -> int | None:
        """How many of its kind were kept back since the last one; None to keep back this one."""
        now = self._clock()
        key = (record.name, str(record.msg))
        told = self._messages.get(key)
        if told is not None and now - told.at < _SAME_AGAIN_SECONDS:
            told.kept_back += 1
            return None
        if len(self._messages) >= _KINDS_REMEMBERED:
            self._messages.clear()
        self._messages[key] = _RepeatedMessage(now)
        return told.kept_back if told else 0


@dataclass(slots=True)
class _RepeatedMessage:
    """When a library's message was last told, and how often it came since."""

    at: float
    kept_back: int = 0


def _known_level(number: int) -> int:
    """The standard level at or below a library's own one, which structlog would refuse."""
    return min(max(number // 10 * 10, logging.DEBUG), logging.CRITICAL)


def mask_also(secret: str) -> None:
    """Have the log mask one more secret, where it is set up: one that came while we ran."""
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, _Finish):
            processor.scrubber.learn(secret)


def masked(text: str) -> str:
    """A text for people beside the log, without what the log masks; where it is set up."""
    for processor in structlog.get_config()["processors"]:
        if isinstance(processor, _Finish):
            return processor.scrubber.without_secrets(text)
    return text


def debugging() -> bool:
    """Whether logging is set up and shows events of level debug."""
    return bool(structlog.is_configured() and structlog.get_logger().is_enabled_for(logging.DEBUG))
