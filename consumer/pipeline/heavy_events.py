"""Heavy events: decoded in a process of their own, so that the loop goes on meanwhile.

While the loop is held no heartbeat goes out, and events that hold it one after the other cost us
our partitions: nothing of them would ever be settled. A thread does not help, because the parser
holds Python's lock for as long as it works.

- A process is begun for each heavy event and ends with it. Beginning it takes about 0.15 s of a
  core. It has about 60 MB, and up to 150 MB beside it while it decodes; all of it is given back.
- The intake waits for it, so there is one at a time, and the order of events is kept.
- When memory runs out the kernel ends that process before ours (`consumer.pipeline.heavy_process`).
  An event whose process is ended `_TRIES` times is refused: it would be for ever.
- It ends when nobody waits for it any more.

What comes back is many pieces, each taken in within a few milliseconds.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from consumer.contract.envelope import NOTHING_SAID, Wrapping
from consumer.contract.processed_document import ContractProblem
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.outcome import FailureReason
from consumer.pipeline.decode import DecodeLimits, Malformed, decode
from consumer.pipeline.heavy_process import SIZE_BYTES

log = structlog.get_logger(__name__)

_TRIES = 3
_PAUSE_SECONDS = 1.0
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from consumer.pipeline.heavy_process import main; main()"
)


class _ProcessDied(Exception):
    """The process was ended before its answer was whole, by the kernel or by somebody."""


class _NoAnswer(Exception):
    """The process has ended by itself without an answer: Python does not work there as it should.

    That is nothing about the event.
    """


class HeavyEvents:
    """See the module's docstring.

    Args:
        limits: what an event may hold.
        program: how the process is begun.
        pause: seconds until a process that died is followed by another; later ten times as long.
    """

    def __init__(
        self,
        limits: DecodeLimits,
        *,
        program: Sequence[str] | None = None,
        pause: float = _PAUSE_SECONDS,
    ) -> None:
        self._limits = limits
        # Isolated: what the environment wraps round us (instrumentation) is not begun there.
        path = _PROGRAM.format(path=sys.path)
        self._program = tuple(program or (sys.executable, "-I", "-c", path))
        self._pause = pause

    async def decode(self, value: bytes, wrapping: Wrapping = NOTHING_SAID) -> ProcessedDocument:
        """As `consumer.pipeline.decode.decode`.

        Raises:
            Malformed: it is no valid event, or can't be decoded with the memory there is.
        """
        for tried in range(1, _TRIES + 1):
            try:
                return await self._in_process(value, wrapping)
            except _ProcessDied as died:
                _log_death(value, died, tried)
                if tried < _TRIES:
                    await asyncio.sleep(self._pause * 10 ** (tried - 1))
            except (_NoAnswer, OSError) as error:
                log.warning(
                    "event.decoded_here",
                    bytes=len(value),
                    error=str(error),
                    consequence="heartbeats wait for the second or two that it takes",
                    what_to_do="let the service begin Python processes: see its limits",
                )
                return decode(value, self._limits, wrapping)
        raise _too_heavy(value)

    async def _in_process(self, value: bytes, wrapping: Wrapping) -> ProcessedDocument:
        """Begin the process, ask it, and leave nothing of it behind.

        Raises:
            OSError: it could not be begun.
            _NoAnswer: it ended by itself.
            _ProcessDied: it was ended.
        """
        process = await asyncio.create_subprocess_exec(
            *self._program,
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for us to handle
        )
        try:
            return await self._asked(process, value, wrapping)
        except Malformed:
            raise
        except BaseException:
            # Only here: to kill one that ends by itself may take its exit code away from asyncio,
            # which then warns of an unknown process.
            with suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            if process.stdout is not None:
                await process.stdout.read()  # some Pythons count it as ended only after that
            await process.wait()

    async def _asked(self, process: Process, value: bytes, wrapping: Wrapping) -> ProcessedDocument:
        question, answer = process.stdin, process.stdout
        if question is None or answer is None:
            raise RuntimeError("a process without pipes")
        try:
            question.write(pickle.dumps((self._limits, wrapping)) + value)
            question.close()
            document, malformed = await _piece(answer)
            chunks: list[Chunk] = []
            while piece := await _piece(answer):
                chunks += piece
        except (EOFError, ConnectionError):
            code = await process.wait()
            if code < 0:
                raise _ProcessDied(f"by signal {-code}") from None
            raise _NoAnswer(f"its process ended with exit code {code}") from None
        if malformed is not None:
            raise Malformed(*malformed)
        decoded: ProcessedDocument = replace(document, chunks=tuple(chunks))
        return decoded


async def _piece(answer: asyncio.StreamReader) -> Any:
    """The next piece of the answer, of a process that is ours."""
    size = int.from_bytes(await answer.readexactly(SIZE_BYTES))
    piece = pickle.load(io.BytesIO(await answer.readexactly(size)))  # noqa: S301 (it is ours)
    await asyncio.sleep(0)  # else pieces that are there already would be taken in at once
    return piece


def _log_death(value: bytes, died: _ProcessDied, tried: int) -> None:
    log.warning(
        "event.process_died",
        bytes=len(value),
        ended=str(died),
        tries=tried,
        consequence=f"after {_TRIES} tries the event is dead-lettered as oversized",
        what_to_do="signal 9: memory is short, give the service more",
    )


def _too_heavy(value: bytes) -> Malformed:
    problem = (
        f"can't be decoded: the process that does it for large events ended {_TRIES} times "
        f"on its {len(value):,} bytes. Memory is short there: give the service more and replay it, "
        "or lower DOCUMENT_MAX_BYTES"
    )
    return Malformed(FailureReason.OVERSIZED, (ContractProblem("", problem),))
