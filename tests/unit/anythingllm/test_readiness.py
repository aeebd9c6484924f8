"""Which workspace needs no proof that it takes concurrent uploads."""

from __future__ import annotations

from consumer.anythingllm.models import DocumentRow, Workspace, WorkspaceListing
from consumer.anythingllm.readiness import is_in_use
from consumer.anythingllm.sentinel import sentinel_source
from tests.unit.anythingllm.units import NOW, row


def test_in_use_is_a_workspace_with_a_settled_document() -> None:
    """Young documents and sentinels of any age do not prove that the table is there to stay."""

    def listing(*rows: DocumentRow) -> WorkspaceListing:
        return WorkspaceListing(Workspace(1, "w", "w"), rows, NOW)

    assert not is_in_use(listing())
    assert not is_in_use(listing(row("x", age=60), row(sentinel_source("s"), age=9999)))
    assert not is_in_use(listing(DocumentRow("l", "x", "", "no date")))
    assert is_in_use(listing(row("x", age=61)))
