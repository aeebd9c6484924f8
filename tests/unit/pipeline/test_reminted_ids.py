"""Hints: said once a workspace, counted every time, remembered in bounded memory."""

from __future__ import annotations

from structlog.testing import capture_logs

from consumer.model.names import Identity, Slug
from consumer.pipeline.reminted_ids import RemintedIds
from consumer.telemetry.metrics import PREFIX, Metrics


def test_reminted_ids_are_said_once_a_workspace_and_always_counted() -> None:
    """A publisher that makes new ids makes them for every page: one line is enough."""
    metrics = Metrics()
    hints = RemintedIds(metrics)
    with capture_logs() as lines:
        for slug, id_ in (("docs", "new-1"), ("docs", "new-2"), ("more", "new-3")):
            hints.note(Slug(slug), id_, Identity("old"))

    assert [(line["workspace"], line["document_id"], line["stored_as"]) for line in lines] == [
        ("docs", "new-1", "old"),
        ("more", "new-3", "old"),
    ]
    assert {line["event"] for line in lines} == {"identity.reminted"}
    assert "DOCUMENT_IDENTITY={source_url}" in lines[0]["what_to_do"]
    assert hints.workspaces == ("docs", "more")
    assert metrics.registry.get_sample_value(f"{PREFIX}_reminted_documents_total") == 3


def test_what_is_remembered_is_bounded() -> None:
    """Slugs come from events: whoever invents them must not fill the memory or the log."""
    hints = RemintedIds(Metrics())
    with capture_logs() as lines:
        for number in range(1_500):
            hints.note(Slug(f"w-{number}"), "new", Identity("old"))

    assert len(lines) == len(hints.workspaces) == 1_000
