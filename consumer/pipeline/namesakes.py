"""Namesakes: workspaces of a slug beside its home, with none of ours when they were looked into.

Another instance with other pins may take one for the home, at the same moment as we took ours, and
another service may store there at any time. So they are looked into again soon, and ever later once
our home has documents of ours. Until then neither instance may have stored anything: whoever begins
second finds out by its own next look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumer.model.names import ServerName, Slug

_FIRST_SECONDS = 60.0
_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _LastLook:
    """The last look at one.

    Args:
        begun: when it began, monotonic seconds.
        before: looks before it in a row at which our home had documents of ours.
    """

    begun: float
    before: int

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

    def note(self, name: ServerName, slug: Slug, begun: float, *, is_lived_in: bool) -> None:
        """Note a look that found none of ours.

        Args:
            name: the server.
            slug: the workspace.
            begun: when the look began.
            is_lived_in: whether the workspace has a home, with documents of ours in it.
        """
        last = self._looks.get((name, slug))
        before = last.before + 1 if last is not None and is_lived_in else 0
        self._looks[name, slug] = _LastLook(begun, before)

    def drop(self, name: ServerName, slug: Slug) -> None:
        """It is not there any more."""
        self._looks.pop((name, slug), None)

    def is_known(self, name: ServerName, slug: Slug) -> bool:
        """Whether it need not be looked into now."""
        last = self._looks.get((name, slug))
        return last is not None and self._clock() < last.until
