from __future__ import annotations

import pytest

from consumer.model.reason import FailureReason
from consumer.model.remedy import NOT_LOOKED_AT, REMEDIES, is_foreseen, outlook, remedy_for

# What the service decides by the event's bytes and its settings alone (decode, routing).
FORESEEN = {
    FailureReason.UNDECODABLE,
    FailureReason.INVALID,
    FailureReason.OVERSIZED,
    FailureReason.UNROUTABLE,
}


@pytest.mark.parametrize("reason", FailureReason)
def test_every_reason_says_whether_another_try_can_help(reason: FailureReason) -> None:
    """A reason that is added has to be decided here: the table knows all, and no two alike."""
    remedy = REMEDIES[reason]
    assert remedy.step
    assert is_foreseen(reason) == (reason in FORESEEN)
    again, not_now, unknown = (outlook(reason, is_refused=each) for each in (True, False, None))
    assert (not_now.can_help, not_now.why) == (True, remedy.helps)
    assert unknown.can_help
    assert again.can_help is (reason not in FORESEEN)
    if reason in FORESEEN:
        assert again.why == remedy.fails
        assert unknown.why == NOT_LOOKED_AT
    others = [REMEDIES[each].helps for each in FailureReason if each is not reason]
    assert remedy.helps not in others


def test_a_reason_of_a_later_version_is_no_hopeless_one() -> None:
    """Nobody knows what it means, so nobody may leave its letters."""
    assert outlook("later", is_refused=None).can_help
    assert not is_foreseen("later")
    assert remedy_for("later").step == "mend the cause and replay it"
