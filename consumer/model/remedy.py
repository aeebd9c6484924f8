"""Whether the same event can fare better when it is tried once more, by the reason it failed for.

Some reasons are foreseen: the service refuses the event without asking anybody, so whether it would
do so again can be told beforehand, from the event's bytes and the settings of today. For the others
AnythingLLM has to be asked, and nobody knows before. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.model.reason import FailureReason


@dataclass(frozen=True, slots=True)
class Cure:
    """What is to be done about one reason.

    Args:
        step: what a person does, in one line.
        helps: why another try can help, where it is not refused as before.
        fails: why it can't, where it is; None where nobody can foresee that.
        is_replayed: whether the step ends with replaying the same bytes.
    """

    step: str
    helps: str
    fails: str | None = None
    is_replayed: bool = True


@dataclass(frozen=True, slots=True)
class Outlook:
    """Whether another try can help, and why it can, or can't."""

    can_help: bool
    why: str


_MEND = "its publisher has to mend it; replaying the same bytes fails again"
_LIMIT = (
    "raise the limit that the cause names (DOCUMENT_MAX_…) and replay it, "
    "or have it published smaller"
)
_ROUTE = (
    "give its technology a workspace ([routing.map], ROUTING_WORKSPACE, "
    "ROUTING_ALLOWED_WORKSPACES) and replay it"
)

REMEDIES: Mapping[FailureReason, Cure] = {
    FailureReason.UNDECODABLE: Cure(_MEND, "it can be read by now", _MEND, is_replayed=False),
    FailureReason.INVALID: Cure(_MEND, "it keeps the contract by now", _MEND, is_replayed=False),
    FailureReason.OVERSIZED: Cure(_LIMIT, "it keeps to the limits by now", _LIMIT),
    FailureReason.UNROUTABLE: Cure(_ROUTE, "it has a workspace by now", _ROUTE),
    FailureReason.REJECTED: Cure(
        "if AnythingLLM's limits were changed, replay it: only what is missing "
        "is uploaded; else its publisher has to mend it",
        "if AnythingLLM's limits were changed",
    ),
    FailureReason.EXHAUSTED: Cure(
        "look into AnythingLLM's log for why; once that is mended, replay it: "
        "only what is missing is uploaded",
        "if what failed in AnythingLLM, or before it, is mended",
    ),
}
"""The one table of reasons: what an operator is advised, and what a plan says."""

NOT_LOOKED_AT = "nobody knows: its bytes are not there to be looked at"
_UNKNOWN = Cure("mend the cause and replay it", "nobody knows: its reason is not known here")


def remedy_for(reason: str) -> Cure:
    """What is to be done; also for a reason that only a later version knows."""
    return REMEDIES[FailureReason(reason)] if _is_known(reason) else _UNKNOWN


def is_foreseen(reason: str) -> bool:
    """Whether the event's bytes and the settings tell if it is refused as before."""
    return remedy_for(reason).fails is not None


def outlook(reason: str, *, is_refused: bool | None) -> Outlook:
    """Whether another try can help.

    Args:
        reason: why the event failed.
        is_refused: whether the service would refuse it without asking anybody, by the settings of
            today; None where nobody has looked.
    """
    remedy = remedy_for(reason)
    if remedy.fails is None:
        return Outlook(True, remedy.helps)
    if is_refused is None:
        return Outlook(True, NOT_LOOKED_AT)
    return Outlook(False, remedy.fails) if is_refused else Outlook(True, remedy.helps)


def _is_known(reason: str) -> bool:
    return reason in FailureReason.__members__.values()
