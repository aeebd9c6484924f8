"""The colours of words that say how something is."""

from __future__ import annotations

GOOD = frozenset(
    {
        "created", "deleted", "done", "exists", "ok", "resolved", "stored", "succeeded",
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
        "double", "failed", "incomplete", "invalid", "missing", "no-dead-letter", "not-found",
        "not-removed", "open", "refused", "unexpected", "wrong",
    }
)  # fmt: skip


def style_of(text: str) -> str:
    """The style that a state is shown in; "" for one without a colour."""
    word = text.strip("( ").lower().partition(" ")[0].rstrip(",:)")
    for style, words in (("green", GOOD), ("yellow", DOUBTFUL), ("red", BAD)):
        if word in words:
            return style
    return ""
