"""``python -m consumer.settings FILE`` writes the table of settings into a page."""

from __future__ import annotations

import sys
from pathlib import Path

from consumer.settings.table import settings_table

BEGIN = "<!-- settings: made by `make settings-table` -->\n"
END = "<!-- /settings -->\n"


def with_table(page: str) -> str:
    """The page with the table of today.

    Raises:
        ValueError: the page lacks the marks.
    """
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page lacks {BEGIN.strip()} or {END.strip()}")
    return before + BEGIN + settings_table() + END + after


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
