"""Census: what each of several AnythingLLMs has, and whether it is the one that it is listed as.

What is always true:
- All are asked side by side. No server delays what is known of the others: one that has no answer
  within a bound is silent.
- Marks are made before anything else, and everything is asked anew after that. So of two instances
  whose lists differ, at least one sees in time that the other is there (`model.server_marks`).
- The first mark by which one server tells of another is made only while nobody may be at work who
  has listed a single one: what he remembers of it was asked before there were marks.
"""

from __future__ import annotations

import asyncio
import random
import string
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

import structlog

from consumer.model.fault import Failure, Fault
from consumer.model.names import ServerName, Slug
from consumer.model.placement import why_missing
from consumer.model.server_marks import TOKEN_LENGTH, Mark, ServerSurvey, ServerViews
from consumer.pipeline.ports import Server

log = structlog.get_logger(__name__)

_SHORT_SECONDS = 1.0  # of one that had none within that time, until a while has passed
_MORE_TIME = "a third of ANYTHINGLLM_TIMEOUT_SECONDS is waited"
_MOST_STEPS = 24  # of making marks in a row: two for each server, and some for other instances

MayBegin = Callable[[], Awaitable[str | None]]
"""Says why the first marks of several servers may not be made now; None: they may."""


async def begins() -> None:
    """Where nobody else can be at work."""


class Census:
    """See the module's docstring.

    Args:
        servers: all of the list.
        group: the consumer group whose marks count.
        patience: seconds for the answer of a server.
        every: seconds until a server that had no answer in time is waited for as long again.
        may_begin: says why the first marks may not be made now, or None.
        clock: monotonic seconds.
        rng: makes tokens.
        note: hears of servers that do not answer well.

    Attributes:
        views: what they had when they were asked last.
        stints: how often each was found not to be proven: what it answered before is worth nothing.
    """

    def __init__(
        self,
        servers: Mapping[ServerName, Server],
        *,
        group: str,
        patience: float,
        every: float,
        may_begin: MayBegin,
        clock: Callable[[], float],
        rng: random.Random,
        note: Callable[[ServerName, Failure], None],
    ) -> None:
        self._servers = servers
        self._group = group
        self._patience = patience
        self._every = every
        self._may_begin = may_begin
        self._clock = clock
        self._rng = rng
        self._note = note
        self._impatient_until: dict[ServerName, float] = {}
        self._refusals: dict[ServerName, str] = {}
        self.views = ServerViews(dict.fromkeys(servers), group)
        self.stints: Counter[ServerName] = Counter()
        self.unproven: Mapping[ServerName, str] = {}
        self.missing: Mapping[ServerName, Slug] = {}

    async def ask(self) -> bool:
        """Ask all servers, and have them keep what they lack; whether anything changed."""
        before, refusals = self.views, self._refusals
        await self._survey()
        self._refusals = {}
        for _ in range(_MOST_STEPS):
            token = "".join(
                self._rng.choices(string.ascii_lowercase + string.digits, k=TOKEN_LENGTH)
            )
            to_make = self.views.to_make(token, but=self._refusals)
            if not to_make or await self._may_not_begin(to_make):
                break
            await self._side_by_side(self._make(name, marks) for name, marks in to_make.items())
            await self._survey()
        return before != self.views or refusals != self._refusals

    @property
    def trouble(self) -> str | None:
        """What is wrong with the list of servers as a whole."""
        refused = [f"server {name} keeps no mark: {why}" for name, why in self._refusals.items()]
        missing = [why_missing(self.missing)] if self.missing else []
        return "; ".join([*self.unproven.values(), *refused, *missing]) or None

    def has(self, name: ServerName, slug: Slug) -> bool | None:
        """Whether a server has a workspace; None: it does not answer, or is not proven."""
        survey = self.views.surveys[name]
        if survey is None or name in self.unproven:
            return None
        return slug in survey.slugs

    @property
    def is_complete(self) -> bool:
        """Whether no server can be there that was not asked."""
        return self.views.are_whole and not self.unproven and not self.missing

    def why_not_made_on(self, name: ServerName) -> str | None:
        """Why no workspace may be made on a server now."""
        strangers = self.views.strangers_to(name)
        if not strangers:
            return None
        whys = "; ".join(f"{each}: {self._refusals.get(each, 'not yet')}" for each in strangers)
        return f"other servers do not keep a mark of server {name}, where it would be made ({whys})"

    async def _may_not_begin(self, names: Iterable[ServerName]) -> bool:
        if len(self._servers) == 1 or self.views.is_begun:
            return False
        why = await self._may_begin()
        if why is None:
            return False
        self._refusals = dict.fromkeys(names, why)
        new = {name: f"{each}: {why}" for name, each in self.unproven.items()}
        self.unproven = new
        return True

    async def _survey(self) -> None:
        surveys: dict[ServerName, ServerSurvey | None] = dict.fromkeys(self._servers)

        async def ask(name: ServerName) -> None:
            surveys[name] = await self._answer(name)

        await self._side_by_side(ask(name) for name in self._servers)
        self.views = ServerViews(surveys, self._group)
        self.unproven = self.views.unproven
        self.missing = self.views.missing
        self.stints.update(self.unproven.keys())

    async def _answer(self, name: ServerName) -> ServerSurvey | None:
        is_impatient = self._clock() < self._impatient_until.get(name, 0.0)
        patience = min(_SHORT_SECONDS, self._patience) if is_impatient else self._patience
        try:
            async with asyncio.timeout(patience):
                return await self._servers[name].survey()
        except Failure as failure:
            self._note(name, failure)
        except TimeoutError:
            if not is_impatient:  # else it may only be slow
                self._impatient_until[name] = self._clock() + self._every
                self._note(name, _late(patience))
        return None

    async def _make(self, name: ServerName, marks: Iterable[Mark]) -> None:
        try:
            async with asyncio.timeout(self._patience):
                for mark in marks:
                    await self._servers[name].make_mark(mark)
        except Failure as failure:
            self._refusals[name] = failure.message
            self._note(name, failure)
        except TimeoutError:
            self._refusals[name] = f"not made within {self._patience:g} s; {_MORE_TIME}"

    @staticmethod
    async def _side_by_side(calls: Iterable[Coroutine[object, object, None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for each in calls:
                tasks.create_task(each)


def _late(seconds: float) -> Failure:
    text = f"no list of its workspaces within {seconds:g} s; {_MORE_TIME}"
    failure = Failure(text, fault=Fault.THEIRS)
    failure.unanswered = True
    return failure
