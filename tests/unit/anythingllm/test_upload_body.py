from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.anythingllm.sentinel import is_sentinel, sentinel_source
from consumer.anythingllm.upload_body import (
    PIECE,
    PIECE_OVERLAP,
    TITLE_BYTES,
    pieces,
    safe_title,
    upload_body,
    with_blanks,
)
from consumer.model.blank import is_blank
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import Unit, decode_marker, unit_of
from consumer.model.names import Slug
from consumer.model.version import DocumentVersion


def _unit(title: str = "A title", url: str = "https://example.com/a?b=c") -> Unit:
    chunk = Chunk("c1", "text of the chunk", 0)
    document = ProcessedDocument("d1", title, "Python 3", url, (chunk,))
    return unit_of((chunk,), document, DocumentVersion(datetime(2026, 1, 2, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("title", "safe"),
    [
        ("plain title", "plain title"),
        ("Report.v2.final.pdf", "Report v2 final pdf"),
        ("a/b/../c\\d", "a b c d"),
        ("Title (v1) + more & stuff!", "Title (v1) + more & stuff!"),
        ("line\nbreak\ttab\x00nul", "line break tab nul"),
        ("Größe & Straße", "Größe & Straße"),
        ("Привет", "Привет document"),
        ("日本語のタイトル", "日本語のタイトル document"),
        ("🎉🎉", "document"),
        ("...", "document"),
        ("   ", "document"),
        ("", "document"),
        ("half a pair \ud800", "half a pair"),
    ],
)
def test_a_title_stays_recognisable(title: str, safe: str) -> None:
    """AnythingLLM drops what follows the last dot, and what it can't spell: so neither is sent."""
    assert safe_title(title) == safe


@given(st.text(max_size=600))
def test_any_title_is_non_empty_dotless_and_short_enough_for_a_file_name(title: str) -> None:
    """Over 209 bytes as a slug AnythingLLM answers 500; without a title 422."""
    safe = safe_title(title)

    assert safe.strip()
    assert "." not in safe
    spelt = sum(8 if ch in "$%&<>|" else max(len(ch.encode()), 1) for ch in safe)
    assert spelt <= TITLE_BYTES


def test_what_is_uploaded() -> None:
    """The text as it is; marker, human title, technology verbatim; a fixed time of publication."""
    unit = _unit("Report.v2.pdf")
    body = upload_body(Slug("docs"), unit, unit.marker.encode())

    assert body["textContent"] == "text of the chunk"
    assert body["addToWorkspaces"] == "docs"
    metadata = body["metadata"]
    assert decode_marker(metadata.pop("docSource")) == unit.marker
    assert metadata == {
        "title": "Report v2 pdf",
        "description": "Report.v2.pdf",
        "docAuthor": "Python 3",
        "chunkSource": "link://https://example.com/a?b=c",
        "published": 1767312000000,
    }


@pytest.mark.parametrize(
    "url",
    ["git@host:repo", "youtube://x", "file:///etc", "https://", "http://[", "https://a/\nb", ""],
)
def test_only_a_web_address_becomes_a_link(url: str) -> None:
    """Other schemes mean something to AnythingLLM, and a line break would get into the text."""
    unit = _unit(url=url)

    assert "chunkSource" not in upload_body(Slug("docs"), unit, "")["metadata"]


def test_a_sentinel_is_known_and_is_no_chunk_of_ours() -> None:
    """Sentinels are never listed as stored, chunks never swept away as sentinels."""
    assert is_sentinel(sentinel_source("abc"))
    assert decode_marker(sentinel_source("abc")) is None
    assert not is_sentinel(_unit().marker.encode())


@given(st.text("ab \n", max_size=4_000), st.integers(0, 4_000))
def test_every_passage_is_whole_in_a_piece(text: str, at: int) -> None:
    """Poison that is cut in two would pass, and the workspace would be blamed for it."""
    passage = text[at : at + PIECE_OVERLAP].strip()

    assert not passage or any(passage in piece for piece in pieces(text))


@given(st.text(max_size=4_000))
def test_pieces_are_small_and_not_blank(text: str) -> None:
    """Beyond the server's size an embedder may refuse what it takes in an upload."""
    assert all(0 < len(piece) <= PIECE for piece in pieces(text))
    assert bool(pieces(text)) == (not is_blank(text))


@pytest.mark.parametrize(
    ("length", "count"), [(1, 1), (1_000, 1), (1_001, 2), (1_800, 2), (1_801, 3), (25_000, 31)]
)
def test_a_text_makes_as_few_pieces_as_can_be(length: int, count: int) -> None:
    """Each costs an embedding."""
    assert len(pieces("x" * length)) == count


@pytest.mark.parametrize(
    "text",
    [
        "x" * 3_000,
        "words between blanks and \U0001f600 " * 90,
        "\u6f22" * 3_000,
        "\U0001f600" * 250,
    ],
)
def test_a_text_that_is_cut_nowhere_in_a_character_stays_as_it_is(text: str) -> None:
    """Most are never changed."""
    assert with_blanks(text) == text


@given(st.text(st.sampled_from("x\u6f22\U0001f600\U00020000 \n"), max_size=3_000))
def test_with_blanks_no_part_is_long_and_nothing_else_changes(text: str) -> None:
    """Whatever is cut at blanks is cut between whole characters then."""
    changed = with_blanks(text)

    assert changed.replace(" ", "") == text.replace(" ", "")
    for run in changed.split():
        assert max(run) <= "\uffff" or len(run.encode("utf-16-le")) <= 1_000
