from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.model.document import ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import unit_of
from consumer.model.version import DocumentVersion

DOCUMENT = ProcessedDocument("d1", "T", "kafka", "https://x/{id}", ())
VERSION = DocumentVersion(datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("{id}", "d1"),
        ("{source_url}", "https://x/{id}"),
        ("{technology}/{id}", "kafka/d1"),
        ("v1:{id}{id}", "v1:d1d1"),
        ("{{{id}}}", "{d1}"),
    ],
)
def test_an_identity_is_the_template_filled(text: str, identity: str) -> None:
    """Values go in verbatim: a brace in a URL is no placeholder."""
    template = IdentityTemplate.parse(text)
    assert template.of(DOCUMENT) == identity
    assert template.of_marker(unit_of((), DOCUMENT, VERSION).marker) == identity
    assert template.text == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "blank"),
        ("  ", "blank"),
        ("id", "must use"),
        ("{technology}", "must use"),
        ("{ID}", "uses {ID}"),
        ("{}", "uses {}"),
        ("{0}", "uses {0}"),
        ("{id", "brace"),
        ("id}", "brace"),
        ("{id!r}", "format"),
        ("{id:>10}", "format"),
        ("{id.__class__}", "uses {id.__class__}"),
        ("{title}", "{id}, {source_url}, {technology}"),
    ],
)
def test_a_wrong_template_is_told_with_what_is_allowed(text: str, complaint: str) -> None:
    """Nothing of Python's format language gets through, and no template that merges everything."""
    with pytest.raises(ValueError, match=r"allowed|must use") as caught:
        IdentityTemplate.parse(text)
    assert complaint in str(caught.value)
