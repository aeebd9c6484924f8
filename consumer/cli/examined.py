"""What `validate` and `publish --dry-run` say of the events in files, each at its place.

A file of 30,000 events with one fault in each says so a few times, and then how often.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consumer.cli.files import EventLine

if TYPE_CHECKING:
    from consumer.contract.envelope import Places
    from consumer.contract.processed_document import ContractProblem
    from consumer.operations.validation import Examined, Examiner

SAID = 10  # times that one kind of message is said

# A huge file of nothing but broken events must not fill the memory; the counts stay exact.
MAX_LISTED = 10_000
_MOST_KINDS = 1_000
_OTHERS = "of other kinds"

_CHUNK = re.compile(r"/[0-9]+(?=/|$)")
_VALUE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![A-Z]-)\b[0-9]+(?:[.,][0-9]+)*""")
_PLACE = re.compile(r": line [0-9]+ column [0-9]+ \(char [0-9]+\)$")


@dataclass(slots=True)
class FileFindings:
    """What was found in files so far.

    Args:
        say: takes a line for people; None where scripts get an object.
        limit: how often each kind of message is said; 0: always.
        with_notes: whether what is only doubtful is told.
    """

    say: Callable[[str], None] | None
    limit: int = SAID
    with_notes: bool = True
    valid: int = 0
    invalid: int = 0
    noted: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    _kinds: Counter[str] = field(default_factory=Counter)

    def examine(self, name: str, events: Iterable[EventLine], examiner: Examiner) -> None:
        """Look at the events of a file.

        Args:
            name: of the file.
            events: of it.
            examiner: looks at each.

        Raises:
            UnreadableError: it can't be read (any further).
        """
        before = self.events
        for event in events:
            self._add(event, examiner.examine(event.value, f"{event.file}:{event.line}"))
        if self.events == before and self.with_notes:
            self.noted += 1
            message = "the file holds no event"
            self._tell({"file": name, "message": message}, f"{name}: note: {message}", self.notes)

    def end(self) -> None:
        """Say how often the messages came that were not said any more."""
        for kind, count in self._kinds.items():
            if self.say is not None and 0 < self.limit < count:
                self.say(f"and {count - self.limit:,} more: {kind}")

    @property
    def events(self) -> int:
        """How many were looked at."""
        return self.valid + self.invalid

    @property
    def summary(self) -> str:
        """One line for people."""
        text = f"{_counted(self.events, 'event')}: {self.valid:,} valid, {self.invalid:,} invalid"
        if self.noted:
            text += f"; {_counted(self.noted, 'note')}"
        if self.unreadable:
            text += f"; {_counted(len(self.unreadable), 'file')} could not be read"
        return text

    def as_json(self) -> dict[str, Any]:
        """For scripts; ``problems`` and ``notes`` hold the first `MAX_LISTED` each."""
        return {
            "events": self.events,
            "valid": self.valid,
            "invalid": self.invalid,
            "problems": self.problems,
            "unreadable": self.unreadable,
            "noted": self.noted,
            "notes": self.notes,
        }

    def _add(self, event: EventLine, examined: Examined) -> None:
        from consumer.contract.envelope import Places

        refused, places = examined.refused, Places(event.value)
        if refused is None:
            self.valid += 1
        else:
            self.invalid += 1
            named = {"document_id": examined.document_id, "reason": refused.reason.value}
            for problem in refused.problems:
                self._problem(event, places, problem, named)
        doubts = examined.doubts if self.with_notes else ()
        self.noted += len(doubts)
        for doubt in doubts:
            self._doubt(event, places, doubt, {"document_id": examined.document_id})

    def _problem(
        self, event: EventLine, places: Places, problem: ContractProblem, named: dict[str, Any]
    ) -> None:
        text = _PLACE.sub("", str(problem))
        if self._is_wanted(_kind(problem, text), self.problems):
            is_fault = named["reason"] == "undecodable" and not problem.pointer
            place = places.of_fault() if is_fault else places.of(problem.pointer)
            found = _object(event, place, problem, named)
            self._tell(found, f"{_at(found)}: {text}", self.problems)

    def _doubt(
        self, event: EventLine, places: Places, doubt: ContractProblem, named: dict[str, Any]
    ) -> None:
        text = "note: " + (f"{doubt.pointer}: " if doubt.pointer else "") + doubt.message
        if self._is_wanted(_kind(doubt, text), self.notes):
            found = _object(event, places.of(doubt.pointer), doubt, named)
            self._tell(found, f"{_at(found)}: {text}", self.notes)

    def _is_wanted(self, kind: str, listed: list[dict[str, Any]]) -> bool:
        """Whether a message is told; only then its place is looked for, which takes a while."""
        if self.say is None:
            return len(listed) < MAX_LISTED
        known = kind in self._kinds or len(self._kinds) < _MOST_KINDS
        kind = kind if known else _OTHERS
        self._kinds[kind] += 1
        return not self.limit or self._kinds[kind] <= self.limit

    def _tell(self, found: dict[str, Any], text: str, listed: list[dict[str, Any]]) -> None:
        if self.say is not None:
            self.say(text)
        else:
            listed.append(found)


def _object(
    event: EventLine, place: tuple[int, int], problem: ContractProblem, named: dict[str, Any]
) -> dict[str, Any]:
    """A message for scripts, at its place in the file."""
    line, column = place
    return {
        "file": event.file,
        "line": event.line + line - 1,
        "column": column + (event.column - 1 if line == 1 else 0),
        **named,
        "pointer": problem.pointer,
        "message": problem.message,
    }


def _at(found: dict[str, Any]) -> str:
    return f"{found['file']}:{found['line']}:{found['column']}"


def _kind(problem: ContractProblem, text: str) -> str:
    """The message without what differs from event to event: numbers, values, which chunk."""
    where = _CHUNK.sub("/*", problem.pointer)
    return _VALUE.sub("#", text.replace(problem.pointer, where, 1) if where else text)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
