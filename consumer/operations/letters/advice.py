"""What an operator can do next about a dead letter. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.contract.received_letter import Letter
from consumer.model.reason import FailureReason
from consumer.operations.letters.standing import Standing

_BY_REASON: Mapping[FailureReason, str] = {
    FailureReason.UNDECODABLE: "its publisher has to mend it; replaying the same bytes fails again",
    FailureReason.INVALID: "its publisher has to mend it; replaying the same bytes fails again",
    FailureReason.OVERSIZED: "raise the limit that the cause names (DOCUMENT_MAX_…) and replay it, "
    "or have it published smaller",
    FailureReason.UNROUTABLE: "give its technology a workspace ([routing.map], ROUTING_WORKSPACE, "
    "ROUTING_ALLOWED_WORKSPACES) and replay it",
    FailureReason.REJECTED: "if AnythingLLM's limits were changed, replay it: only what is missing "
    "is uploaded; else its publisher has to mend it",
    FailureReason.EXHAUSTED: "look into AnythingLLM's log for why; once that is mended, replay it: "
    "only what is missing is uploaded",
}
_BY_STANDING: Mapping[Standing, str] = {
    Standing.RESOLVED: "nothing: a later result says that it went well",
    Standing.STALE: "nothing: a newer version of the document is stored or deleted",
    Standing.IN_FLIGHT: "wait for the result of its replay",
    Standing.REPLACED: "look at the newest letter of the event",
}


def next_step(letter: Letter, standing: Standing, *, max_replays: int) -> str:
    """One line: what can be done.

    Args:
        letter: which one.
        standing: how it stands.
        max_replays: after so many replays it is parked instead (``REPLAY_MAX_REPLAYS``).
    """
    if standing in _BY_STANDING:
        return _BY_STANDING[standing]
    name = letter.event if letter.is_ours else str(letter.at)
    if letter.unreadable is not None:
        return "find out who wrote it; it can be neither replayed nor parked"
    if standing is Standing.PARKED:
        return f"bring it back with: dlq replay {name} --from parked --yes"
    if letter.other is not None:
        return (
            f"{letter.other.writer} wrote it, not this service: mend what its cause names; "
            f"dlq replay {name} --force --yes publishes the original, or dlq park {name} --yes"
        )
    if not letter.is_ours:
        return f"find out who wrote it; dlq replay {name} --force --yes, or dlq park {name} --yes"
    step = _BY_REASON.get(FailureReason(letter.reason)) if _is_known(letter.reason) else None
    step = f"{step or 'mend the cause and replay it'} (dlq replay {name} --yes)"
    if letter.origin.replays >= max_replays:
        step = f"it came back {letter.origin.replays} times: the next replay parks it; {step}"
    return step


def _is_known(reason: str) -> bool:
    return reason in FailureReason.__members__.values()
