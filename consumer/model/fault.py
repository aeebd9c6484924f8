"""Whose fault a failure is: decided once, where it is seen, and carried from there on."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Fault(StrEnum):
    """The four answers to "whose fault is it?" (consumer/README.md, "Whose fault").

    THEIRS    an outage: it never counts against a document; the request is tried again for ever.
    BUSY      AnythingLLM asks for time (429, Retry-After): everybody waits, and nothing counts.
    DOCUMENT  a definite refusal of this very content (422, 413): a dead letter, no retry.
    UNCLEAR   it could be either (500, timeout, not embedded): counts an attempt of that chunk.
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
    """An operation towards AnythingLLM failed; this is all that has to be known to decide.

    Stations decide by these fields alone; they never look at statuses or exception classes.

    Args:
        message: one line for a reader at night; never a secret, a response body or document text.
        fault: whose fault it is.
        ambiguous: True when the request may still take effect: its bytes went out, and no answer
            came that rules it out. Repeating an ambiguous upload without looking first makes a
            double.
        http_status: of the answer, where there was one.
        retry_after: seconds to wait before the next try, where AnythingLLM asked for it.

    Attributes:
        pending: nothing was tried, because an earlier request may still take effect. This says
            nothing about the state of AnythingLLM.
        unanswered: nobody answered: the connection broke, or the time for it was over.
        unproven: it is over, and nobody knows whether it took effect, because the answer may not
            have been AnythingLLM's. Look before repeating it.
        by_intermediary: something between us and AnythingLLM (a proxy, a firewall) answered, and
            not because it was tired of waiting. Where only one document meets that, it is its own.
        not_there: nobody was there to answer: no connection, or it broke, or a proxy says so.
        cut_off: the same, after the request had left. A server that dies of it looks like this.
        beside: how many other requests of ours were under way when it failed; None: not known.
        workspace_gone: the workspace is not there any more, so nothing known of it holds.
        last_word: what is said of it where nothing is tried any more, beside the name of what
            failed: without that name, and without what would come next. None: the message.
        left: locations that a removal was refused to touch (403, say, though the key is right). All
            others that it was given are gone. One such answer may pass (`resilience.refusals`).
    """

    fault: Fault = Fault.UNCLEAR
    pending: bool = False
    unanswered: bool = False

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
        self.unproven = False
        self.by_intermediary = False
        self.not_there = False
        self.cut_off = False
        self.beside: int | None = None
        self.workspace_gone = False
        self.last_word: str | None = None
        self.left: tuple[str, ...] = ()

    @property
    def in_the_end(self) -> str:
        """What a dead letter says: of what would come next nothing, or a reader waits for it."""
        return self.message if self.last_word is None else self.last_word

    @property
    def may_be_its_texts(self) -> bool:
        """Whether what was sent may be to blame: by the server's answer, silence, or a proxy's."""
        if self.pending:
            return False
        return self.fault.is_counted or (self.fault is Fault.THEIRS and self.by_intermediary)

    def without_past(self) -> Self:
        """The same without its traceback and causes.

        To be kept, or raised again for others: the frames of the first one hold what was half
        read, which may be all of a workspace.
        """
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        return other
