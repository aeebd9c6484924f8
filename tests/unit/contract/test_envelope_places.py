from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.contract.envelope import Places
from consumer.contract.processed_document import pointer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=6,
)


def inside(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """A value and all in it, with their paths."""
    found = [(path, value)]
    if isinstance(value, dict):
        found += [each for name in value for each in inside(value[name], (*path, name))]
    if isinstance(value, list):
        found += [each for n, one in enumerate(value) for each in inside(one, (*path, n))]
    return found


@settings(max_examples=25)
@given(value=VALUES, indent=st.sampled_from([None, 0, 2]), ascii=st.booleans())
def test_a_pointer_leads_to_the_begin_of_its_value(
    value: Any, indent: int | None, ascii: bool
) -> None:
    """In whatever layout; names with / and ~ among them."""
    text = "\n " + json.dumps(value, indent=indent, ensure_ascii=ascii)
    places, lines = Places(text.encode()), text.split("\n")
    for path, expected in inside(value):
        line, column = places.of(pointer(path))
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == expected


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ('{"a": [1,\n {"b": 2}]}', "/a/1/c", (2, 2)),  # missing: what lacks it
        ('{"a": "{\\"b\\": 1}"}', "/a/b", (1, 7)),  # hidden in a text
        ('{"a": 1, "a": 2}', "/a", (1, 15)),  # the last one counts
        ('{"a": [1, oops, {"b": 1}]}', "/a/2/b", (1, 7)),  # broken before it
        ('{"a"', "/a", (1, 5)),  # where it should begin
        ("", "/a", (1, 1)),
        ("[" * 3_000, "/0/0", (1, 3)),  # deeper than any parser goes
    ],
)
def test_what_is_not_there_is_where_it_should_be(
    text: str, at: str, expected: tuple[int, int]
) -> None:
    """As near as it can be told; nothing is raised."""
    assert Places(text.encode()).of(at) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"a": 1}', (1, 1)),
        (b'{"a":\n  oops}', (2, 3)),
        ('{"größe": "x'.encode() + b'\xff"}', (1, 13)),
        (b"\x00\x00\x00\x00\x01{oops", (1, 1)),
        (b"\xff", (1, 1)),
    ],
)
def test_where_a_text_stops_being_json(value: bytes, expected: tuple[int, int]) -> None:
    """In characters, not in bytes."""
    assert Places(value).of_fault() == expected
