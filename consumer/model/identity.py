"""Identity: which events speak of the same document (schemas/README.md, "Identity and key")."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.model import template
from consumer.model.document import ProcessedDocument
from consumer.model.marker import Marker
from consumer.model.names import Identity

PLACEHOLDERS = ("id", "source_url", "technology")


@dataclass(frozen=True, slots=True)
class IdentityTemplate:
    """How an identity is made of a document's fields; `parse` is the only way to make one."""

    template: template.Template

    @classmethod
    def parse(cls, text: str) -> IdentityTemplate:
        """Check the value of DOCUMENT_IDENTITY.

        Raises:
            ValueError: the message completes "DOCUMENT_IDENTITY ..." and says what is allowed.
        """
        parsed = template.parse(text, PLACEHOLDERS)
        if not parsed.placeholders & {"id", "source_url"}:
            # Every event of a technology would replace every other one.
            raise ValueError("must use {id} or {source_url}: all documents would be the same one")
        return cls(parsed)

    @property
    def text(self) -> str:
        """The template as it was written."""
        return self.template.text

    def of(self, document: ProcessedDocument) -> Identity:
        """The identity of a document."""
        return self._of_fields(
            document_id=document.id, source_url=document.source_url, technology=document.technology
        )

    def of_marker(self, marker: Marker) -> Identity:
        """The identity of the document whose chunks a marker names."""
        return self._of_fields(
            document_id=marker.document_id,
            source_url=marker.source_url,
            technology=marker.technology,
        )

    def of_readable(
        self, *, document_id: str | None, source_url: str | None, technology: str | None
    ) -> Identity | None:
        """The identity of an event that is read in part; None where a part it needs is missing."""
        fields = {"id": document_id, "source_url": source_url, "technology": technology}
        known = {name: value for name, value in fields.items() if value is not None}
        if not self.template.placeholders <= known.keys():
            return None
        return Identity(self.template.fill(dict.fromkeys(PLACEHOLDERS, "") | known))

    def _of_fields(self, *, document_id: str, source_url: str, technology: str) -> Identity:
        fields = {"id": document_id, "source_url": source_url, "technology": technology}
        return Identity(self.template.fill(fields))
