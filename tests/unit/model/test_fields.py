"""Single fields that others wrote: what they are good for, or that they are good for nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.fields import (
    MAX_WHOLE,
    aware_instant_in,
    count_of,
    need_list,
    need_text,
    text_of,
    uuid_in,
    whole_in,
    whole_of,
)

UUID = "90e54ce4-6a57-5116-a27b-e2d683b0241c"


@pytest.mark.parametrize(
    ("value", "text", "whole", "count"),
    [
        ("", "", None, None),
        ("5", "5", None, None),
        (5, None, 5, 5),
        (0, None, 0, 0),
        (-1, None, -1, None),
        (MAX_WHOLE, None, MAX_WHOLE, MAX_WHOLE),
        (MAX_WHOLE + 1, None, MAX_WHOLE + 1, None),
        (True, None, None, None),
        (5.0, None, None, None),
        (None, None, None, None),
        ([], None, None, None),
    ],
)
def test_nothing_is_converted(
    value: object, text: str | None, whole: int | None, count: int | None
) -> None:
    """A field of another type is as good as none."""
    assert (text_of(value), whole_of(value), count_of(value)) == (text, whole, count)


def test_what_is_needed_is_there_or_an_error_that_does_not_repeat_it() -> None:
    """An answer without it is worth nothing; what stands there may be a secret."""
    assert (need_text(""), need_list([1])) == ("", [1])
    with pytest.raises(TypeError, match=r"^no text$"):
        need_text(5)
    with pytest.raises(TypeError, match=r"^no list$"):
        need_list("secret")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("0041", 41),
        (str(MAX_WHOLE), MAX_WHOLE),
        (str(MAX_WHOLE + 1), None),
        ("1" * 5_000, None),
        ("-1", None),
        ("", None),
        (None, None),
        ("-", None),
        ("--1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("1.0", None),
        ("٣", None),
        ("²", None),
    ],
)
def test_a_number_has_only_digits(text: str | None, number: int | None) -> None:
    """Python's own `int` takes more than we ever write, and takes long over long ones."""
    assert whole_in(text) == number


def test_a_range_says_what_else_a_number_may_be() -> None:
    """Kafka's timestamp of a record without one is -1."""
    assert (whole_in("-1", least=-1), whole_in("-2", least=-1)) == (-1, None)
    assert (whole_in("7", most=7), whole_in("8", most=7)) == (7, None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00.5+02:00", datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T12:00:00", None),
        ("2026-03-01", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("now", None),
        ("", None),
        (None, None),
    ],
)
def test_an_instant_has_a_zone(text: str | None, instant: datetime | None) -> None:
    """Without one it could not be compared; what no date in UTC can hold is none."""
    assert aware_instant_in(text) == instant


def test_a_uuid_is_given_in_its_usual_form() -> None:
    """Ids are compared as texts."""
    assert uuid_in(UUID.upper()) == uuid_in(f"{{{UUID}}}") == UUID
    assert uuid_in("x") is uuid_in("") is uuid_in(None) is None


@given(st.none() | st.text(max_size=30))
def test_texts_are_read_without_an_exception(text: str | None) -> None:
    """Anybody can write headers."""
    number, instant = whole_in(text), aware_instant_in(text)

    assert number is None or 0 <= number <= MAX_WHOLE
    assert instant is None or instant.tzinfo is UTC
    assert uuid_in(text) is None or text
