"""Small text templates over named placeholders, as settings use them (``{technology}``)."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Template:
    """A template that has been checked; `parse` is the only way to make one."""

    text: str
    parts: tuple[tuple[str, str | None], ...]

    @property
    def placeholders(self) -> frozenset[str]:
        """The names that occur in it."""
        return frozenset(name for _, name in self.parts if name is not None)

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder replaced; values are taken verbatim, braces included."""
        return "".join(
            literal + (values[name] if name is not None else "") for literal, name in self.parts
        )


def parse(text: str, allowed: Collection[str]) -> Template:
    """Check a template.

    Args:
        text: as the setting gives it.
        allowed: the placeholder names it may use.

    Raises:
        ValueError: it is blank, malformed or uses something else; the message says what is allowed.
    """
    names = ", ".join(f"{{{name}}}" for name in allowed)
    if not text.strip():
        raise ValueError(f"is blank; allowed are text and the placeholders {names}")
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError(f"has an unpaired brace; allowed placeholders are {names}") from None
    for _, name, form, conversion in pieces:
        if name is not None and (name not in allowed or form or conversion):
            shown = repr(name)[1:-1]  # what can't be printed would break the line
            found = f"{{{shown}}}" + (" with a format" if form or conversion else "")
            raise ValueError(f"uses {found}; allowed placeholders are {names}")
    return Template(text, tuple((literal, name) for literal, name, _, _ in pieces))
