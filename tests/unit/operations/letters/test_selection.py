"""Filters: each alone, and all of them together."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.contract.received_letter import letter_of
from consumer.model.names import Identity
from consumer.model.outcome import FailureReason
from consumer.operations.letters.selection import Selection
from tests.unit.contract.letters import at, document_record, event_id, foreign_record, letter

ONE = letter(
    document_record(7, value={"technology": "river", "chunks": []}),
    offset=41,
    failed=5,
    identity="https://Docs.example/a",
    workspace="river-pilot",
    reason=FailureReason.EXHAUSTED,
    message="a_3: The Embedder refused it",
    failed_chunks=("a_3", "a_77"),
)
FOREIGN = letter_of(foreign_record(3))

YES: list[dict[str, Any]] = [
    {},
    {"reasons": frozenset({"exhausted"})},
    {"reasons": frozenset({"invalid", "exhausted"})},
    {"cause": "embedder"},
    {"identity": "https://Docs.example/a"},
    {"document": "https://Docs.example/a"},
    {"workspace": "river-pilot"},
    {"technology": "river"},
    {"since": at(5)},
    {"until": at(5.1)},
    {"partition": 0},
    {"first_offset": 41},
    {"last_offset": 41},
    {"text": "A_77"},
    {"text": "DOCS.EXAMPLE"},
    {"events": frozenset({event_id(7)})},
    {"events": frozenset({"0@41", "9@9"})},
    {"events": frozenset({"docs.dlq-0@41"})},
]
NO: list[dict[str, Any]] = [
    {"reasons": frozenset({"invalid"})},
    {"cause": "a_77"},
    {"identity": "https://docs.example/a"},
    {"document": "a"},
    {"workspace": "river"},
    {"technology": "River"},
    {"since": at(5.1)},
    {"until": at(5)},
    {"partition": 1},
    {"first_offset": 42},
    {"last_offset": 40},
    {"text": "nowhere"},
    {"events": frozenset({event_id(8), "1@41", "docs-0@41"})},
]


@pytest.mark.parametrize("conditions", YES, ids=str)
def test_what_holds_selects(conditions: dict[str, Any]) -> None:
    """Texts without regard to case, names exactly; from a time on, and before a time."""
    assert Selection(**conditions).matches(ONE)


@pytest.mark.parametrize("conditions", NO, ids=str)
def test_what_does_not_hold_does_not(conditions: dict[str, Any]) -> None:
    """One condition that fails is enough."""
    assert not Selection(**conditions).matches(ONE)


def test_every_condition_is_tried() -> None:
    """A field that nobody tests may do nothing."""
    names = {each.name for each in fields(Selection)}

    assert {name for one in YES for name in one} == names
    assert {name for one in NO for name in one} == names


@settings(deadline=None)
@given(st.lists(st.sampled_from(YES)), st.lists(st.sampled_from(NO)))
def test_all_conditions_have_to_hold(good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    """However they are combined."""
    merged = {name: value for one in (*good, *bad) for name, value in one.items()}

    assert Selection(**merged).matches(ONE) == (not bad)


def test_foreign_letters_can_be_selected() -> None:
    """By their own reason, their place and the name of their content."""
    for selection in (
        Selection(reasons=frozenset({"foreign"})),
        Selection(events=frozenset({"0@3"})),
        Selection(events=frozenset({FOREIGN.event})),
    ):
        assert selection.matches(FOREIGN)
        assert not selection.matches(ONE)


def test_an_unknown_identity_is_nobody_s() -> None:
    """A filter on what a letter does not say leaves it out."""
    assert not Selection(identity=Identity("x")).matches(FOREIGN)
    assert not Selection(technology="x").matches(FOREIGN)
    assert Selection().is_all
    assert not Selection(partition=0).is_all
