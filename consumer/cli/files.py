"""Events in files: what ``validate`` and ``publish`` read.

A file holds one event a line (NDJSON), or one JSON value over many lines: an event or a list of
events. ``.ndjson`` and ``.jsonl`` are always read by lines. Any other file, and standard input
(``-``), is read whole where its first line opens a list or an object that it does not close.
Gzip is recognised by its first bytes, whatever the name says. Blank lines are skipped. A file that
begins with a Schema Registry frame (the byte 0) is one event, unless its name says that it is read
by lines: any byte of a frame may be a line break.

An event's bytes are handed on as they are in the file. Files of lines are streamed, so their size
does not matter; a file that has to be read whole may have `MAX_WHOLE_BYTES`.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

# Longer lines are cut here; decoding finds that they are too large for any event.
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_WHOLE_BYTES = 256 * 1024 * 1024

_BY_LINES = (".ndjson", ".jsonl")
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_FRAME = b"\x00"
_SPACE = " \t\r\n"
_BLANK = _SPACE.encode()


class EventLine(NamedTuple):
    """One event of a file.

    ``file`` as it was named, ``line`` and ``column`` from 1 where the event begins (columns count
    characters), ``value`` its bytes.
    """

    file: str
    line: int
    value: bytes
    column: int = 1


class UnreadableError(Exception):
    """A file can't be read; the message names it and says why."""


def read_events(paths: Iterable[str]) -> Iterator[EventLine]:
    """The events of all files, in order.

    Args:
        paths: names of files; ``-`` is standard input.

    Raises:
        UnreadableError: a file is missing, is no file, is damaged, or too large to be read whole.
    """
    for path in paths:
        try:
            with _opened(path) as raw:
                yield from _events(path, _unpacked(raw))
        except (OSError, EOFError, zlib.error) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UnreadableError(f"{path}: can't be read: {why or type(error).__name__}") from None


def _opened(path: str) -> AbstractContextManager[BinaryIO]:
    # Standard input is not ours to close.
    return nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb")


def _unpacked(raw: BinaryIO) -> io.BufferedIOBase:
    begin = raw.read(len(_GZIP))
    joined = io.BufferedReader(_Joined(begin, raw))
    return gzip.GzipFile(fileobj=joined) if begin == _GZIP else joined


class _Joined(io.RawIOBase):
    """A stream whose first bytes have been read already; standard input can't go back."""

    def __init__(self, begin: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._begin = begin
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        data = self._begin[: len(view)] or self._rest.read(len(view))
        self._begin = self._begin[len(data) :]
        view[: len(data)] = data
        return len(data)


def _events(path: str, file: io.BufferedIOBase) -> Iterator[EventLine]:
    lines = _lines(path, file)
    first = next(lines, None)
    if first is None:
        return
    if not _is_by_lines(path) and _opens(first.value):
        yield from _whole(path, first, file)
    else:
        yield first
        yield from lines


def _is_by_lines(path: str) -> bool:
    return path.removesuffix(".gz").endswith(_BY_LINES)


def _opens(line: bytes) -> bool:
    """Whether the first line begins a value that goes on, or a list."""
    return line.startswith((b"[", _FRAME)) or (line.startswith(b"{") and not line.endswith(b"}"))


def _lines(path: str, file: io.BufferedIOBase) -> Iterator[EventLine]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(MAX_LINE_BYTES)):
            pass  # The rest of a line that is too long.
        value = line.removeprefix(_BOM) if number == 1 else line
        if value.startswith(_FRAME):
            yield EventLine(path, number, value.removesuffix(b"\n"))
        elif value.strip(_BLANK):
            begun = value.lstrip(_BLANK)
            column = len(value) - len(begun) + 1
            yield EventLine(path, number, begun.rstrip(_BLANK), column)


def _whole(path: str, first: EventLine, file: io.BufferedIOBase) -> Iterator[EventLine]:
    rest = file.read(MAX_WHOLE_BYTES)
    if file.read(1):
        limit = MAX_WHOLE_BYTES // (1024 * 1024)
        raise UnreadableError(f"{path}: is larger than {limit} MiB; use one event a line (NDJSON)")
    value = first.value + b"\n" + rest
    if value.startswith(_FRAME):
        yield first._replace(value=value)
        return
    value = value.strip(_BLANK)
    if value.startswith(b"["):
        yield from _elements(first._replace(value=value))
    else:
        yield first._replace(value=value)


def _elements(whole: EventLine) -> Iterator[EventLine]:
    """The elements of a list, byte for byte, each with the place where it begins."""
    try:
        text = whole.value.decode()
    except UnicodeDecodeError:
        yield whole
        return
    decoder = json.JSONDecoder()
    at = _skip(text, 1)
    line, counted = whole.line, 0

    def element(end: int | None) -> EventLine:
        nonlocal line, counted
        line, counted = line + text.count("\n", counted, at), at
        before = text.rfind("\n", 0, at)
        column = at - before + (whole.column - 1 if before < 0 else 0)
        return EventLine(whole.file, line, text[at:end].strip(_SPACE).encode(), column)

    while not text.startswith("]", at):
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            # The elements behind it can't be found any more; decoding says what is wrong.
            yield element(None)
            return
        yield element(end)
        at = _skip(text, end)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith("]", at):
            yield element(None)
            return
    at = _skip(text, at + 1)
    if at < len(text):
        yield element(None)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
