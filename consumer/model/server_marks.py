"""What servers say of themselves and of each other: slugs of workspaces that hold nothing. Pure.

Only so does an instance notice that a server is not the one that it takes it for, and that another
instance lists servers that it does not: what lives there would be made a second time elsewhere.

- A server keeps one mark of what it is: a name, and a token that no other server has.
- It keeps a mark for each other server that any instance listed beside it.
- It keeps a mark for each name that was given up by a command; that name is used no more.
- It keeps a mark for a workspace while it is being moved, and while two servers have it.

What servers are is only ever marked, never changed: two instances that write at once lose nothing,
and whatever ends in the middle goes on. What a server is stands there before any other server knows
it. So one that others know, and that has no mark of its own, is another server, or has lost what it
had.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from consumer.model.names import ServerName, Slug

NAME = r"(?!.{17})[a-z0-9]+(?:-[a-z0-9]+)*"
"""Names of servers; short, because vector databases cut long slugs."""

MOST = 8
"""Servers in one list."""

TOKEN_LENGTH = 4
"""Characters (a-z0-9) of a token."""

_PREFIX = "anythingllm-server-"
_GROUP = r"[0-9a-f]{6}"
_SLUG = re.compile(
    rf"{_PREFIX}(?P<kind>is|knows|without|moves|split)-(?P<name>[a-z0-9-]+)-(?P<group>{_GROUP})"
)


class MarkKind(StrEnum):
    """What a mark says.

    ``is``: what the server is. ``knows``: of another one. ``without``: of a name that was given up.
    ``moves``: of a workspace whose move has begun and not ended. ``split``: of one that two servers
    had when they were asked last.
    """

    IS = "is"
    KNOWS = "knows"
    WITHOUT = "without"
    MOVES = "moves"
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark.

    Args:
        name: of a server; of ``moves`` and ``split``, what stands for a slug.
        token: of ``is`` and ``knows``: what no other server has.
    """

    kind: MarkKind
    name: str
    token: str = ""

    def slug(self, group: str) -> Slug:
        """The slug of the workspace that is the mark for a consumer group."""
        parts = [self.kind.value, self.name, *([self.token] if self.token else []), _hashed(group)]
        return Slug(_PREFIX + "-".join(parts))

    def as_known(self) -> Mark:
        """How others know the server whose own mark it is."""
        return Mark(MarkKind.KNOWS, self.name, self.token)


def move_mark(slug: Slug) -> Mark:
    """The mark that a workspace is being moved."""
    return Mark(MarkKind.MOVES, _standing_for(slug))


def split_mark(slug: Slug) -> Mark:
    """The mark that two servers have documents of ours in a workspace."""
    return Mark(MarkKind.SPLIT, _standing_for(slug))


def is_mark_slug(slug: Slug) -> bool:
    """Whether a workspace is a mark, of whatever group; nothing is stored there."""
    return _SLUG.fullmatch(slug) is not None


def read_mark(slug: Slug, group: str) -> Mark | None:
    """The mark of a consumer group that a workspace is; None where it is none."""
    match = _SLUG.fullmatch(slug)
    if match is None or match["group"] != _hashed(group):
        return None
    kind, name, token = MarkKind(match["kind"]), match["name"], ""
    if kind in (MarkKind.IS, MarkKind.KNOWS):
        name, _, token = name.rpartition("-")
    return Mark(kind, name, token) if name else None


@dataclass(frozen=True, slots=True)
class ServerSurvey:
    """What a server has.

    Args:
        slugs: of its workspaces, without marks.
        marks: of our group, those made first come first.
    """

    slugs: frozenset[Slug]
    marks: tuple[Mark, ...] = ()

    def of(self, kind: MarkKind) -> tuple[Mark, ...]:
        """Its marks of one kind."""
        return tuple(each for each in self.marks if each.kind is kind)


