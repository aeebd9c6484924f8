"""Events of one partition, and what they leave when they are carried out one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from consumer.model.precedence import Occurrence
from consumer.model.version import DocumentVersion

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def _at(day: int, offset: int, partition: int | None) -> DocumentVersion:
    return DocumentVersion(DAY + timedelta(days=day), partition, offset)


def doc(day: int, offset: int, partition: int | None = 0) -> Occurrence:
    return Occurrence(_at(day, offset, partition))


def tomb(day: int, offset: int, partition: int | None = 0) -> Occurrence:
    return Occurrence(_at(day, offset, partition), removes=True)


class OneByOne:
    """A document in a workspace as its events, carried out one after the other, leave it."""

    def __init__(self) -> None:
        self.stored: Occurrence | None = None
        self._ended: list[Occurrence] = []

    def carry_out(self, new: Occurrence) -> None:
        if new.removes:
            if self.stored is not None and not self.stored.supersedes(new):
                self.stored = None
            self._ended.append(new)
            return
        known = self._ended if self.stored is None else [*self._ended, self.stored]
        if not any(each.supersedes(new) for each in known):
            self.stored = new


def left_by(events: Sequence[Occurrence]) -> Occurrence | None:
    state = OneByOne()
    for event in events:
        state.carry_out(event)
    return state.stored


@st.composite
def arrivals(draw: st.DrawFn) -> list[Occurrence]:
    """The events of one partition in their order; documents among them may come once more."""
    arrived: list[Occurrence] = []
    for offset in range(draw(st.integers(0, 8))):
        made = draw(st.sampled_from((doc, doc, tomb)))
        arrived.append(made(draw(st.integers(0, 3)), offset))
        documents = [each for each in arrived if not each.removes]
        replayed: list[Occurrence] = draw(
            st.lists(st.sampled_from(documents or [arrived[0]]), max_size=1)
        )
        arrived.extend(each for each in replayed if not each.removes)
    return arrived
