"""Commands of ours in this process: `run_line` with what only a process of its own would have.

A command meets nothing of the tester's: its environment is what the test gives it, its output is
caught, its working folder and its temporary files are the test's. What it does to the process
(logging, streams, variables) is taken back when it ends. Nobody looks at it, and it is
80 columns wide; a test that gives `columns` has it write to a terminal of so many.

Signals, terminals, closed pipes and the start of a process are not to be had here; those tests use
`tests.e2e.support.Programs`, whose `run` has the same form.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import io
import json
import logging
import os
import sys
import tempfile
import threading
import time
from asyncio.sslproto import SSLProtocol, SSLProtocolState
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

import structlog

from consumer.cli.main import run_line
from consumer.settings import Settings

if TYPE_CHECKING:  # tests/data/cdefe5a/record.py runs this with packages that have no such module
    from consumer.operations.ports import KafkaAccess

T = TypeVar("T")

CANARY = "CANARY-4f1d9a-never-shown"
PATIENCE = 60.0  # seconds; a loaded machine is slow, a wrong one never gets there

# What a command changes belongs to the whole process: one command at a time.
_PROCESS = threading.Lock()
_CLOSING = (SSLProtocolState.FLUSHING, SSLProtocolState.SHUTDOWN)
_WIDTH = {"COLUMNS": "80"}  # else the terminal of whoever runs the tests would decide


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        return self.out.removesuffix("\n").split("\n") if self.out else []

    @property
    def json(self) -> Any:
        """The only line of its output."""
        (line,) = self.lines
        return json.loads(line)


def clean_environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What a command of ours sees: nothing but what a test gives it."""
    ours = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**ours, "TMPDIR": str(temporary), **settings}


@dataclass(slots=True)
class Commands:
    """Runs commands in this process and remembers what they said, so that no secret leaks.

    Args:
        folder: where they run.
        kafka: from the settings to Kafka; None is the real one.
    """

    folder: Path
    kafka: Callable[[Settings], KafkaAccess] | None = None
    said: list[str] = field(default_factory=list)

    async def run(
        self,
        *words: str,
        settings: Mapping[str, str],
        stdin: bytes = b"",
        seconds: float = PATIENCE,
        columns: int | None = None,
        read: int | None = None,
    ) -> Ended:
        """Run a command to its end, on a thread and a loop of its own; the test's loop goes on.

        Args:
            words: the command line.
            settings: all that its environment has.
            stdin: what it may read.
            seconds: until it counts as hung.
            columns: of the terminal that its output goes to; None for no terminal.
            read: bytes after which the reader of its output goes away, as `head` does.
        """
        out = io.BytesIO() if read is None else _Leaving(read)
        ended = await _on_a_thread(lambda: self._run(words, settings, stdin, out, columns), seconds)
        self.said += [ended.out, ended.err]
        return ended

    def run_here(
        self,
        *words: str,
        settings: Mapping[str, str],
        stdin: bytes = b"",
        columns: int | None = None,
    ) -> Ended:
        """`run` for tests without a loop."""
        ended = self._run(words, settings, stdin, io.BytesIO(), columns)
        self.said += [ended.out, ended.err]
        return ended

    def close(self) -> None:
        """See that nobody has told the API key."""
        assert not any(CANARY in text for text in self.said), "the API key was shown"

    def _run(
        self,
        words: tuple[str, ...],
        settings: Mapping[str, str],
        stdin: bytes,
        out: io.BytesIO,
        columns: int | None,
    ) -> Ended:
        width = _WIDTH if columns is None else {"COLUMNS": f"{columns}"}
        environment = clean_environment(self.folder, {**width, **settings})
        err = io.BytesIO()
        voices = _Voices(out, err, is_terminal=columns is not None)
        with _PROCESS, _process_of_its_own(environment, self.folder, stdin), _caught():
            began = time.monotonic()
            # An empty context: no variable of the test's reaches the command.
            code = contextvars.Context().run(_speaking, voices, words, self.kafka)
            taken = time.monotonic() - began
        return Ended(code, out.getvalue().decode(), err.getvalue().decode(), taken)


