"""What a replay run would do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from consumer.contract.received_letter import Letter
from consumer.model.record import Coordinates
from consumer.model.remedy import Outlook
from consumer.operations.letters.selection import Selection
from consumer.operations.letters.standing import Standing
from consumer.operations.letters.stats import cause_of
from consumer.operations.replay.verdict import ReplayRules, ReplayVerdict, partition_of, verdict_of


class LeftLetter(NamedTuple):
    """A selected letter that is left, and why."""

    letter: Letter
    verdict: ReplayVerdict
    why: str


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """See the module's docstring.

    Args:
        replayed: the letters to replay, by place.
        parked: the letters to park instead, by place.
        left: the selected letters that are left, although an operator may have counted on them.
        counts: of the selected letters, how many get each verdict.
        reasons: of the letters to replay, how many have each ``dlq.reason``.
        causes: of the letters to replay, how many have each cause (as in `dlq stats`).
        by_reference: how many letters to replay hold only a reference.
        originals_there: of these, for how many something still lies at the original's place.
        helps: of the letters to replay, how many can be helped for each reason why.
        hopeless: of the letters that replaying can't help, how many for each reason why not.
        unanswered: how many letters to replay have no result of their own on the results topic.
        notes: what else a person should know.
    """

    replayed: tuple[Letter, ...] = ()
    parked: tuple[Letter, ...] = ()
    left: tuple[LeftLetter, ...] = ()
    counts: Mapping[ReplayVerdict, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    causes: Mapping[str, int] = field(default_factory=dict)
    by_reference: int = 0
    originals_there: int = 0
    helps: Mapping[str, int] = field(default_factory=dict)
    hopeless: Mapping[str, int] = field(default_factory=dict)
    unanswered: int = 0
    notes: tuple[str, ...] = ()

    @property
    def to_do(self) -> int:
        """How many letters would be replayed or parked."""
        return len(self.replayed) + len(self.parked)

    @property
    def work(self) -> tuple[tuple[Letter, ReplayVerdict], ...]:
        """What would be done, in the order of the letters' places."""
        both = [(letter, ReplayVerdict.REPLAY) for letter in self.replayed]
        both += [(letter, ReplayVerdict.PARK) for letter in self.parked]
        return tuple(sorted(both, key=lambda one: one[0].at))

    @property
    def highest_partition(self) -> int:
        """The highest partition number that a replay needs; -1 where only keys decide."""
        numbers = (partition_of(letter) for letter in self.replayed)
        return max((number for number in numbers if number is not None), default=-1)

    def as_object(self) -> dict[str, Any]:
        """The counts for scripts; every verdict is among them."""
        counts = {each.name.lower(): self.counts.get(each, 0) for each in ReplayVerdict}
        return {
            **counts,
            "reasons": dict(self.reasons),
            "causes": dict(self.causes),
            "by_reference": self.by_reference,
            "originals_there": self.originals_there,
            "can_help": dict(self.helps),
            "can_not_help": dict(self.hopeless),
            "without_own_result": self.unanswered,
        }


# Of the open letters, these are left. Letters that are not open any more are no news to anybody.
_LEFT_OPEN = (ReplayVerdict.STALE, ReplayVerdict.FOREIGN, ReplayVerdict.UNREADABLE)


def plan_of(
    letters: Iterable[Letter],
    standing: Callable[[Letter], Standing],
    selection: Selection,
    rules: ReplayRules,
    prospect: Callable[[Letter], Outlook],
) -> ReplayPlan:
    """The plan for these letters, without what has to be asked of Kafka (originals, results).

    Args:
        letters: of the topic or file that the run reads.
        standing: gives the standing of each.
        selection: which of them are meant.
        rules: how they are chosen.
        prospect: whether replaying one can help.
    """
    by_verdict: dict[ReplayVerdict, list[Letter]] = {each: [] for each in ReplayVerdict}
    outlooks: dict[Coordinates, Outlook] = {}
    for letter in sorted(filter(selection.matches, letters), key=lambda each: each.at):
        stands = standing(letter)
        if verdict_of(letter, stands, rules) is ReplayVerdict.REPLAY:
            outlooks[letter.at] = prospect(letter)
        can_help = letter.at not in outlooks or outlooks[letter.at].can_help
        by_verdict[verdict_of(letter, stands, rules, can_help=can_help)].append(letter)
    replayed, hopeless = by_verdict[ReplayVerdict.REPLAY], by_verdict[ReplayVerdict.HOPELESS]
    left = [
        LeftLetter(letter, each, each.value) for each in _LEFT_OPEN for letter in by_verdict[each]
    ]
    left += [LeftLetter(each, ReplayVerdict.HOPELESS, outlooks[each.at].why) for each in hopeless]
    return ReplayPlan(
        replayed=tuple(replayed),
        parked=tuple(by_verdict[ReplayVerdict.PARK]),
        left=tuple(left),
        counts={each: len(found) for each, found in by_verdict.items() if found},
        reasons=_counted(letter.reason for letter in replayed),
        causes=_counted(map(cause_of, replayed)),
        by_reference=sum(letter.by_reference for letter in replayed),
        helps=_counted(outlooks[each.at].why for each in replayed if outlooks[each.at].can_help),
        hopeless=_counted(
            outlooks[each.at].why
            for each in (*replayed, *hopeless)
            if not outlooks[each.at].can_help
        ),
    )


def _counted(texts: Iterable[str]) -> dict[str, int]:
    return dict(Counter(texts).most_common())
