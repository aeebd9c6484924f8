"""A unit as the deathwatch knows it, and why it is not sent now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumer.model.fault import Failure, Fault
from consumer.model.marker import Unit
from consumer.model.names import Identity, Slug


class NotNow(Failure):
    """Not sent: AnythingLLM may die of it, so it waits, or has to be alone."""

    fault = Fault.THEIRS
    pending = True


class NotDue(NotNow):
    """It waits; for how long, changes when others turn out not to kill AnythingLLM."""


class NotAlone(NotNow):
    """It is due, and other requests may be under way."""


class NoControl(NotNow):
    """It is due, and no control of its length got through since the last death."""


@dataclass(slots=True, eq=False)
class WatchedUnit:
    """A unit on its way.

    Args:
        name: the same after a restart.
        identity: of its document.
        slug: the workspace.
        chunk_ids: the publisher's.
        size: of its text, UTF-16 units: what AnythingLLM counts.
        text: its own; controls are of its kind.
    """

    name: str
    identity: Identity
    slug: Slug
    chunk_ids: tuple[str, ...]
    size: int
    text: str = field(default="", repr=False)
    is_alone: bool = False
    is_sent: bool = False  # in this attempt

    @property
    def shown(self) -> str:
        """What a message calls it."""
        return f"chunk {', '.join(ascii(id)[1:-1][:80] for id in self.chunk_ids[:3])}"


def watched(unit: Unit, identity: Identity, slug: Slug) -> WatchedUnit:
    """A unit as the watch knows it."""
    marks = "\0".join(f"{chunk.id}\0{chunk.digest}" for chunk in unit.marker.chunks)
    text = unit.text
    size = len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
    ids = tuple(chunk.id for chunk in unit.chunks)
    return WatchedUnit(f"{identity}\0{slug}\0{marks}", identity, slug, ids, size, text)


def to_wait_for(failures: Sequence[Failure]) -> Sequence[Failure]:
    """Of a round's failures those that say when the next one begins.

    A unit that waits for its own time keeps none of its siblings waiting.
    """
    others = [failure for failure in failures if not isinstance(failure, NotNow)]
    own = [failure for failure in failures if isinstance(failure, NotNow)]
    return others or sorted(own, key=lambda failure: failure.retry_after or 0.0)[:1]