@contextmanager
def logging_kept() -> Iterator[None]:
    """Logging is the process's own state: it is given back as it was."""
    root = logging.getLogger()
    kafka = logging.getLogger("aiokafka")
    handlers, level = list(root.handlers), root.level
    of_kafka, told = list(kafka.handlers), kafka.propagate
    configured, configuration = structlog.is_configured(), structlog.get_config()
    captured = logging._warnings_showwarning is not None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        kafka.handlers[:] = of_kafka
        kafka.propagate = told
        logging.captureWarnings(captured)
        structlog.contextvars.clear_contextvars()
        structlog.reset_defaults()
        if configured:
            structlog.configure(**configuration)


async def _on_a_thread(work: Callable[[], T], seconds: float) -> T:
    """What the work returns. Its thread is no reason to stay: a command that hangs is left behind.

    Raises:
        TimeoutError: it takes longer.
    """
    done: Future[T] = Future()

    def carried() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=carried, name="command", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(done)


@contextmanager
def _process_of_its_own(
    environment: Mapping[str, str], folder: Path, stdin: bytes
) -> Iterator[None]:
    """Variables, folder, temporary files, standard input and logging of a new process."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, environment, clear=True))
        stack.enter_context(chdir(folder))
        stack.enter_context(patch.object(tempfile, "tempdir", None))
        stack.enter_context(patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))))
        stack.enter_context(logging_kept())
        structlog.reset_defaults()
        yield


# -- output ----------------------------------------------------------------------------------------


class _Leaving(io.BytesIO):
    """A pipe whose reader goes away after so many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._most:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return super().write(data)


@dataclass(frozen=True, slots=True)
class _Voices:
    """Where a command's output goes.

    Args:
        stdout: its standard output.
        stderr: its standard error.
        is_terminal: whether the command may take standard output for a terminal.
    """

    stdout: io.BytesIO
    stderr: io.BytesIO
    is_terminal: bool


_voices: contextvars.ContextVar[_Voices] = contextvars.ContextVar("voices")


def _speaking(
    voices: _Voices, words: tuple[str, ...], kafka: Callable[[Settings], KafkaAccess] | None
) -> int:
    _voices.set(voices)
    # What the command leaves behind must complain now, as it would at a process's end. Frozen:
    # all that was there before it need not be looked at.
    gc.freeze()
    try:
        code = run_line(words) if kafka is None else run_line(words, kafka=kafka)
        _cut_what_is_closing()
        gc.collect()
    finally:
        gc.unfreeze()
    return code


def _cut_what_is_closing() -> None:
    """End TLS connections in the middle of their closing, as the end of a process does.

    aiokafka 0.14 closes them and waits for no answer. On a loop that has ended they would stay.
    """
    found: list[Any] = [each for each in gc.get_objects() if isinstance(each, SSLProtocol)]
    for each in found:
        transport = each._transport
        is_closing = each._loop.is_closed() and each._state in _CLOSING
        if is_closing and transport is not None and transport._sock is not None:
            transport._sock.close()
            transport._sock = None


@contextmanager
def _caught() -> Iterator[None]:
    """Standard output and standard error of the command alone.

    The rest of the process goes on beside it: a simulated server's words are not the command's.
    """
    with ExitStack() as stack:
        for name, errors in (("stdout", "strict"), ("stderr", "backslashreplace")):
            stream = _Stream(name, getattr(sys, name))
            text = io.TextIOWrapper(stream, "utf-8", errors, newline="\n", write_through=True)
            stack.enter_context(patch.object(sys, name, text))
        yield


class _Stream(io.BufferedIOBase):
    """Takes what a command writes for itself and hands on what others write."""

    def __init__(self, name: str, outside: io.TextIOBase) -> None:
        super().__init__()
        self.name = name
        self._outside = outside

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        voices = _voices.get(None)
        return voices is not None and voices.is_terminal and self.name == "stdout"

    def write(self, data: Any, /) -> int:
        voices = _voices.get(None)
        if voices is None:
            self._outside.write(bytes(data).decode(errors="backslashreplace"))
        else:
            getattr(voices, self.name).write(data)
        return len(data)
