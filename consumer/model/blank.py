"""What counts as blank: what JavaScript trims, because AnythingLLM is written in it.

A text of nothing else is taken with ``200 success:true`` and never embedded (recorded with U+FEFF,
U+00A0, U+2028 and blanks; AnythingLLM 1.16). Python's ``str.strip`` is another rule in both
directions: it leaves U+FEFF, and takes U+001C to U+001F and U+0085, which AnythingLLM embeds.
"""

from __future__ import annotations

BLANKS = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""``WhiteSpace`` and ``LineTerminator`` of ECMA-262, which ``String.prototype.trim`` takes."""


def trimmed(text: str) -> str:
    """The text as AnythingLLM trims it."""
    return text.strip(BLANKS)


def is_blank(text: str) -> bool:
    """Whether AnythingLLM finds nothing to embed in a text."""
    return not trimmed(text)
