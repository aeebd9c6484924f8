"""``python -m consumer.telemetry FILE`` writes the table of metrics into a page."""

from __future__ import annotations

import sys
from pathlib import Path

from consumer.telemetry.metrics_table import metrics_table

BEGIN = "<!-- metrics: made by `make metrics-table` -->\n"
END = "<!-- /metrics -->\n"


def with_table(page: str) -> str:
    """The page with the table of today.

    Raises:
        ValueError: the page lacks the marks.
    """
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    return before + BEGIN + metrics_table() + END + after


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
