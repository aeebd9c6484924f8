"""Envelopes round values: what is opened, what stays what it is, and what is wrong with others."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.contract.envelope import (
    UNOPENED,
    WITHOUT_HEADERS,
    EventFields,
    InnerValuesError,
    NoEventError,
    Wrapping,
    as_json,
    fields_in,
    read_fields,
    wrapping_of,
)
from consumer.contract.processed_document import ContractProblem
from consumer.model.record import Headers

EVENT: dict[str, Any] = {"id": "d", "chunks": [{"id": "c", "content": "text"}], "title": "T"}
PLAIN = orjson.dumps(EVENT)
FRAME = b"\x00\x00\x00\x00\x2a"
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
BINARY: Headers = (("ce_specversion", b"1.0"), ("ce_time", b"2026-11-22T10:00:00Z"))
NOON = datetime(2026, 11, 22, 10, tzinfo=UTC)


def cloud_event(**changes: Any) -> bytes:
    attributes = {"specversion": "1.0", "id": "1", "type": "t", "source": "/s"}
    return orjson.dumps(attributes | changes)


def connect(payload: Any, schema: Any = None) -> bytes:
    return orjson.dumps({"schema": schema, "payload": payload})


def quoted(value: bytes) -> bytes:
    return orjson.dumps(value.decode())


@pytest.mark.parametrize(
    ("value", "headers", "path"),
    [
        (PLAIN, (), ()),
        (b" \n" + PLAIN, (), ()),
        (FRAME + PLAIN, (), ()),
        (PLAIN, (("__value_schema_id", b"\x01" + bytes(16)),), ()),
        (quoted(PLAIN), (), ()),
        (quoted(b"\n " + PLAIN), (), ()),
        (connect(EVENT), (), ("payload",)),
        (connect(EVENT, {"type": "struct"}), (), ("payload",)),
        (connect(PLAIN.decode(), {"type": "string"}), (), ("payload",)),
        (FRAME + connect(EVENT), (), ("payload",)),
        (cloud_event(data=EVENT), STRUCTURED, ("data",)),
        (cloud_event(data=EVENT, data_base64=None), STRUCTURED, ("data",)),
        (cloud_event(data=PLAIN.decode()), STRUCTURED, ("data",)),
        (cloud_event(data_base64=base64.b64encode(PLAIN).decode()), STRUCTURED, ("data_base64",)),
        (FRAME + cloud_event(data=EVENT), STRUCTURED, ("data",)),
        (cloud_event(data=orjson.loads(connect(EVENT))), STRUCTURED, ("data", "payload")),
        (cloud_event(data=EVENT), (("Content-Type", b"APPLICATION/CloudEvents"),), ("data",)),
        (PLAIN, (("ce_specversion", b"1.0"), ("content-type", b"application/json")), ()),
        (PLAIN, (("content-type", b"text/plain"),), ()),
    ],
)
def test_the_event_is_found_in_it(value: bytes, headers: Headers, path: tuple[str, ...]) -> None:
    """Strictly and leniently the same, with its place in the record."""
    found = read_fields(value, wrapping_of(headers))

    assert found.fields == EVENT
    assert found.path == path
    assert fields_in(value, wrapping_of(headers)) == found


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": {}, "payload": {}, "chunks": []},
        {"payload": {"id": "d"}},
        {"specversion": "1.0", "type": "t", "source": "s", "data": {}, "chunks": []},
        {"specversion": 1, "type": "t", "source": "s"},
        {"id": "d", "data": {}, "data_base64": ""},
    ],
)
@pytest.mark.parametrize("headers", [(), (("content-type", b"application/json"),), BINARY])
def test_what_only_looks_like_an_envelope_stays_what_it_is(
    fields: dict[str, Any], headers: Headers
) -> None:
    """Fields that are not documented are ignored: an event may have any of these."""
    assert read_fields(orjson.dumps(fields), wrapping_of(headers)).fields == fields


def test_an_event_is_no_cloud_event_whatever_its_content_type_says() -> None:
    """It was read as it stands before there were envelopes."""
    event = EVENT | {"specversion": "1.0", "type": "t", "source": "s"}

    assert read_fields(orjson.dumps(event), wrapping_of(STRUCTURED)).fields == event


def problem(value: bytes, headers: Headers = (), wrapping: Wrapping | None = None) -> str:
    with pytest.raises(NoEventError) as caught:
        read_fields(value, wrapping or wrapping_of(headers))
    assert fields_in(value, wrapping_of(headers)).fields == {}
    (found,) = caught.value.problems
    assert "untie" not in str(found)
    return f"{'invalid' if caught.value.is_json else 'undecodable'} {found}"


AVRO = b"\x0eguide-1\x02\x0auntie"
PROTOBUF = b"\x00\x0a\x07guide-1"
_EMPTY = "an envelope has to hold a document; a tombstone is a record without a value"


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        # Cut short
        (FRAME[:3], (), "undecodable the event is cut short: a Schema Registry frame has five"),
        (FRAME, (), "undecodable the event is cut short"),
        (FRAME + PLAIN[:-9], (), "undecodable the event is not JSON in UTF-8 behind a Schema"),
        (connect(EVENT)[:-9], (), "undecodable the event is not JSON in UTF-8"),
        (quoted(PLAIN[:-9]), (), "invalid the event holds text that is not JSON"),
        (connect(PLAIN[:-9].decode()), (), "invalid /payload: holds text that is not JSON"),
        (cloud_event(data=EVENT)[:-9], STRUCTURED, "undecodable the event is not JSON in UTF-8"),
        (cloud_event(data_base64="eyJpZCI6"), STRUCTURED, "invalid /data_base64: holds text that"),
        # Nothing in it
        (FRAME + b"null", (), "invalid the event must be a JSON object, is null; a tombstone is"),
        (connect(None), (), f"invalid /payload: is null: {_EMPTY}"),
        (b'{"schema":{}}', (), f"invalid /payload: is missing: {_EMPTY}"),
        (cloud_event(data=None), STRUCTURED, f"invalid /data: is null: {_EMPTY}"),
        (cloud_event(), STRUCTURED, f"invalid /data: is missing: {_EMPTY}"),
        (quoted(b"null"), (), "invalid the event must be a JSON object, is a string"),
        (quoted(connect(None)), (), f"invalid /payload: is null: {_EMPTY}"),
        # Three deep
        (FRAME + FRAME + FRAME + PLAIN, (), "invalid the event is a Schema Registry frame in 2"),
        (quoted(quoted(quoted(PLAIN))), (), "invalid the event is JSON in a JSON string in 2 env"),
        (FRAME + quoted(connect(EVENT)), (), "invalid the event is Kafka Connect's JSON with"),
        (
            connect({"schema": 1, "payload": {"schema": 1, "payload": EVENT}}), (),
            "invalid /payload/payload: is Kafka Connect's JSON with schema in 2 envelopes; no more",
        ),
        (
            cloud_event(data=orjson.loads(cloud_event(data=orjson.loads(cloud_event(data=EVENT))))),
            STRUCTURED, "invalid /data/data: is a CloudEvent in 2 envelopes",
        ),
        # Two documents
        (FRAME + PLAIN + PLAIN, (), "undecodable the event is not JSON in UTF-8 behind a Schema"),
        (connect([EVENT, EVENT]), (), "invalid /payload: must be a JSON object, is a list; a reco"),
        (
            b"[" + cloud_event(data=EVENT) + b"]",
            (("content-type", b"application/cloudevents-batch+json"),),
            "invalid the event must be a JSON object, is a list: CloudEvents in batch mode",
        ),
        (
            cloud_event(data=EVENT, data_base64="e30="), STRUCTURED,
            "invalid /data_base64: stands beside data: a CloudEvent has one of them",
        ),
        # Not what they say
        (cloud_event(data_base64="{}"), STRUCTURED, "invalid /data_base64: is no base64"),
        (cloud_event(data_base64=7), STRUCTURED, "invalid /data_base64: is no base64"),
        (cloud_event(data="untie"), STRUCTURED, "invalid /data: must be a JSON object, is a stri"),
        (cloud_event(specversion="0.3", data=EVENT), STRUCTURED, "invalid /specversion: must be"),
        (b'{"id":"d","data":{}}', STRUCTURED, "invalid /specversion: must be 1.0: the content"),
        (
            cloud_event(data=EVENT), (),
            "invalid the event looks like a CloudEvent in structured mode, but its content-type "
            "header is missing; set it to application/cloudevents+json",
        ),
        (
            cloud_event(data=EVENT), (("content-type", b"application/json"),),
            "invalid the event looks like a CloudEvent in structured mode, but its content-type "
            "header says 'application/json'; set it",
        ),
        # Other formats
        (FRAME + AVRO, (), "undecodable the event is no JSON behind a Schema Registry frame "
         "(schema 42): a payload in Avro or Protobuf is not read; publish it with"),
        (FRAME + PROTOBUF, (), "undecodable the event is no JSON behind a Schema Registry frame"),
        (AVRO, (("__value_schema_id", b"\x01" + bytes(16)),),
         "undecodable the event is no JSON, and a header names its schema in a Schema Registry"),
        (AVRO, (("content-type", b"application/cloudevents+avro"),),
         "undecodable the event is not JSON in UTF-8 (its content-type says 'application/cloudev"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_envelope_is_told_with_its_place(
    value: bytes, headers: Headers, expected: str
) -> None:
    """Never a tombstone, never an empty document, never text of the document."""
    assert problem(value, headers).startswith(expected)


def test_numbers_that_are_none_are_found_in_an_envelope() -> None:
    """The publisher is answered by the id, and sees the place in what he sent."""
    value = b'{"schema":null,"payload":{"id":"d","quality_score":NaN}}'
    with pytest.raises(NoEventError) as caught:
        read_fields(value)

    assert caught.value.problems == (
        ContractProblem("/payload/quality_score", "is no JSON number (NaN or infinite)"),
    )
    assert caught.value.fields is not None
    assert caught.value.fields.fields["id"] == "d"


def test_numbers_that_are_none_are_found_in_a_text() -> None:
    """Python writes NaN, and its publishers serialize twice."""
    value = connect('{"id":"d","quality_score":NaN}')
    with pytest.raises(NoEventError) as caught:
        read_fields(value)

    assert [str(each) for each in caught.value.problems] == [
        "/payload/quality_score: is no JSON number (NaN or infinite)"
    ]
    assert caught.value.is_json
    assert caught.value.fields is not None
    assert caught.value.fields.fields["id"] == "d"


def test_the_time_of_a_cloud_event() -> None:
    """In binary mode it is a header, and in structured mode a field; what is no date is noted."""
    structured = wrapping_of(STRUCTURED)
    time = "2026-11-22T11:00:00+01:00"

    assert read_fields(PLAIN, wrapping_of(BINARY)).time == NOON
    assert read_fields(cloud_event(data=EVENT, time=time), structured).time == NOON
    odd = read_fields(cloud_event(data=EVENT, time="yesterday"), structured)
    assert (odd.time, len(odd.notes)) == (None, 1)
    assert len(read_fields(PLAIN, wrapping_of((BINARY[0], ("ce_time", b"\xff")))).notes) == 1
    # A header of that name alone is no CloudEvent.
    assert wrapping_of(BINARY[1:]) == Wrapping()
    assert read_fields(PLAIN, UNOPENED).time is None


def test_of_equal_headers_the_first_counts() -> None:
    """As for every header that is read."""
    twice: Headers = (*STRUCTURED, ("content-type", b"text/plain"))

    assert wrapping_of(twice).content_type == "application/cloudevents+json"
    assert wrapping_of(twice[::-1]).structured is False
    assert wrapping_of((("content-type", b"x" * 300), *STRUCTURED)) == Wrapping()


def test_of_an_event_in_a_file_its_content_says_what_it_is() -> None:
    """It has no headers there."""
    assert read_fields(cloud_event(data=EVENT), WITHOUT_HEADERS).fields == EVENT
    assert read_fields(PLAIN, WITHOUT_HEADERS).fields == EVENT


@pytest.mark.parametrize("value", [FRAME + PLAIN, quoted(PLAIN)])
def test_nothing_is_opened_where_that_is_switched_off(value: bytes) -> None:
    """What is in an envelope is then what it was before."""
    with pytest.raises(NoEventError):
        read_fields(value, UNOPENED)
    assert read_fields(connect(EVENT), UNOPENED).fields.keys() == {"schema", "payload"}
    assert read_fields(PLAIN, UNOPENED).fields == EVENT


def test_a_hidden_text_is_counted_before_it_is_parsed() -> None:
    """Outside it is one value; parsed it could take twenty times its size in memory."""
    value = connect("[" + "0," * 5_000 + "0]")
    with pytest.raises(InnerValuesError) as caught:
        read_fields(value, most_values=100)

    assert (caught.value.values, caught.value.pointer) == (5_002, "/payload")
    assert fields_in(value, most_values=100).fields == {}


def test_a_person_sees_what_is_behind_a_frame() -> None:
    """Else it would be shown in base64."""
    assert as_json(FRAME + PLAIN) == EVENT


json_values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from([PLAIN.decode(), "e30="]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["schema", "payload", "data", "data_base64", "specversion", "type",
                         "source", "chunks", "id"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@given(
    front=st.sampled_from([b"", FRAME, FRAME * 2, FRAME[:2]]),
    inside=json_values.map(orjson.dumps) | st.binary(max_size=40),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["content-type", "ce_time", "ce_specversion", "__value_schema_id"]),
            st.sampled_from([b"", b"1.0", b"\xff", STRUCTURED[0][1], b"2026-11-22"]),
        ),
        max_size=4,
    ),
)
@example(b"", b'{"schema":null,"payload":{}}', [])
def test_any_envelope_holds_an_event_or_says_why_not(
    front: bytes, inside: bytes, headers: list[tuple[str, bytes]]
) -> None:
    """Both ways of reading agree, and nothing but `NoEventError` is raised."""
    wrapping = wrapping_of(tuple(headers))
    problems: tuple[ContractProblem, ...] = ()
    found = EventFields({}, time=wrapping.time)
    try:
        found = read_fields(front + inside, wrapping)
    except NoEventError as error:
        problems = error.problems

    assert fields_in(front + inside, wrapping) == found
    # An object without a field is read as one, also in an envelope.
    assert found.fields or problems or b"{}" in inside
