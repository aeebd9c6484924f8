"""Awaited moves: tombstones that are not done while a workspace is moved to another server.

A text that was removed from the old server may be on its way to the new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from consumer.model.names import Slug
from consumer.model.placement import why_moving
from consumer.model.server_marks import ServerViews
from consumer.pipeline.census import Census
from consumer.pipeline.ports import RightToWork
from consumer.pipeline.rounds import Rounds


class AwaitedMoves:
    """See the module's docstring.

    Args:
        census: knows the marks of moves.
        rounds: in which it is asked.
    """

    def __init__(self, census: Census, rounds: Rounds) -> None:
        self._census = census
        self._rounds = rounds
        self._waiting: Counter[Slug | None] = Counter()

    async def all_were_asked(self, slug: Slug | None, right: RightToWork) -> bool:
        """See `Homes.all_were_asked`."""
        self._rounds.demand()
        await self._rounds.a_whole_one(right)
        was_still = True
        with self._wait(slug):
            while (moves := self._of(slug)) or not self._census.is_complete:
                was_still = was_still and not moves
                await self._rounds.a_whole_one(right)
        return was_still

    def _of(self, slug: Slug | None) -> Collection[Slug]:
        """The marks of moves that concern a workspace; None: every workspace."""
        views = self._census.views
        if slug is None:
            return views.moving
        mark = views.moves(slug)
        return [] if mark is None else [mark]

    @contextmanager
    def _wait(self, slug: Slug | None) -> Iterator[None]:
        """A tombstone waits here."""
        self._waiting[slug] += 1
        try:
            yield
        finally:
            self._waiting[slug] -= 1
            self._waiting = +self._waiting

    @property
    def trouble(self) -> str | None:
        """What keeps tombstones waiting."""
        marks = {mark for slug in self._waiting for mark in self._of(slug)}
        if not marks:
            return None
        moving = _slugs_of(self._census.views, marks)
        whys = [f"workspace {slug}: {why_moving(slug, mark)}" for mark, slug in moving]
        return f"{self._waiting.total()} tombstones wait: {'; '.join(whys)}"


def _slugs_of(views: ServerViews, marks: Collection[Slug]) -> list[tuple[Slug, Slug]]:
    """The marks with the workspaces that they are of; ``SLUG`` where no server has that one."""
    surveys = (each for each in views.surveys.values() if each is not None)
    named = {views.moves(slug): slug for survey in surveys for slug in survey.slugs}
    return [(mark, named.get(mark, Slug("SLUG"))) for mark in sorted(marks)]
