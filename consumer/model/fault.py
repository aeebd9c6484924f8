"""Whose fault a failure is: decided once, where it is seen, and carried from there on."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """The four answers to "whose fault is it?" (consumer/README.md, "Whose fault").

    THEIRS    an outage: never counts against a document; wait and try again for ever.
    BUSY      they asked for time (429, Retry-After): a clock for everybody; counts nothing.
    DOCUMENT  a definite refusal of this very content (422, 413): dead letter, no retry.
    UNCLEAR   could be either (500, timeout, not embedded): counts an attempt of that chunk.
    """

    THEIRS = "theirs"
    BUSY = "busy"
    DOCUMENT = "document"
    UNCLEAR = "unclear"

    @property
    def is_counted(self) -> bool:
        """Whether it may count against a document: an outage and a wish for time never do."""
        return self in (Fault.DOCUMENT, Fault.UNCLEAR)


class Failure(Exception):
    """An operation towards AnythingLLM failed, and this is all anybody needs to know to decide.

    Stations decide by these fields alone; they never look at statuses or exception classes.

    Args:
        message: one line for a reader at night; never a secret, a response body or document text.
        fault: whose fault it is.
        ambiguous: true when the request may still take effect (its bytes went out and no complete
            answer came back). Repeating an ambiguous upload without looking first makes a double.
        http_status: the answer's status, where there was an answer.
        retry_after: seconds to wait before the next try, where somebody said so.

    Attributes:
        pending: nothing was tried: an earlier request may still take effect. It says nothing about
            how AnythingLLM is.
        workspace_gone: the workspace is not there any more: nothing known of it holds.
        left: locations that a removal was forbidden to touch: they stay, and asking again would
            change nothing. All others that it was given are gone.
    """

    fault: Fault = Fault.UNCLEAR
    pending: bool = False

    def __init__(
        self,
        message: str,
        *,
        fault: Fault | None = None,
        ambiguous: bool = False,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fault = type(self).fault if fault is None else fault
        self.ambiguous = ambiguous
        self.http_status = http_status
        self.retry_after = retry_after
        self.workspace_gone = False
        self.left: tuple[str, ...] = ()
