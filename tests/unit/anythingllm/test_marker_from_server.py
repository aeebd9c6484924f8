from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.marker import decode_marker

_GOOD = {
    "alc": 1,
    "d": "d",
    "u": "u",
    "t": "t",
    "n": 1,
    "v": "2026-11-22T10:00:00+00:00",
    "o": [0, 7],
    "c": [["c", 0, "digest", "sha"]],
}


def test_a_good_marker_is_read() -> None:
    """The base of the cases below."""
    assert decode_marker(orjson.dumps(_GOOD).decode()) is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", "2026-11-22T10:00:00"),
        ("v", "2026-11-22"),
        ("v", None),
        ("o", ["x", "y"]),
        ("o", [1]),
        ("o", [1, None]),
        ("n", 1e999),
        ("n", "many"),
        ("d", 5),
        ("c", [[]]),
        ("c", [["c", 0, "digest"]]),
        ("c", 7),
        ("alc", 2),
    ],
)
def test_a_marker_that_was_tampered_with_is_foreign(field: str, value: object) -> None:
    """Taken for ours it would break every later comparison, or have somebody's document removed."""
    text = orjson.dumps({**_GOOD, field: value}).decode().replace("null", "1e999", field == "n")

    assert decode_marker(text) is None


@given(st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_field_of_any_kind_raises(value: object) -> None:
    """Whoever can write to AnythingLLM can't stop this service with a marker."""
    for field in _GOOD:
        decode_marker(orjson.dumps({**_GOOD, field: value}).decode())
