"""Hints to operators about what works but is probably not what they want."""

from __future__ import annotations

import structlog

from consumer.model.names import Identity, Slug
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_MOST_WORKSPACES = 1_000  # remembered at most; more have the same cause, and the metric has them


class RemintedIds:
    """Warns, once a workspace, that documents come again under new ids.

    A publisher that gives a page a new id whenever it processes it makes a new document each time.
    The former one stays beside it, and every search finds both (schemas/README.md, "Identity and
    key").
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._warned: dict[Slug, None] = {}

    @property
    def workspaces(self) -> tuple[Slug, ...]:
        """The workspaces it warned of, the first one first."""
        return tuple(self._warned)

    def note(self, slug: Slug, document_id: str, stored_as: Identity) -> None:
        """Note a document whose source is stored under another identity, before it is stored.

        Args:
            slug: the workspace.
            document_id: of the document that came.
            stored_as: the identity that its source is stored under (`Index.sharing_source`).
        """
        self._metrics.reminted_documents.inc()
        if slug in self._warned or len(self._warned) >= _MOST_WORKSPACES:
            return
        self._warned[slug] = None
        log.warning(
            "identity.reminted",
            workspace=slug,
            document_id=document_id,
            stored_as=stored_as,
            consequence="both stay stored, and searches find the text twice",
            what_to_do="if publishers make new ids for the same page, set "
            "DOCUMENT_IDENTITY={source_url} and key the input topic by it; if several documents "
            "really share one source, nothing",
        )
