from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.model.names import TraceId
from consumer.model.record import Headers
from consumer.telemetry.trace import new_span_id, new_trace_id, normalised, trace_id_of, traceparent

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{ID}-00f067aa0ba902b7-01".encode()
NEW = TraceId("f" * 32)


def found(headers: Headers, body: str | None = None) -> TraceId:
    return trace_id_of(headers, body, lambda: NEW)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ((("traceparent", PARENT), ("trace_id", b"1" * 32)), "2" * 32, ID),
        ((("Traceparent", PARENT),), None, ID),
        ((("traceparent", b"nonsense"), ("trace_id", b"1" * 32)), None, "1" * 32),
        ((("traceparent", b"x"), ("traceparent", PARENT)), None, ID),
        ((("x-trace-id", b"1" * 32), ("trace_id", b"2" * 32)), None, "2" * 32),
        ((("correlation-id", b"1" * 32), ("X-Trace-Id", b"2" * 32)), None, "2" * 32),
        ((("correlation-id", b"3" * 32),), "4" * 32, "3" * 32),
        ((), "4" * 32, "4" * 32),
        ((("trace_id", b""),), None, NEW),
        ((("trace_id", b"\xff\xfe"),), None, NEW),
        ((), "0" * 32, NEW),
        ((), None, NEW),
    ],
)
def test_where_a_trace_id_is_looked_for(headers: Headers, body: str | None, expected: str) -> None:
    """traceparent, trace_id, x-trace-id, correlation-id, the body, else a new one."""
    assert found(headers, body) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{ID}-{'0' * 16}-01",
        f"ff-{ID}-00f067aa0ba902b7-01", f"00-{ID}-00f067aa0ba902b7-01-more",
        f"00-{ID.upper()}-00f067aa0ba902b7-01", f"00-{ID}-00f067aa0ba902b7",
        f"00-{ID[:-1]}-00f067aa0ba902b7-01", "", "00", "x" * 10_000,
    ],
)  # fmt: skip
def test_an_invalid_traceparent_does_not_count(text: str) -> None:
    """W3C Trace Context: wrong form, forbidden version, all zeros."""
    assert found((("traceparent", text.encode()),)) == NEW


def test_a_later_version_of_traceparent_counts() -> None:
    """W3C: later versions may add parts at the end."""
    assert found((("traceparent", f"01-{ID}-00f067aa0ba902b7-01-more".encode()),)) == ID


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ID, ID),
        (ID.upper(), ID),
        (f" {ID}\n", ID),
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", ID),
        ("a3ce929d0e0e4736", "0000000000000000a3ce929d0e0e4736"),
        ("", None),
        ("0" * 16, None),
        ("00000000-0000-0000-0000-000000000000", None),
        ("x" * 129, None),
        ("a\r\nX: y", None),
        ("naïve", None),
        ("\x00", None),
    ],
)
def test_foreign_ids_become_32_hex(text: str, expected: str | None) -> None:
    """Hex is taken as it is; other printable text is hashed; the rest is nobody's id."""
    assert normalised(text) == expected


def test_equal_foreign_ids_stay_equal() -> None:
    """Hashing keeps apart what was apart and together what was together, in every process."""
    assert normalised("order-17") == "72a90ea3da8b5dd01bde2f27314e02e2"
    assert normalised("order-18") != normalised("order-17")


@given(st.text(max_size=200), st.binary(max_size=300))
def test_what_comes_out_is_always_safe_to_send(body: str, header: bytes) -> None:
    """Whatever is in headers and body, a header for AnythingLLM can be made of the result."""
    for name in ("traceparent", "trace_id"):
        assert re.fullmatch("[0-9a-f]{32}", found(((name, header),), body))


def test_made_ids_are_wellformed_and_repeatable() -> None:
    """The random source is handed in."""
    trace_id, span_id = new_trace_id(random.Random(1)), new_span_id(random.Random(2))
    assert trace_id == new_trace_id(random.Random(1))
    header = traceparent(trace_id, span_id)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", header)
    assert traceparent(trace_id, span_id, sampled=False).endswith("-00")
    assert found((("traceparent", header.encode()),)) == trace_id
