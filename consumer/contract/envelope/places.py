"""Where in its text a part of an event stands: from a JSON pointer to a line and a column.

For who mends a file: no parser that reads events keeps places. A text is only walked where a place
is asked for, container by container, and each of these once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from consumer.contract.envelope.json_text import strictly
from consumer.contract.envelope.opening import FRAME

_BLANK = " \t\r\n"
_ENDS = {"{": "}", "[": "]"}


class TextPlace(NamedTuple):
    """A place in a text, both from 1; columns count characters."""

    line: int
    column: int


class Places:
    """The places in one event.

    Args:
        value: its bytes, in whatever envelope. In one that is behind a frame everything is at its
            begin.
    """

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._decoder = json.JSONDecoder(strict=False)
        self._inner: dict[int, dict[str, int]] = {}

    @cached_property
    def _text(self) -> str:
        """Made only where a place is asked for: most events have nothing to be told."""
        return "" if self._value.startswith(FRAME) else self._value.decode("utf-8", "replace")

    def of(self, pointer: str) -> TextPlace:
        """Where the value of a pointer begins.

        Of what is not there it is the begin of what lacks it, and of what an envelope hides in a
        text the begin of that text.
        """
        at = _skipped(self._text, 0)
        for step in pointer.split("/")[1:]:
            found = self._inside(at).get(step.replace("~1", "/").replace("~0", "~"))
            if found is None:
                break
            at = found
        return self._place(at)

    def of_fault(self) -> TextPlace:
        """Where the text stops being JSON in UTF-8; its begin where it does not."""
        try:
            self._value.decode()
            strictly(self._value)
        except UnicodeDecodeError as error:
            return self._place(len(self._value[: error.start].decode()))
        except json.JSONDecodeError as error:
            return self._place(min(error.pos, len(self._text)))
        return self._place(0)

    def _place(self, at: int) -> TextPlace:
        at = min(at, len(self._text))
        before = self._text.rfind("\n", 0, at)
        return TextPlace(self._text.count("\n", 0, at) + 1, at - before)

    def _inside(self, at: int) -> dict[str, int]:
        """Where the parts of the object or list at a place begin, by name or number."""
        if at not in self._inner:
            # Of a name that stands there twice the last one counts, as for every parser.
            self._inner[at] = dict(self._parts(at))
        return self._inner[at]

    def _parts(self, at: int) -> Iterator[tuple[str, int]]:
        text, end = self._text, _ENDS.get(self._text[at : at + 1])
        number, at = 0, _skipped(text, at + 1)
        try:
            while end is not None and text[at] != end:
                name = str(number)
                if end == "}":
                    name, at = self._decoder.raw_decode(text, at)
                    at = _skipped(text, _skipped(text, at) + 1)  # behind the colon
                yield str(name), at
                at = _skipped(text, self._decoder.raw_decode(text, at)[1])
                number, at = number + 1, _skipped(text, at + (text[at] == ","))
        except (ValueError, IndexError, RecursionError):
            return  # Broken from here on: what came before has its place.


def _skipped(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at
