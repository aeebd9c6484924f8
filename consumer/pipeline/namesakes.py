"""Namesakes: workspaces of a slug beside its home, with none of ours when they were looked into.

They are looked into again soon after the workspace has found its home, and ever later after that:
another instance with other pins may have begun to store there at the same moment, and another
service may at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumer.model.names import ServerName, Slug

_FIRST_SECONDS = 60.0
_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _LastLook:
    """The last look at one: when it began, monotonic seconds, and how many were before it."""

    begun: float
    before: int = 0

    @property
    def until(self) -> float:
        seconds: float = _FIRST_SECONDS * 2**self.before
        return self.begun + min(seconds, _MOST_SECONDS)


class Namesakes:
    """See the module's docstring.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looks: dict[tuple[ServerName, Slug], _LastLook] = {}

    def note(self, name: ServerName, slug: Slug, begun: float, *, is_again: bool) -> None:
        """Note a look that found none of ours.

        Args:
            name: the server.
            slug: the workspace.
            begun: when the look began.
            is_again: whether the workspace has had its home since the look before.
        """
        last = self._looks.get((name, slug))
        before = last.before + 1 if last is not None and is_again else 0
        self._looks[name, slug] = _LastLook(begun, before)

    def drop(self, name: ServerName, slug: Slug) -> None:
        """It is not there any more."""
        self._looks.pop((name, slug), None)

    def is_known(self, name: ServerName, slug: Slug) -> bool:
        """Whether it need not be looked into now."""
        last = self._looks.get((name, slug))
        return last is not None and self._clock() < last.until
