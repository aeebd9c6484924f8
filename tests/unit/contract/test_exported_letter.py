"""Letters in files: every byte comes back, and nothing else is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.contract.exported_letter import decode_exported, encode_exported
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record, Unreadable
from tests.unit.contract.letters import letter_record

BYTES = st.none() | st.binary(max_size=40)
# Header names are UTF-8 on the wire: no lone surrogates.
NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
RECORDS = st.builds(
    Record,
    at=st.builds(
        Coordinates,
        st.text("abc._-", min_size=1, max_size=249),
        st.integers(0, 2**31 - 1),
        st.integers(0, 2**63 - 1),
    ),
    timestamp_ms=st.integers(-(2**63), 2**63 - 1),
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(NAMES, BYTES), max_size=5).map(tuple),
)


@settings(deadline=None)
@given(RECORDS)
def test_every_byte_comes_back(record: Record) -> None:
    """Null apart from empty, headers in order and as often as they stand there, on one line."""
    line = encode_exported(record)

    assert b"\n" not in line
    assert decode_exported(line) == record


def _fields(**changes: Any) -> bytes:
    fields = orjson.loads(encode_exported(letter_record()))
    return orjson.dumps(
        {name: value for name, value in (fields | changes).items() if value != "gone"}
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"id": "a document"}', "schema_version"),
        (_fields(schema_version="2.0"), "schema_version"),
        (_fields(topic=""), "topic"),
        (_fields(partition=-1), "partition"),
        (_fields(offset="1"), "offset"),
        (_fields(offset=True), "offset"),
        (_fields(timestamp_ms=None), "timestamp_ms"),
        (_fields(key="gone"), "key is missing"),
        (_fields(value="gone"), "value is missing"),
        (_fields(value="not base64!"), "value is not base64"),
        (_fields(value="YWJj\nYWJj"), "value is not base64"),
        (_fields(value=5), "value"),
        (_fields(headers={}), "headers"),
        (_fields(headers=[["a"]]), "headers"),
        (_fields(headers=[[1, None]]), "headers"),
        (_fields(headers=[["a", "!"]]), "headers"),
    ],
)
def test_what_is_no_exported_letter_is_refused(line: bytes, problem: str) -> None:
    """With a reason, and without a byte of what it holds."""
    with pytest.raises(ValueError, match=problem):
        decode_exported(line)


def test_fields_of_later_versions_are_ignored() -> None:
    """1.x only adds."""
    assert decode_exported(_fields(schema_version="1.9", more=1)) == letter_record()


def test_the_example_of_the_contract_is_one() -> None:
    """Whoever writes such files by hand starts from it."""
    text = (Path(__file__).resolve().parents[3] / "schemas" / "README.md").read_text()
    (example,) = re.findall(r"<!-- example: exported -->\n```json\n(.*?)```", text, re.DOTALL)
    record = decode_exported(example.encode())

    assert (record.key, record.value) == (b"guide-1", None)
    assert record.headers == (("dlq.reason", b"invalid"),)


def test_what_can_t_be_read_can_t_be_exported() -> None:
    """An empty record in its place would be replayed as a tombstone."""
    why = Unreadable(FailureReason.UNDECODABLE, "damaged")
    record = Record(Coordinates("t", 0, 0), 0, None, None, unreadable=why)

    with pytest.raises(ValueError, match="t-0@0 can't be read"):
        encode_exported(record)
