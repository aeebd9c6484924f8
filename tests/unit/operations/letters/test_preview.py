from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contract.reference import encode_reference, reference_to
from consumer.model.record import Coordinates, Record
from consumer.operations.letters.preview import preview_of, readable, shortened

PLACE = Coordinates("documents", 0, 1)


@given(value=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_have_a_short_preview(value: bytes) -> None:
    """Nothing is raised, whatever a publisher wrote."""
    assert len(shortened(value)) <= 361
    assert len(readable(value, 20)) <= 21


@pytest.mark.parametrize("failed", [(), ("c7",), ("c7", "c3", "gone")])
def test_the_chunks_that_failed_come_first(failed: tuple[str, ...]) -> None:
    """Two of them, in the document's order; long texts are cut."""
    chunks = [{"id": f"c{n}", "content": "x" * 900} for n in range(9)]
    text = shortened(orjson.dumps({"id": "d", "chunks": chunks}), failed)
    shown = [n for n in range(9) if f'"c{n}"' in text]
    assert shown == {0: [0, 1], 1: [0, 7], 3: [3, 7]}[len(failed)]
    assert text.endswith('"… 7 more"]}')
    assert "x" * 71 not in text


def test_deep_and_broad_values_are_cut() -> None:
    """What others wrote need not look like a document."""
    deep = b"[" * 900 + b"]" * 900
    broad = orjson.dumps({f"f{n}": n for n in range(500)})
    assert shortened(deep) == '[[[["…"]]]]'
    assert shortened(broad).endswith('"…": "488 more"}')
    assert shortened(b'"' + b"y" * 2_000_000 + b'"').endswith("y…")


def test_a_letter_by_reference_shows_what_it_kept() -> None:
    """Where its original is gone; a tombstone and a letter that is gone show nothing."""
    original = Record(PLACE, 1, b"k", b"begin \x00 of " * 100, ())
    value = encode_reference(reference_to(original), headers_kept=True)
    letter = Record(PLACE, 2, b"k", value, ())
    shown = preview_of(None, letter, ())
    assert shown is not None
    assert shown.startswith("begin \x00 of begin")
    assert shown.endswith("…")
    assert preview_of(Record(PLACE, 1, b"k", None, ()), letter, ()) is None
    assert preview_of(None, None, ()) is None
    assert preview_of(None, Record(PLACE, 2, b"k", b'{"preview_base64": "%"}', ()), ()) is None