@dataclass(frozen=True, slots=True)
class ServerViews:
    """What all servers of our list have.

    Args:
        surveys: by the names in our list; None: it does not answer.
        group: the consumer group whose marks they are.
    """

    surveys: Mapping[ServerName, ServerSurvey | None]
    group: str

    @property
    def are_whole(self) -> bool:
        """Whether all servers of our list answer."""
        return None not in self.surveys.values()

    @property
    def given_up(self) -> frozenset[str]:
        """Names that are used no more."""
        return frozenset(each.name for each in self._all(MarkKind.WITHOUT))

    @property
    def missing(self) -> Mapping[ServerName, Slug]:
        """Servers that somebody listed, and that are neither in our list nor given up.

        By their names; with each the workspace that says so.
        """
        own = [each for name in self.surveys if (each := self.own(name)) is not None]
        known = sorted(self._all(MarkKind.KNOWS), key=lambda each: (each.name, each.token))
        gone = self.surveys.keys() | self.given_up
        return {
            ServerName(each.name): each.slug(self.group)
            for each in (*known, *own)
            if each.name not in gone
        }

    @property
    def unproven(self) -> dict[ServerName, str]:
        """Servers that answer, and are not known to be those of our list; with why."""
        found = {name: self._why_unproven(name) for name in self.surveys}
        return {name: why for name, why in found.items() if why is not None}

    @property
    def is_begun(self) -> bool:
        """Whether any of them knows of another one: whoever begins with one of them sees that.

        One that was given up is none: who has the other one alone is right to use it.
        """
        return any(each.name not in self.given_up for each in self._all(MarkKind.KNOWS))

    @property
    def moving(self) -> frozenset[Slug]:
        """The marks of all workspaces whose move has begun and not ended."""
        return frozenset(each.slug(self.group) for each in self._all(MarkKind.MOVES))

    def moves(self, slug: Slug) -> Slug | None:
        """The mark that the move of a workspace has begun, where it has not ended."""
        mark = move_mark(slug).slug(self.group)
        return mark if mark in self.moving else None

    def split(self, slug: Slug) -> Slug | None:
        """The mark that two servers had a workspace when they were asked last."""
        return split_mark(slug).slug(self.group) if self.split_on(slug) else None

    def split_on(self, slug: Slug) -> frozenset[ServerName]:
        """The servers that keep the mark that two had a workspace when they were asked last."""
        mark, surveys = split_mark(slug), self.surveys.items()
        return frozenset(name for name, each in surveys if each and mark in each.marks)

    def own(self, name: ServerName) -> Mark | None:
        """What a server says it is: by the first mark, whoever made another one."""
        survey = self.surveys[name]
        own = survey.of(MarkKind.IS) if survey is not None else ()
        return next((each for each in own if each.name not in self.given_up), None)

    def lost(self, name: ServerName) -> Mark | None:
        """The mark that a server lacks by which the others know it; None where that is unclear."""
        if self.surveys[name] is None or self.own(name) is not None or name in self.given_up:
            return None
        known = [each for each in self._all(MarkKind.KNOWS) if each.name == name]
        return Mark(MarkKind.IS, name, known[0].token) if len(known) == 1 else None

    def is_new(self, name: ServerName) -> bool:
        """Whether a server answers, and was in no list yet."""
        is_unmarked = self.surveys[name] is not None and self.own(name) is None
        return is_unmarked and name not in self.given_up and not self._is_known(name)

    def strangers_to(self, name: ServerName) -> tuple[ServerName, ...]:
        """Other servers of our list that do not know this one.

        An instance that lists them only would not miss it, and make what it has a second time.
        """
        own = self.own(name)
        return tuple(
            other
            for other, survey in self.surveys.items()
            if other != name
            and (own is None or survey is None or own.as_known() not in survey.marks)
        )

    def to_make(
        self, token: str, *, but: Collection[ServerName] = ()
    ) -> dict[ServerName, tuple[Mark, ...]]:
        """The marks that are to be made next, on each server; nothing while not all answer.

        Own marks come first, and one at a time: two names of one server are seen by that.

        Args:
            token: for the next own mark; not used before.
            but: servers that refused.
        """
        if not self.are_whole:
            return {}
        for name in self.surveys:
            if self.is_new(name) and name not in but:
                return {name: (Mark(MarkKind.IS, name, token),)}
        proven = [name for name in self.surveys if name not in self.unproven]
        own = {name: self.own(name) for name in proven}
        known = {each.as_known() for each in own.values() if each is not None}
        known.update(each for each in self._all(MarkKind.KNOWS) if each.name not in self.given_up)
        wanted = {*known, *self._all(MarkKind.WITHOUT)}
        lacking = {name: self._lacking(name, own[name], wanted) for name in proven}
        return {name: new for name, new in lacking.items() if new and name not in but}

    def _lacking(
        self, name: ServerName, own: Mark | None, wanted: Collection[Mark]
    ) -> tuple[Mark, ...]:
        survey = self.surveys[name]
        has = set(survey.marks) if survey is not None else set()
        if own is not None:
            has.add(own.as_known())
        return tuple(sorted(set(wanted) - has, key=lambda each: (each.kind, each.name, each.token)))

    def _all(self, kind: MarkKind) -> frozenset[Mark]:
        surveys = (each for each in self.surveys.values() if each is not None)
        return frozenset(mark for each in surveys for mark in each.of(kind))

    def _is_known(self, name: ServerName) -> bool:
        return any(each.name == name for each in self._all(MarkKind.KNOWS))

    def _why_unproven(self, name: ServerName) -> str | None:
        if self.surveys[name] is None:
            return None
        own = self.own(name)
        if name in self.given_up:
            mark = Mark(MarkKind.WITHOUT, name).slug(self.group)
            return (
                f"the name {name} was given up (`workspaces forget`; workspace {mark} says so):"
                " give the server another"
            )
        if own is None and self._is_known(name):
            return self._lacks_its_mark(name)
        if own is None:
            return f"server {name} is new, and is taken in once all servers answer"
        if own.name != name:
            return self._is_another(name, own)
        if any(each.name == name and each != own.as_known() for each in self._all(MarkKind.KNOWS)):
            return (
                f"there are two servers called {name}: another instance has another address for it"
                " in ANYTHINGLLM_ENDPOINTS. Give all instances the same list; if they have it,"
                f" leave it out, run `workspaces forget {name}`, and list it with a new name"
            )
        return None

    def _lacks_its_mark(self, name: ServerName) -> str:
        lost = self.lost(name)
        which = f", an empty workspace {lost.slug(self.group)}" if lost is not None else ""
        again = (
            f" If only this workspace was removed, `workspaces mark {name} --yes` makes it again."
            if lost is not None
            else ""
        )
        return (
            f"server {name} lacks the mark of what it is{which}, and the others know it: another"
            " server answers there, or it has lost what it had. Correct ANYTHINGLLM_ENDPOINTS,"
            f" or bring its data back.{again} If its data are lost for good, leave it out, run"
            f" `workspaces forget {name}`, and list it with a new name"
        )

    def _is_another(self, name: ServerName, own: Mark) -> str:
        what = (
            f"what is listed as server {name} is server {own.name} by its own mark"
            f" ({own.slug(self.group)}): "
        )
        if own.name in self.surveys:
            return f"{what}correct ANYTHINGLLM_ENDPOINTS: each server once, by its own name"
        return (
            f"{what}call it {own.name} in ANYTHINGLLM_ENDPOINTS, or give that name up with"
            f" `workspaces forget {own.name}` while no instance runs"
        )


def _standing_for(slug: Slug) -> str:
    return sha256(slug.encode()).hexdigest()[:16]


def _hashed(group: str) -> str:
    return sha256(group.encode()).hexdigest()[:6]
