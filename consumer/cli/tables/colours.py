"""The colours of words that say how something is."""

from __future__ import annotations

GOOD = frozenset(
    {
        "answered", "created", "deleted", "done", "exists", "ok", "resolved", "stored", "succeeded",
        "superseded",
    }
)  # fmt: skip
DOUBTFUL = frozenset(
    {
        "dead-letter", "in", "interrupted", "newer", "parked", "partial", "planned", "replaced",
        "running", "settling", "stale", "waiting",
    }
)  # fmt: skip
BAD = frozenset(
    {
        "double", "failed", "incomplete", "invalid", "listed-twice", "missing", "moved",
        "no-dead-letter", "not-found", "not-removed", "old-sentinel", "open", "orphaned-file",
        "refused", "shared-collection", "short-listing", "unexpected", "unsearchable",
        "vectors-gone", "vectors-without-row", "wrong",
    }
)  # fmt: skip


def style_of(text: str) -> str:
    """The style that a state is shown in; "" for one without a colour.

    Its first word decides. What stands in brackets is a note: worth knowing, and perhaps as it
    should be.
    """
    if text.startswith("("):
        return "yellow"
    word = text.lower().partition(" ")[0].rstrip(",:")
    for style, words in (("green", GOOD), ("yellow", DOUBTFUL), ("red", BAD)):
        if word in words:
            return style
    return ""
