"""What an operator can do next about a dead letter. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.contract.received_letter import Letter
from consumer.model.remedy import remedy_for
from consumer.operations.letters.standing import Standing

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
    cure = remedy_for(letter.reason)
    if not cure.is_replayed:  # the command would do nothing
        return f"{cure.step} (to put it aside: dlq park {name} --yes)"
    step = f"{cure.step} (dlq replay {name} --yes)"
    if letter.origin.replays >= max_replays:
        step = f"it came back {letter.origin.replays} times: the next replay parks it; {step}"
    return step
