"""What the simulated server did, in order: for tests in this process and checkers in another.

Every entry has ``seq``, ``at`` (epoch seconds) and ``action``; the rest depends on the action:

    document.stored      location, doc_source, sha256 (of the text), workspaces
    document.embedded    slug, location, vectors, cached (vectors came from the cache)
    document.unembedded  slug, location
    document.removed     location
    embedding.failed     slug, location, reason
    vectors.wiped        slug, locations (the creation race)
    vectors.lost         slug, location, vectors, cached (refused, and told as success)
    workspace.created, workspace.deleted    slug
    probe.ping, probe.auth, probe.collector, probe.embedder
    fault.fired          kind, method, path
    request.held         path (waits until its rule is released)
    request.answered     method, path, status

An entry is in memory, and written to the file where one is given, before the request is answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from consumer.sandbox.simulator.jsontext import dumps

Entry = dict[str, Any]
KEPT = 100_000
"""Entries kept in memory; the file has all."""


class Journal:
    """The record of what took effect.

    Args:
        clock: epoch seconds.
        path: a file to append to, one JSON object a line, or None.
    """

    def __init__(self, clock: Callable[[], float], path: Path | None = None) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._file: BinaryIO | None = path.open("ab", buffering=0) if path else None
        self._seq = 0
        self._changed = asyncio.Event()

    def record(self, action: str, **fields: Any) -> None:
        """Note an action that took effect just now."""
        self._seq += 1
        entry = {"seq": self._seq, "at": self._clock(), "action": action, **fields}
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(dumps(entry, default=str) + b"\n")
        self._changed.set()

    def of(self, action: str, **fields: Any) -> list[Entry]:
        """All entries of an action whose fields have these values."""
        return [entry for entry in self._entries if _fits(entry, action, fields)]

    def count(self, action: str, **fields: Any) -> int:
        """How many entries of an action have these values."""
        return len(self.of(action, **fields))

    def since(self, seq: int) -> list[Entry]:
        """Entries after a sequence number; 0 gives all that are kept."""
        return [entry for entry in self._entries if entry["seq"] > seq]

    async def wait_for(
        self, action: str, count: int = 1, seconds: float = 10.0, **fields: Any
    ) -> list[Entry]:
        """Wait until that many entries are there: what tests use instead of sleeping.

        Raises:
            TimeoutError: they did not come in time.
        """
        async with asyncio.timeout(seconds):
            while len(found := self.of(action, **fields)) < count:
                self._changed.clear()
                await self._changed.wait()
        return found

    def clear(self) -> None:
        """Forget the entries in memory; sequence numbers go on and the file stays as it is."""
        self._entries.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


def _fits(entry: Entry, action: str, fields: dict[str, Any]) -> bool:
    if entry["action"] != action:
        return False
    return all(entry.get(name) == value for name, value in fields.items())
