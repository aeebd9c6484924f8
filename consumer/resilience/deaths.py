"""Does this upload kill AnythingLLM? A table of deaths and of the uploads under way in them.

A text that kills the server (out of memory, say) kills it again whenever it is uploaded. A server
that dies for another reason looks the same to whoever is uploading. What is counted, and when:

1. The *suspects* of a death are the units whose uploads were under way, or in doubt: without a
   complete answer the server may still be at work on them.
2. A death counts for its only suspect, where nothing else of ours was under way and nothing of
   other instances can have been. Where that can't be known it counts for nothing.
3. Of several suspects it counts for the last one that is left when all others got through since.
   So few suspects are uploaded alone, one after another. Many go on as before until a second
   death, and those that it met go alone: an ordinary restart of the server must not cost an hour.
   After a restart of ours nobody knows who the others were: then the first such death counts for
   each that is not stored yet. It is one of five.
4. Between two deaths of a unit a *control* of its length has to get through: a test document, or
   another unit that is as long. A death without one begins the count anew.
5. A death that nobody is left to explain begins all counts anew: the server dies without them.
   That is one whose suspects all got through, or one that met nothing of ours.
6. After each death the unit waits longer, after the third ten minutes. The fifth comes half an
   hour after the first at the earliest. Then it *falls*: it is not sent a sixth time.
7. While other instances keep its deaths from counting, or no control gets through, it can't fall.
   From the sixth such death on its pauses double, up to an hour: what it shows is shown, and it is
   tried only for what may be mended.
8. A pack falls apart sooner, because nothing is given up for that: with the second death that is
   its own, or the third one that it was a suspect of. One restart of the server breaks none up.

It knows no I/O; epoch seconds are handed in, because counts are kept over restarts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.model.death_count import DeathCount
from consumer.resilience.death_suspect import DeathRules, DeathSuspect, with_one

_MOST_DEATHS = 100  # remembered; what is older explains nothing any more
_PACK_COUNT = 2  # deaths that are a pack's own
_PACK_SEEN = 3  # that it was a suspect of, where none can count or there are too many suspects
_KEPT_AWAY = 3  # uploads in a row; a proxy that answers once for a killer must not clear it


@dataclass(slots=True, eq=False)
class _Death:
    """A death, while somebody may explain it.

    Args:
        at: epoch seconds.
        left: its suspects that did not get through since.
        counts: whether it is still to be counted for the last one that is left.
        is_known: whether nothing of other instances can have been under way.
    """

    at: float
    left: set[str] = field(default_factory=set)
    counts: bool = False
    is_known: bool = True


class Deaths:
    """See the module's docstring. Units go by names, which are the same after a restart."""

    def __init__(self, rules: DeathRules) -> None:
        self._rules = rules
        self._sizes: dict[str, int] = {}  # of what is under way
        self._in_doubt: dict[str, tuple[int, float]] = {}  # size, and until when
        self._suspects: dict[str, DeathSuspect] = {}
        self._deaths: list[_Death] = []
        self._controls_died = 0  # in a row
        self._deadly_size = 0  # of the shortest of them
        self._control_due = -math.inf
        self._cut_off: dict[str, int] = {}  # sizes of what broke together
        self._told: set[str] = set()  # of these, those that were noted
        self._beside: int | None = None

    # What is asked

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._sizes

    @property
    def all_told(self) -> bool:
        """Whether of all that was cut off together it is known how."""
        return self._sizes.keys() & self._cut_off.keys() <= self._told

    @property
    def is_quiet(self) -> bool:
        """Whether there is no suspect, and nothing in doubt."""
        return not self._suspects and not self._in_doubt

    def is_to_be_watched(self, now: float) -> bool:
        """Whether a death would tell something: a suspect waits, or an upload is in doubt."""
        return bool(self._suspects) or any(until > now for _, until in self._in_doubt.values())

    def is_to_be_outlived(self, name: str, now: float) -> bool:
        """Whether the server may still be at work on a unit of which it may have died twice."""
        is_in_doubt = name in self._in_doubt and self._in_doubt[name][1] > now
        return is_in_doubt and self.seen(name) > 1

    def suspects(self, name: str) -> bool:
        """Whether a death may be of this unit."""
        return name in self._suspects

    def counts(self) -> Mapping[str, DeathCount | None]:
        """What is to be known of every suspect after a restart (rule 3)."""
        return {name: each.with_shared for name, each in self._suspects.items()}

    def seen(self, name: str) -> int:
        """Of how many deaths a unit was a suspect, whether or not they counted."""
        suspect = self._suspects.get(name)
        return suspect.seen if suspect else 0

    def count(self, name: str) -> DeathCount | None:
        """What is proven of a unit; None: nothing."""
        suspect = self._suspects.get(name)
        return suspect.count if suspect else None

    def due(self, name: str, *, can_count: bool = True) -> float:
        """When a unit may be uploaded again, epoch seconds.

        Args:
            name: of the unit.
            can_count: whether the next death could count, as far as other instances go.
        """
        suspect = self._suspects.get(name)
        if suspect is None:
            return -math.inf
        due = suspect.due(self._rules, can_count=can_count)
        return max(due, self._control_due) if suspect.needs_control else due

    def needs_control(self, name: str) -> bool:
        """Whether a control has to get through before the unit is uploaded again."""
        suspect = self._suspects.get(name)
        return suspect is not None and suspect.needs_control

    def control_size(self, name: str) -> int:
        """How long a control has to be: for all suspects at once, unless that failed or was deadly.

        One that is too long for an embedder short of tokens would keep short ones from counting.
        """
        suspect = self._suspects.get(name, DeathSuspect(0))
        every = (each.size for each in self._suspects.values() if not each.has_control)
        has_failed = self._controls_died or suspect.controls_failed
        return suspect.size if has_failed else max(every, default=suspect.size)

    def has_failed_control(self, name: str) -> bool:
        """Whether the last control for a unit failed, though the server did not die of it."""
        suspect = self._suspects.get(name)
        return suspect is not None and suspect.controls_failed > 0

    def goes_alone(self, name: str) -> bool:
        """Whether nothing else may be under way beside a unit's upload."""
        suspect = self._suspects.get(name)
        return suspect is not None and suspect.goes_alone

    def falls(self, name: str) -> bool:
        """Whether it is proven that a unit kills the server."""
        count, rules = self.count(name), self._rules
        return count is not None and count.count >= rules.count and count.spread >= rules.spread

    def breaks_up(self, name: str) -> bool:
        """Whether a pack is to be split: its own deaths, or too many that may be (rule 8)."""
        suspect = self._suspects.get(name)
        if suspect is None:
            return False
        own = suspect.with_shared
        return suspect.seen >= _PACK_SEEN or (own is not None and own.count >= _PACK_COUNT)

    # What is noted

    def resumed(self, name: str, size: int, before: DeathCount) -> None:
        """Note what a former owner of a unit's partition knew of it."""
        known = DeathSuspect(size, before, seen=before.count, last=before.last)
        self._suspects.setdefault(name, known)

    def begun(self, name: str, size: int) -> None:
        """Note that an upload is under way."""
        self._sizes[name] = size

    def ended(self, name: str) -> None:
        """Note that it is not any more."""
        self._sizes.pop(name, None)

    def left_in_doubt(self, name: str, size: int, now: float, until: float) -> None:
        """Note that the server may still be at work on an upload, until then."""
        self._in_doubt = {n: each for n, each in self._in_doubt.items() if each[1] > now}
        self._in_doubt[name] = size, until

    def cut_off(self, name: str | None, now: float, beside: int | None) -> None:
        """Note that an upload found nobody any more; whether the server died is looked at now.

        All that is under way is cut off with it, and is to be noted in the same way (`all_told`).

        Args:
            name: of the unit; None: it was none.
            now: epoch seconds.
            beside: how many other requests of ours were under way; None where it had not been sent.
        """
        doubted = {n: size for n, (size, until) in self._in_doubt.items() if until > now}
        self._cut_off |= doubted | self._sizes
        if name is not None:
            self._told.add(name)
        if beside is not None:
            self._beside = max(beside, self._beside or 0)

    def dismiss(self) -> None:
        """Note that it was no death, or one that was noted before: nothing comes of what broke."""
        self._cut_off, self._beside = {}, None
        self._told.clear()

    def died(self, now: float, *, is_known: bool) -> frozenset[str]:
        """Note that the look found nobody.

        Args:
            now: epoch seconds.
            is_known: whether nothing of other instances can have been under way.

        Returns:
            The suspects.
        """
        sizes, beside = self._cut_off, self._beside
        self.dismiss()
        self._in_doubt.clear()  # a dead server is at work on nothing
        is_ours_alone = beside is not None and beside < len(sizes)
        death = _Death(now, set(sizes), is_known and is_ours_alone, is_known)
        self._deaths = [*self._deaths, death][-_MOST_DEATHS:]
        for name, size in sizes.items():
            self._note(name, size, death)
        self._explain()
        return frozenset(sizes)

    def passed(self, size: int) -> None:
        """Note that a control of this length got through."""
        if size >= self._deadly_size:
            self._controls_died, self._control_due = 0, -math.inf
        for suspect in self._suspects.values():
            if suspect.size <= size:
                suspect.has_control = True

    def control_died(self, size: int, now: float) -> None:
        """Note that the server died of a control: what it dies of is no single text.

        Without growing pauses the controls would do what they are to prevent.
        """
        self._deadly_size = min(size, self._deadly_size) if self._controls_died else size
        self._controls_died += 1
        self._control_due = now + self._rules.pause(self._controls_died)

    def control_failed(self, name: str) -> None:
        """Note that a control for a unit did not get through, though the server did not die."""
        if (suspect := self._suspects.get(name)) is not None:
            suspect.controls_failed += 1

    def kept_away(self, name: str) -> None:
        """Note that the server lives, and that it did not answer: another did, or nobody.

        Once, that says nothing of what the server would do. Again and again, while the server
        lives, it says that it dies of something else. Otherwise a unit that a firewall blocks, and
        that met a restart, would be a suspect for ever.
        """
        if (suspect := self._suspects.get(name)) is not None:
            suspect.kept_away += 1
            if suspect.kept_away >= _KEPT_AWAY:
                self.got_through(name)

    def got_through(self, name: str) -> None:
        """Note that a unit's upload was answered: the server does not die of it."""
        self._suspects.pop(name, None)
        self._in_doubt.pop(name, None)
        self._cut_off.pop(name, None)  # its answer was on its way when the server died
        for death in self._deaths:
            death.left.discard(name)
        self._explain()

    def outlived(self, name: str) -> None:
        """Note that the time of a doubt is over; where the server died in it, there is none."""
        if name in self._in_doubt:
            self.got_through(name)

    def forget(self, name: str) -> None:
        """Forget a unit that nobody will upload any more, here or for now."""
        self._suspects.pop(name, None)
        # What it would have explained is explained by nobody else, and excuses nobody.
        self._deaths = [death for death in self._deaths if name not in death.left]

    def _note(self, name: str, size: int, death: _Death) -> None:
        suspect = self._suspects.setdefault(name, DeathSuspect(size))
        if suspect.begins_anew:
            for former in self._deaths:
                former.counts &= former is death or name not in former.left
        suspect.met(
            death.at, counts=death.counts, suspects=len(death.left), is_known=death.is_known
        )

    def _explain(self) -> None:
        """Count what has one suspect left, and begin anew where none is (rules 3 and 5)."""
        for death in self._deaths:
            if len(death.left) == 1 and death.counts:
                (name,) = death.left
                self._count(name, death)
        if any(not death.left for death in self._deaths):
            self._deaths = [death for death in self._deaths if death.left]
            for suspect in self._suspects.values():
                suspect.count = suspect.shared = None
            for death in self._deaths:
                death.counts = False

    def _count(self, name: str, death: _Death) -> None:
        death.counts = False
        suspect = self._suspects[name]
        suspect.count = with_one(suspect.count, death.at)
        if suspect.shared == death.at:
            suspect.shared = None
