"""Seekers: documents that wait to hear where their workspace lives; a thousand cost as one does."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Set

from consumer.model.names import Slug
from consumer.pipeline.ports import RightToWork


class Seekers:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._waiting: Counter[Slug] = Counter()
        self._makers: Counter[Slug] = Counter()
        self._told: defaultdict[Slug, asyncio.Event] = defaultdict(asyncio.Event)

    @property
    def wanted(self) -> Set[Slug]:
        """The workspaces that any of them waits for."""
        return self._waiting.keys()

    def have_it_made(self, slug: Slug) -> bool:
        """Whether a workspace is made for one of them where no server has it."""
        return self._makers[slug] > 0

    async def told(self, slug: Slug, right: RightToWork, *, makes: bool) -> None:
        """Return when it was found out once more where a workspace lives.

        Args:
            slug: the workspace.
            right: how to wait; the document stands aside.
            makes: whether the workspace is made for it.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        told = self._told[slug]
        self._waiting[slug] += 1
        self._makers[slug] += makes
        try:
            async with right.aside():
                await told.wait()
        finally:
            self._waiting[slug] -= 1
            self._makers[slug] -= makes
            self._waiting, self._makers = +self._waiting, +self._makers
            if slug not in self._waiting:
                self._told.pop(slug, None)

    def tell(self, slug: Slug) -> None:
        """It was found out; who goes by it and finds nothing there waits anew."""
        if (told := self._told.pop(slug, None)) is not None:
            told.set()
