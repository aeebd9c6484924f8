"""From a record's value to the event's fields: strictly, and leniently."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contract.envelope import (
    EventFields,
    NoEventError,
    as_json,
    fields_in,
    read_fields,
)
from consumer.contract.processed_document import MAX_PROBLEMS, ContractProblem


def refused(value: bytes) -> NoEventError:
    with pytest.raises(NoEventError) as caught:
        read_fields(value)
    return caught.value


def test_the_value_is_the_event() -> None:
    """Its fields are handed on as they are: whether they make an event is for others to say."""
    value = b'{"id": "d", "unknown": [1.5, null]}'

    assert read_fields(value).fields == {"id": "d", "unknown": [1.5, None]}
    assert read_fields(value) == fields_in(value)
    assert read_fields(b"{}").fields == fields_in(b"{}").fields == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "the event is empty; a tombstone is a record without a value"),
        (b" \n", "the event is empty; a tombstone is a record without a value"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "byte order mark"),
        (b"{", "is not JSON in UTF-8"),
        (b"[" * 100_000, "is not JSON in UTF-8"),
    ],
)
def test_what_nobody_can_read_is_no_json(value: bytes, message: str) -> None:
    """The strict reading says why in one line; the lenient one finds nothing."""
    error = refused(value)

    assert message in str(error)
    assert (error.is_json, error.fields) == (False, None)
    assert fields_in(value).fields == {}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"null", "null; a tombstone is a record without a value"),
        (b"[]", "a list"),
        (b'"x"', "a string"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"true", "a boolean"),
    ],
)
def test_json_that_is_no_object_has_no_fields(value: bytes, kind: str) -> None:
    """It is named by its kind, never quoted."""
    error = refused(value)

    assert str(error) == f"the event must be a JSON object, is {kind}"
    assert (error.is_json, error.fields) == (True, None)
    assert fields_in(value).fields == {}


def test_what_only_python_can_read_is_told_with_its_fields() -> None:
    """Its publisher can be answered by the id."""
    error = refused(b'{"id": "d", "a/b": [1, NaN], "title": "\\ud800"}')

    assert [problem.pointer for problem in error.problems] == ["/a~1b/1", "/title"]
    assert error.is_json
    assert error.fields is not None
    assert error.fields.fields["id"] == "d"
    assert refused(b"[NaN]").fields is None


def test_problems_are_not_counted_for_ever() -> None:
    """One more than are told: enough to say that there are more."""
    assert len(refused(b"[" + b"NaN," * 10_000 + b"1]").problems) == MAX_PROBLEMS + 1


def test_a_tombstone_and_what_is_too_large_have_no_fields() -> None:
    """The lenient reading is bounded by bytes, because parsing takes many times as much memory."""
    value = b'{"id": "d"}'

    assert fields_in(None).fields == {}
    assert fields_in(value, at_most=len(value)).fields == {"id": "d"}
    assert fields_in(value, at_most=len(value) - 1).fields == {}


def test_a_person_sees_the_value_as_it_is() -> None:
    """Any JSON, whole; what is none is for the caller to show otherwise."""
    assert as_json(b"[1]") == [1]
    assert as_json(b"null") is None
    with pytest.raises(ValueError, match="unexpected"):
        as_json(b"{'id'}")


@given(st.binary(max_size=200) | st.text(max_size=50).map(orjson.dumps))
def test_any_bytes_have_fields_or_a_reason(value: bytes) -> None:
    """Both ways of reading agree, and nothing but `NoEventError` is raised."""
    problems: tuple[ContractProblem, ...] = ()
    fields = EventFields({})
    try:
        fields = read_fields(value)
    except NoEventError as error:
        problems = error.problems

    assert fields_in(value) == fields
    assert fields.fields or problems or orjson.loads(value) == {}
