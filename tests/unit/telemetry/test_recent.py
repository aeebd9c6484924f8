"""What the status page is told of the latest results: bounded, and open causes by their shape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from consumer.model.outcome import FailureReason
from consumer.telemetry.recent import MOST_RESULTS, LatestResult, OpenLetters, Recent, short

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def settled(
    identity: str | None = "a", error: str = "", *, minute: int = 0, status: int | None = None
) -> LatestResult:
    return LatestResult(
        at=DAY + timedelta(minutes=minute),
        status="failed" if error else "succeeded",
        identity=identity,
        document_id=identity,
        workspace="docs",
        event_id=f"event of {minute}",
        chunks=3,
        failed=1 if error else 0,
        seconds=1.0,
        dead_letter=FailureReason.REJECTED if error else None,
        http_status=status,
        error=error,
    )


def test_the_latest_results_are_remembered_and_no_more() -> None:
    """A service runs for months."""
    recent = Recent()
    for minute in range(10 * MOST_RESULTS):
        recent.settled(settled(f"d{minute}", minute=minute))

    assert len(recent.results) == MOST_RESULTS
    assert recent.results[-1].identity == f"d{10 * MOST_RESULTS - 1}"
    assert len(recent.letters) == 0


def test_a_cause_is_open_until_its_documents_are_stored() -> None:
    """A later event of the identity that leaves nothing to do ends it; another's does not."""
    recent = Recent()
    for each in (settled("a", "refused"), settled("b", "refused"), settled("c")):
        recent.settled(each)
    (cause,) = recent.letters.causes(10)
    assert (cause.letters, cause.document) == (2, "b")

    recent.settled(settled("a"))
    (cause,) = recent.letters.causes(10)
    assert (cause.letters, cause.document) == (1, "b")

    recent.settled(settled("b"))
    assert recent.letters.causes(10) == []


def test_a_document_that_fails_again_is_one_letter() -> None:
    """The operator has one document to look at."""
    letters = OpenLetters()
    letters.note(settled("a", "refused"))
    letters.note(settled("a", "refused", minute=5))

    (cause,) = letters.causes(10)
    assert (cause.letters, cause.latest) == (1, DAY + timedelta(minutes=5))


def test_causes_are_told_apart_by_what_does_not_differ_by_document() -> None:
    """Ids and numbers make no other cause; the HTTP status does. Most letters first."""
    letters = OpenLetters()
    for n in range(3):
        letters.note(settled(f"d{n}", f"d{n}_7: chunk {n} is {n * 100} bytes too long", minute=n))
    letters.note(settled("x", "refused", status=403))
    letters.note(settled("y", "refused", status=422))

    found = [(each.letters, each.http_status) for each in letters.causes(10)]
    assert found == [(3, None), (1, 403), (1, 422)]
    assert len(letters.causes(2)) == 2


def test_what_has_no_identity_is_remembered_by_its_event() -> None:
    """Undecodable records have none; each of them is a letter of its own."""
    letters = OpenLetters()
    for minute in (1, 2):
        letters.note(settled(None, "no JSON", minute=minute))

    assert len(letters) == 2


def test_letters_are_forgotten_beyond_their_bound_and_that_is_told() -> None:
    """A bad release upstream may dead-letter a million documents."""
    letters = OpenLetters(most=3)
    for n in range(5):
        letters.note(settled(f"d{n}", "refused"))

    assert (len(letters), letters.forgotten) == (3, 2)
    assert [each.document for each in letters.causes(10)] == ["d4"]


@pytest.mark.parametrize(("text", "length"), [("x" * 200, 200), ("x" * 10_000, 203)])
def test_texts_are_cut(text: str, length: int) -> None:
    """They come from events and servers, and may be megabytes."""
    assert len(short(text)) == length
