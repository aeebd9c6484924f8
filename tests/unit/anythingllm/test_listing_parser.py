"""The listing parser: rows as they arrive, and nothing believed that is not whole."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.anythingllm.listing_parser import ListingParser
from consumer.anythingllm.models import DocumentRow, Workspace
from consumer.model.names import Location, Slug

SLUG = Slug("docs")


def _document(number: int, **fields: Any) -> dict[str, Any]:
    metadata = {"docSource": f"source {number}", "description": f"Title {number} é"}
    return {
        "id": number,
        "docpath": f"custom-documents/raw-{number}.json",
        "filename": f"raw-{number}.json",
        "metadata": orjson.dumps(metadata).decode(),
        "pinned": False,
        "createdAt": "2026-03-01T00:00:00.000Z",
        **fields,
    }


def _answer(*documents: Any, **fields: Any) -> dict[str, Any]:
    workspace = {"id": 7, "name": "Docs", "slug": SLUG, "documents": list(documents), "threads": []}
    return {"workspace": [{**workspace, **fields}]}


def _taken(raw: bytes, piece: int = 2**16) -> tuple[Workspace | None, list[DocumentRow]]:
    parser = ListingParser(SLUG)
    rows: list[DocumentRow] = []
    for start in range(0, len(raw), piece):
        rows += parser.feed(raw[start : start + piece])
    return parser.end(), rows


@given(st.integers(1, 400), st.integers(0, 5))
def test_pieces_of_any_size_give_the_same_rows(piece: int, count: int) -> None:
    """The network cuts where it likes, in the middle of a character as well."""
    raw = orjson.dumps(_answer(*(_document(number) for number in range(count))))
    workspace, rows = _taken(raw, piece)

    assert workspace == Workspace(7, "Docs", SLUG)
    assert rows == [
        DocumentRow(
            Location(f"custom-documents/raw-{number}.json"),
            f"source {number}",
            f"Title {number} é",
            "2026-03-01T00:00:00.000Z",
        )
        for number in range(count)
    ]


def test_rows_are_given_away_while_the_rest_is_still_to_come() -> None:
    """Held until the end they would be in memory all at once."""
    raw = orjson.dumps(_answer(*(_document(number) for number in range(100))))
    parser = ListingParser(SLUG)

    assert len(parser.feed(raw[: len(raw) // 2])) > 40


def test_a_listing_cut_anywhere_is_not_believed() -> None:
    """Half a listing read as a whole one would upload the other half again."""
    raw = orjson.dumps(_answer(_document(1), _document(2)))
    for end in range(len(raw)):
        with pytest.raises(ValueError, match="cut short"):
            _taken(raw[:end])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        "workspace",
        {"workspace": None},
        {"workspace": {}},
        {"workspace": {"item": {"id": 7, "name": "Docs", "slug": SLUG, "documents": []}}},
        {"workspace": [None]},
        {"workspace": [[]]},
        {"workspace": [{}]},
        _answer(documents=None),
        _answer(documents={"item": _document(1)}),
        _answer(slug="other"),
        _answer(slug=None),
        _answer(name=7),
        _answer(id=None),
        _answer(id="seven"),
        _answer(None),
        _answer("row"),
        _answer([_document(1)]),
        _answer({}),
        _answer(_document(1, docpath=None)),
        _answer(_document(1, docpath={"docpath": "x"})),
        {"workspace": _answer()["workspace"] * 2},
    ],
    ids=str,
)
def test_another_shape_is_not_believed(answer: Any) -> None:
    """Nor is another workspace's listing: what is missing there would be uploaded here again."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        _taken(orjson.dumps(answer))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"workspace":[]}{"workspace":[]}',
        b'{"workspace":[]}<html>',
        b'{"workspace":[],"workspace":[]}',
        b'{"workspace":[{"id":NaN}]}',
        b'{"workspace":["\xff"]}',
        b"<html>",
        b"[" * 1_000_000,
        b'{"workspace":' * 1_000_000,
    ],
    ids=lambda raw: raw[:30].decode(errors="replace"),
)
def test_what_is_no_json_object_is_not_believed_and_not_quoted(raw: bytes) -> None:
    """The message is logged, so it must hold nothing of the answer."""
    with pytest.raises((TypeError, ValueError)) as raised:
        _taken(raw)

    assert "workspace" not in str(raised.value).replace("another workspace", "")
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def test_no_workspace_of_that_name_is_an_empty_list() -> None:
    """AnythingLLM 1.16 answers a missing workspace with 200 and an empty list."""
    assert _taken(b'{"workspace":[]}') == (None, [])


@pytest.mark.parametrize("metadata", [None, 7, "{", "[]", '"x"', {"docSource": "s"}, [1]])
def test_metadata_that_others_wrote_makes_a_row_that_is_not_ours(metadata: Any) -> None:
    """A foreign row must not make the whole workspace unreadable."""
    _, [row] = _taken(orjson.dumps(_answer(_document(1, metadata=metadata))))

    assert (row.location, row.doc_source) == ("custom-documents/raw-1.json", "")


def test_fields_that_later_versions_add_are_skipped() -> None:
    """Readers ignore what they do not know, whatever it is."""
    more = {"new": {"docpath": "x", "list": [{"metadata": 1}, [[]]]}}
    workspace, rows = _taken(
        orjson.dumps({"more": [1, {}], **_answer(_document(1, **more), **more)})
    )

    assert workspace is not None
    assert [row.location for row in rows] == ["custom-documents/raw-1.json"]
