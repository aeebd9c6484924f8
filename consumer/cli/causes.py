"""Why something failed, in the narrow column that a terminal has for it."""

from __future__ import annotations

import re

_REQUEST = re.compile(r"AnythingLLM [A-Z]+ /\S*: ")


def short_cause(cause: str, document: str | None) -> str:
    """What is left of a cause where there is little room: which chunk, and what was said of it.

    The ids of chunks begin with the document's, which has a column of its own, and the request is
    the same in all rows: both would push what tells them apart out of the line.

    >>> short_cause("lantern-care_1: AnythingLLM POST /v1/document/raw-text: answered 422, ...",
    ...     "lantern-care")
    '1: answered 422, ...'

    Args:
        cause: the message of a dead letter, or the errors of a result.
        document: its id; None where it has none.
    """
    return _REQUEST.sub("", cause.replace(f"{document}_", "") if document else cause)
