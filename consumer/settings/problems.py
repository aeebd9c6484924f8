"""What is wrong with settings, told all at once and without giving a secret away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_USERINFO = re.compile(r"//[^/@\s]*@")
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One thing that is wrong.

    Args:
        name: the setting, as it was given (``KAFKA_GROUP_ID``, ``[kafka] group_id``).
        message: what is wrong and what is allowed.
        value: what was given, masked where secret; None where nothing was.
    """

    name: str
    message: str
    value: str | None = None

    def __str__(self) -> str:
        given = "" if self.value is None else f" = {self.value}"
        return f"{self.name}{given}: {self.message}"


class SettingsError(Exception):
    """The settings are wrong on their face; the command ends with exit code 2.

    Args:
        problems: all of them.
    """

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' * (count != 1)} with the settings:\n{lines}")


def shown(value: str, *, secret: bool) -> str:
    """A value as it may be shown: one short quoted line, never a secret."""
    if secret:
        return "***"
    plain = _USERINFO.sub("//***@", value)
    return ascii(plain if len(plain) <= _SHOWN else plain[:_SHOWN] + "...")
