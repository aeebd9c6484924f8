"""What the stations need from the other rooms, as they see it; `consumer.app` provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from consumer.model.marker import StoredUnit, Unit


class UnitUpload(Protocol):
    """One unit on its way into one workspace; remembers between attempts what the last one did."""

    async def attempt(self) -> StoredUnit:
        """Try once to get the unit stored and embedded.

        An ambiguous earlier attempt is looked for before anything is sent again, and a file that
        is there but not embedded is only embedded again, so that attempts never make doubles.

        Raises:
            Failure: with whose fault it is.
        """
        ...


class Storage(Protocol):
    """AnythingLLM as the journey needs it. Every method may raise `Failure`."""

    async def prepare(self, slug: str, *, trace_id: str) -> None:
        """Make sure the workspace exists and takes concurrent uploads without losing any."""
        ...

    async def listing(self, slug: str, *, trace_id: str) -> Sequence[StoredUnit]:
        """Everything in the workspace with our marker; empty where there is no workspace."""
        ...

    async def workspaces(self, *, trace_id: str) -> Sequence[str]:
        """The slugs of all workspaces."""
        ...

    def upload(
        self, slug: str, unit: Unit, *, trace_id: str, check: Callable[[], None]
    ) -> UnitUpload:
        """A unit's upload, not started yet.

        ``check`` is asked before every request that changes something, and raises where the right
        to go on has ended: what it raises leaves `UnitUpload.attempt`.
        """
        ...

    async def remove(self, slug: str, locations: Sequence[str], *, trace_id: str) -> None:
        """Remove units from the server; those that are gone already are no error."""
        ...
