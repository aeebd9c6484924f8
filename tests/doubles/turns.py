"""How long a loop is held: the longest of its turns, in seconds of processor time.

Processor time of the loop's own thread, so that a busy machine makes no turn longer. Nothing is
collected meanwhile: how long that takes goes by all that the process of the tests holds.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(slots=True)
class Turns:
    """What was seen of them.

    Args:
        count: turns of callbacks and tasks.
        longest: seconds of the longest one.
        of: whose that was.
    """

    count: int = 0
    longest: float = 0.0
    of: str = ""


@contextmanager
def watched(ours: str = "") -> Iterator[Turns]:
    """Watch all loops of this thread meanwhile.

    Args:
        ours: turns count only of tasks whose coroutine's file has this in its path; all by default.
    """
    turns = Turns()
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        callback = handle._callback  # type: ignore[attr-defined]
        task = getattr(callback, "__self__", None)
        begun = time.thread_time()
        run(handle)
        took = time.thread_time() - begun
        name = _name(task)
        if ours in name:
            turns.count += 1
            if took > turns.longest:
                turns.longest, turns.of = took, name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", measured)
        gc.disable()
        try:
            yield turns
        finally:
            gc.enable()


def _name(task: object) -> str:
    if not isinstance(task, asyncio.Task):
        return ""
    code = getattr(task.get_coro(), "cr_code", None)
    return "" if code is None else f"{code.co_filename} {code.co_qualname}"
