"""How operations say how far they are: functions that they call now and then."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Takes how many records were looked at so far, and how many there are in all."""

StageProgress = Callable[[str, int, int], None]
"""Takes what is being done, how much of it is done, and how much of it there is in all."""

Advance = Callable[[int], None]
"""Takes how many more are done."""


def silent(*how_far: object) -> None:
    """Any of them, where nobody wants to know."""
