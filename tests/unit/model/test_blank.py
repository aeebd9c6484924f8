"""Blank is what AnythingLLM finds nothing to embed in, not what Python strips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.blank import BLANKS, is_blank, trimmed
from consumer.sandbox.simulator import text

# ECMA-262, "White Space" (with Unicode's Space_Separator) and "Line Terminators".
_TRIMMED_BY_JAVASCRIPT = [
    *(0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0xA0, 0x1680),
    *range(0x2000, 0x200B),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF),
]


def test_blank_is_what_javascript_trims() -> None:
    """All of it, and nothing that only Python strips: U+001C to U+001F and U+0085."""
    every = [code for code in range(0x110000) if is_blank(chr(code))]
    assert every == _TRIMMED_BY_JAVASCRIPT
    pythons = {code for code in range(0x110000) if chr(code).isspace()}
    assert pythons ^ set(every) == {0x1C, 0x1D, 0x1E, 0x1F, 0x85, 0xFEFF}


@given(st.text(BLANKS + "a\x85\x1c\u200b"))
def test_the_simulated_server_embeds_what_is_not_blank(written: str) -> None:
    """It has a list of its own, held to recordings of the real one."""
    assert is_blank(written) == (text.split(written) == [])
    assert text.split(written) in ([], [trimmed(written)])


@pytest.mark.parametrize("blank", ["", "\ufeff", "\ufeff\u00a0 \n"])
def test_nothing_is_left_of_what_is_blank(blank: str) -> None:
    """At both ends of a text, too."""
    assert (is_blank(blank), trimmed(f"{blank}a\x85{blank}")) == (True, "a\x85")
