"""The process that decodes one heavy event: `consumer.pipeline.heavy_events` begins it.

In come the limits with what the record's headers say of its value, and the value. Out go pieces,
each behind its size: the document without its chunks, or what is wrong; the chunks, some at a time;
an empty piece. It lives in a moment: no garbage is collected, which would double the time.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from consumer.contract.envelope import Wrapping
from consumer.model.document import Chunk, ProcessedDocument
from consumer.pipeline.decode import DecodeLimits, Malformed, decode

SIZE_BYTES = 4

_PIECE_CHUNKS = 500
_PIECE_CHARACTERS = 256 * 1024
_NICE = 5


def main() -> None:
    """Answer what stands on the standard input, and end."""
    gc.disable()
    _step_back()
    answer(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    os._exit(0)  # to take everything down in order would take as long again


def answer(question: BinaryIO, out: BinaryIO) -> None:
    """Decode the value and write what came of it (module docstring)."""
    asked = io.BytesIO(question.read())
    asked_by: tuple[DecodeLimits, Wrapping] = pickle.load(asked)  # noqa: S301 (the service asks)
    limits, wrapping = asked_by
    value = asked.read()
    del asked
    try:
        document = decode(value, limits, wrapping)
    except Malformed as malformed:
        _write(out, (None, (malformed.reason, malformed.problems, malformed.readable)))
    else:
        _write(out, (replace(document, chunks=()), None))
        for piece in _pieces(document):
            _write(out, piece)
    _write(out, [])


def _pieces(document: ProcessedDocument) -> Iterator[list[Chunk]]:
    piece: list[Chunk] = []
    characters = 0
    for chunk in document.chunks:
        piece.append(chunk)
        characters += len(chunk.content)
        if len(piece) == _PIECE_CHUNKS or characters > _PIECE_CHARACTERS:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece


def _write(out: BinaryIO, piece: object) -> None:
    content = pickle.dumps(piece, pickle.HIGHEST_PROTOCOL)
    out.write(len(content).to_bytes(SIZE_BYTES) + content)


def _step_back() -> None:
    """Let the service go first, and end before it where memory runs out."""
    with suppress(OSError):
        os.nice(_NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
