"""What of a document is stored, for who has no journey."""

from __future__ import annotations

from consumer.anythingllm.document_upload import compare
from tests.unit.anythingllm.units import VERSION, document, stored


def test_what_can_never_be_sent_is_missing() -> None:
    """Half a surrogate pair has no digest: nothing stored has it, and its upload is refused."""
    whole = document("one", "half \ud800")
    changes = compare(whole, stored(document("one")), VERSION)

    assert (changes.unchanged, changes.missing, changes.stale) == ((0,), (1,), ())
