"""What carrying out the events one by one would leave: the rules of schemas/README.md, and no more.

Nothing of the service is used here. A state is what every workspace holds of one document, and what
is remembered beyond that. Where the documents allow more than one outcome, all of them are kept:

- An event that a later one makes pointless may be `superseded` without ever being carried out.
- What left no trace in AnythingLLM (a version that uploaded nothing, a tombstone) is remembered by
  a process only as long as it has the partition. Where partitions changed hands (`forgets`), an
  older event may be carried out all the same.
- A replayed event has the place of its original; when it is carried out among the others is open,
  and of an event and its replays one is carried out at least.
- Where people changed a workspace, what it told of versions is gone, too.
- A chunk that was refused is not stored, and then nothing older is removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Literal

Version = tuple[int, int]
"""Instant in milliseconds, offset: all events of one identity are in one partition."""
Place = tuple[str, int, int]
"""Topic, partition, offset of a record."""
Unit = tuple[str, str, Version]
"""Workspace, text, version."""


@dataclass(frozen=True)
class Told:
    """What one event says.

    Args:
        place: of its record.
        identity: whose state it tells.
        kind: a document, a tombstone, or nothing that can be carried out.
        slug: the workspace; None: every one.
        texts: of its chunks.
        version: see `Version`; the offset is the original's.
        is_replay: whether it came a second time, on the replay topic.
    """

    place: Place
    identity: str
    kind: Literal["document", "tombstone", "invalid"]
    slug: str | None = None
    texts: tuple[str, ...] = ()
    version: Version = (0, 0)
    is_replay: bool = False


@dataclass(frozen=True)
class State:
    """What is stored of one identity, and what is remembered of it beyond that."""

    units: tuple[Unit, ...] = ()
    known: frozenset[tuple[str, Version]] = frozenset()
    ended: frozenset[tuple[str | None, int]] = frozenset()
    done: frozenset[tuple[str, Version]] = frozenset()

    def texts(self, slug: str) -> Counter[str]:
        """What a workspace holds."""
        return Counter(text for where, text, _ in self.units if where == slug)


@dataclass
class Allowed:
    """What may come of the events of one identity."""

    states: set[State] = field(default_factory=set)
    statuses: dict[Place, set[str]] = field(default_factory=dict)

    def may_say(self, told: Told, status: str) -> None:
        """Note a status."""
        self.statuses.setdefault(told.place, set()).add(status)


@dataclass(frozen=True)
class _Rules:
    """What `allowed` was asked, and where it notes answers."""

    found: Allowed
    forgets: bool
    refused: Mapping[Place, Iterable[Counter[str]]]
    by_hand: frozenset[str]
    begun: frozenset[tuple[str | None, Version]]
    """Documents that may have left something: what overtook them was refused."""


def allowed(
    events: Sequence[Told],
    *,
    forgets: bool = False,
    refused: Mapping[Place, Iterable[Counter[str]]] | None = None,
    by_hand: frozenset[str] = frozenset(),
) -> Allowed:
    """What may come of one identity's events.

    Args:
        events: in the order of their partitions, live ones and replays.
        forgets: whether the partition changed hands.
        refused: texts that were refused of an event, for each time that some were.
        by_hand: workspaces that people changed.
    """
    found = Allowed()
    refused = refused or {}
    begun = frozenset(
        (told.slug, told.version)
        for told in events
        for later in events
        if later.place != told.place
        and told.kind == "document"
        and list(refused.get(later.place, ()))
        and _makes_pointless(later, told)
    )
    rules = _Rules(found, forgets, refused, by_hand, begun)
    live = [told for told in events if not told.is_replay]
    replays = [told for told in events if told.is_replay]
    # By how many of each topic are done: the two are read side by side.
    reached = {(0, 0): {State()}}
    for done, again in product(range(len(live) + 1), range(len(replays) + 1)):
        for told, ahead in (
            *((told, (done + 1, again)) for told in live[done : done + 1]),
            *((told, (done, again + 1)) for told in replays[again : again + 1]),
        ):
            later = (*live[ahead[0] :], *replays[ahead[1] :])
            after = reached.setdefault(ahead, set())
            for state in reached[done, again]:
                after.update(_step(told, later, state, rules))
    found.states = reached[len(live), len(replays)]
    return found


def _step(told: Told, later: Sequence[Told], state: State, rules: _Rules) -> Iterator[State]:
    found = rules.found
    if told.kind == "invalid":
        found.may_say(told, "invalid")
        yield state
        return
    says_what_was_done = (told.slug or "", told.version) in state.done
    if says_what_was_done or any(_makes_pointless(each, told) for each in later):
        found.may_say(told, "superseded")
        yield state
    if told.kind == "tombstone":
        found.may_say(told, "deleted")
        after = _without(told, state)
        if state.units and after.units == state.units:  # a replay of something newer came first
            found.may_say(told, "superseded")
        yield after
        return
    assert told.slug is not None
    is_marked = any(slug == told.slug and told.version < v for slug, _, v in state.units)
    is_remembered = any(slug == told.slug and told.version < v for slug, v in state.known) or any(
        slug in (None, told.slug) and told.version[1] < offset for slug, offset in state.ended
    )
    may_be_marked = any(slug == told.slug and told.version < v for slug, v in rules.begun)
    if is_marked or is_remembered or may_be_marked:
        found.may_say(told, "superseded")
        yield state
    if is_marked and told.slug not in rules.by_hand:
        return
    if is_remembered and not (rules.forgets or told.slug in rules.by_hand):
        return
    found.may_say(told, "succeeded")
    yield from _with(told, state, Counter())
    for texts in rules.refused.get(told.place, ()):
        found.may_say(told, "partial" if texts.total() < len(told.texts) else "failed")
        yield from _with(told, state, texts)


def _makes_pointless(later: Told, told: Told) -> bool:
    """Whether a later event leaves nothing of this one."""
    covers = later.slug is None or later.slug == told.slug
    if later.kind == "tombstone":
        return covers and later.version[1] > told.version[1]
    return later.kind == told.kind == "document" and covers and later.version >= told.version


def _without(told: Told, state: State) -> State:
    """The tombstone carried out: nothing that came before it counts any more, whatever its date."""
    offset = told.version[1]

    def outlives(slug: str, version: Version) -> bool:
        return told.slug not in (None, slug) or version[1] > offset

    return replace(
        state,
        units=tuple(unit for unit in state.units if outlives(unit[0], unit[2])),
        known=frozenset(known for known in state.known if outlives(*known)),
        ended=state.ended | {(told.slug, offset)},
    )


def _with(told: Told, state: State, refused: Counter[str]) -> Iterator[State]:
    """The document stored; which of equal texts stays is open."""
    slug = told.slug or ""
    elsewhere = tuple(unit for unit in state.units if unit[0] != slug)
    here = sorted(unit for unit in state.units if unit[0] == slug)
    wanted = Counter(told.texts)
    choices = []
    for text, count in sorted(wanted.items()):
        units = [unit for unit in here if unit[1] == text]
        choices.append({tuple(kept) for kept in combinations(units, min(count, len(units)))})
    for choice in product(*choices):
        kept = [unit for units in choice for unit in units]
        missing = wanted - Counter(text for _, text, _ in kept) - refused
        new = [(slug, text, told.version) for text in missing.elements()]
        stale = list((Counter(here) - Counter(kept)).elements()) if refused else []
        known = state.known if refused else state.known | {(slug, told.version)}
        held = (*elsewhere, *sorted([*kept, *new, *stale]))
        yield State(held, known, state.ended, state.done | {(slug, told.version)})
