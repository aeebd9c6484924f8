"""The simulator's pure parts: names, splitter, dates, embedder, journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from consumer.sandbox.simulator import Journal, embedder, names, text

NOW = datetime(2026, 11, 22, 18, 14, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Docs Alpha", "docs-alpha"),
        ("docs_gamma.v2 (x)!", "docs_gamma-dot-v2-x-bang"),
        ("Größe & Straße", "grosse-and-strasse"),
        ("UPPER_case-Name", "upper_case-name"),
        ("c++", "c-plus-plus"),
        ("日本語", ""),
        ("already_a-slug-7", "already_a-slug-7"),
    ],
)
def test_workspace_slugs(name: str, slug: str) -> None:
    """Punctuation is spelt out, letters are folded to ASCII, the rest is dropped."""
    assert names.workspace_slug(name) == slug


@pytest.mark.parametrize(
    ("title", "slug", "in_file"),
    [
        ("Report.v2.final.pdf", "report-v2-final", "report-v2-final"),
        ("doc.7", "doc", "doc"),
        ("doc-123#chunk:7", "doc-123chunk:7", "doc-123chunk7"),
        ("a:b*c|d", "a:b*cord", "abcord"),
        ("日本語のタイトル", "", ""),
    ],
)
def test_titles(title: str, slug: str, in_file: str) -> None:
    """A title loses what follows its last dot; file names lose more than titles."""
    assert (names.title_slug(title), names.file_slug(title)) == (slug, in_file)


def test_the_longest_title_has_209_bytes() -> None:
    """File names end at 255 bytes."""
    assert names.fits_file_system("x" * 209)
    assert not names.fits_file_system("x" * 210)


def test_splitting_is_that_of_the_recording() -> None:
    """1,000 characters with an overlap of 20, cut at spaces: lengths and ends as measured."""
    whales = "".join(f"sentence{number} about whales. " for number in range(300))[:5000]
    pieces = text.split(whales)
    assert [len(piece) for piece in pieces] == [1000, 999, 992, 993, 999, 100]
    assert pieces[1].startswith("whales. sentence40 about")
    assert [len(piece) for piece in text.split("w" * 950)] == [950]
    assert [len(piece) for piece in text.split("word " * 200)] == [999]
    assert [len(piece) for piece in text.split("word " * 200 + "w")] == [999, 21]


def test_splitting_survives_a_word_without_end() -> None:
    """Text without any separator is cut between characters, nothing of it is dropped."""
    pieces = text.split("x" * 25_000)
    assert max(map(len, pieces)) == 1000
    assert sum(map(len, pieces)) >= 25_000


@pytest.mark.parametrize("blank", ["", " ", " \n\t "])
def test_blank_text_has_no_pieces(blank: str) -> None:
    """Nothing to embed, which AnythingLLM does not tell."""
    assert text.split(blank) == []


@pytest.mark.parametrize(
    ("epoch_ms", "shown"),
    [
        (1_700_000_000_000, "11/14/2023, 10:13:20 PM"),
        (1_700_000_000, "1/20/1970, 4:13:20 PM"),
        (0, "1/1/1970, 12:00:00 AM"),
        (None, "11/22/2026, 6:14:31 PM"),
        (1e30, "Invalid Date"),
    ],
)
def test_dates_are_shown_in_american(epoch_ms: float | None, shown: str) -> None:
    """Milliseconds become a locale string to the second; no date means now."""
    assert text.locale_date(epoch_ms, NOW) == shown


def test_the_prefix_names_title_date_and_link() -> None:
    """Only ``link://`` chunk sources get a line."""
    assert "source: https://x/" in text.header("t.txt", "d", "link://https://x/")
    assert "\nsource: " not in text.header("t.txt", "d", "other")


def test_equal_texts_are_nearest_and_strangers_are_at_one() -> None:
    """Distance 0 for the text itself whatever its prefix, exactly 1 for nothing in common."""
    stored = embedder.embed(text.header("t.txt", "d", "") + "Whales sing in the sea.")
    same = embedder.distance(embedder.embed("Whales sing in the sea.").as_query(), stored)
    part = embedder.distance(embedder.embed("sing in").as_query(), stored)
    other = embedder.distance(embedder.embed("zebra").as_query(), stored)
    assert same == pytest.approx(0, abs=0.01)
    assert same < part < other == 1.0
    assert len(stored.dense()) == embedder.DIMENSION


def test_the_score_of_nothing_in_common_is_one() -> None:
    """AnythingLLM's mistake is kept: a client must go by distance."""
    assert embedder.score(1.0) == 1.0
    assert embedder.score(0.25) == 0.75


async def test_the_journal_is_in_the_file_before_anybody_is_told(tmp_path: Path) -> None:
    """A checker in another process sees every entry at once, appended to what was there."""
    path = tmp_path / "journal.ndjson"
    path.write_bytes(b'{"action":"older"}\n')
    journal = Journal(lambda: 5.0, path)
    journal.record("document.stored", location="x")
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    journal.close()
    assert lines == [
        {"action": "older"},
        {"seq": 1, "at": 5.0, "action": "document.stored", "location": "x"},
    ]


async def test_waiting_for_an_entry_that_does_not_come_ends() -> None:
    """A test that waits for the wrong thing fails with a time-out, it never hangs."""
    journal = Journal(lambda: 0.0)
    journal.record("probe.auth")
    assert len(await journal.wait_for("probe.auth")) == 1
    with pytest.raises(TimeoutError):
        await journal.wait_for("probe.auth", 2, seconds=0.01)
