"""Work on documents of many chunks, done so that the loop goes on meanwhile.

What a document of 20,000 chunks costs at once is a third of a second; heartbeats would wait for it.
Small documents are worked on at once, as before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 1_000
"""Chunks or rows that are gone through without a turn of the loop: about 20 ms."""


async def beside(work: Callable[[], T], size: int) -> T:
    """Do work beside the loop where there is much of it.

    A thread has Python's lock for 5 ms at a time, so the loop gets its turns between. Only for work
    in Python itself: a parser in C keeps the lock until it is done.

    Args:
        work: what it uses must not change meanwhile.
        size: how many chunks and rows it goes through.
    """
    return work() if size <= AT_ONCE else await asyncio.to_thread(work)


async def in_slices(made: Iterable[T]) -> list[T]:
    """All that an iterator makes, with a turn of the loop after each `AT_ONCE`."""
    left, done = iter(made), list[T]()
    while part := list(islice(left, AT_ONCE)):
        done += part
        if len(part) == AT_ONCE:
            await asyncio.sleep(0)
    return done
