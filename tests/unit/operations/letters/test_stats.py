"""Counting letters, and what makes two causes the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.contract.received_letter import Letter, letter_of
from consumer.model.outcome import FailureReason
from consumer.operations.letters.advice import next_step
from consumer.operations.letters.standing import Standing
from consumer.operations.letters.stats import cause_of, stats_of
from tests.unit.contract.letters import foreign_record, letter

UUID = "90e54ce4-6a57-5116-a27b-e2d683b0241c"


@pytest.mark.parametrize(
    ("message", "ids", "cause"),
    [
        ("", (), "-"),
        ("doc_chunk_3: refused by AnythingLLM (422)", ("doc_chunk_3",), "#: refused by "
         "AnythingLLM (422)"),
        ("a_1: no; a_2: no; a_77: no", ("a_1", "a_2", "a_77"), "#: no"),
        ("a_1: no; a_2: yes", ("a_1", "a_2"), "#: no; #: yes"),
        ("no id of it is in the header, x_9: no", (), "no id of it is in the header, x_#: no"),
        (f"has 9,000,000 bytes, {UUID}", (), "has # bytes, #"),
        ("hash deadbeefdead1234 differs", (), "hash # differs"),
        ("a faded facade", (), "a faded facade"),
        ("a", ("a",), "#"),
        ("an example of a", ("a",), "an example of #"),
        ("status 500, not 422", (), "status #, not 422"),
    ],
)  # fmt: skip
def test_ids_and_numbers_do_not_make_causes(message: str, ids: tuple[str, ...], cause: str) -> None:
    """What differs from letter to letter is #; the HTTP status of the answer stays."""
    assert cause_of(letter(message=message, failed_chunks=ids, identity="doc-5")) == cause


def test_everything_is_counted() -> None:
    """By each of the kinds; days without any are shown as such."""
    first = letter(failed=0, reason=FailureReason.INVALID, workspace=None)
    later = [letter(failed=24 * 3 + hour) for hour in range(3)]
    counted = stats_of([(first, Standing.OPEN), *((each, Standing.PARKED) for each in later)])

    assert counted.letters == 4
    assert counted.bytes == first.size + 3 * later[0].size
    assert counted.reason.most_common() == [("rejected", 3), ("invalid", 1)]
    assert counted.workspace == {"river": 3, "-": 1}
    assert counted.technology == {"river": 4}
    assert counted.standing == {"open": 1, "parked": 3}
    assert counted.days(30) == [
        ("2026-03-01", 1), ("2026-03-02", 0), ("2026-03-03", 0), ("2026-03-04", 3),
    ]  # fmt: skip
    assert counted.days(1) == [("2026-03-04", 3)]


def test_nothing_is_counted_as_nothing() -> None:
    """An empty topic has no days."""
    counted = stats_of([])

    assert (counted.letters, counted.days(30)) == (0, [])


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize(
    "one",
    [
        *(letter(reason=reason) for reason in FailureReason),
        replace(letter(), reason="of a later version"),
        letter_of(foreign_record()),
        replace(letter_of(foreign_record()), unreadable="damaged"),
    ],
    ids=lambda one: one.reason,
)
def test_there_is_always_something_to_say(one: Letter, standing: Standing) -> None:
    """Whatever it is and however it stands."""
    assert len(next_step(one, standing, max_replays=3)) > 20


def test_advice_names_the_command() -> None:
    """It can be pasted; where the next replay would only park, that is said."""
    one = letter(replays=3)

    assert f"dlq replay {one.event} --yes" in next_step(one, Standing.OPEN, max_replays=4)
    assert "parks it" in next_step(one, Standing.OPEN, max_replays=3)
    assert "--from parked" in next_step(one, Standing.PARKED, max_replays=3)
    assert "--force" in next_step(letter_of(foreign_record()), Standing.OPEN, max_replays=3)
    assert "nothing" in next_step(one, Standing.STALE, max_replays=3)
    broken = letter(reason=FailureReason.INVALID)
    assert f"dlq park {broken.event} --yes" in next_step(broken, Standing.OPEN, max_replays=3)
    assert "dlq replay" not in next_step(broken, Standing.OPEN, max_replays=3)
