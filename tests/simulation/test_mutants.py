"""Planted faults are where the code is, and the search is not blind."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Hunt, Mutant, is_held

OBVIOUS = (
    "commits the highest",
    "removes before it stores",
    "proves no workspace",
    "answers nobody",
    "has no order",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_has_its_place(mutant: Mutant) -> None:
    """Who renames what it changes has to rename it there too."""
    holder, name = mutant.target()
    before = vars(holder)[name]
    with mutant.planted():
        assert vars(holder)[name] is not before
    assert vars(holder)[name] is before


@pytest.mark.parametrize("name", OBVIOUS)
def test_an_obvious_fault_is_found_soon(name: str) -> None:
    """`python -m tests.simulation.mutants` says it of all of them."""
    (mutant,) = (each for each in MUTANTS if each.name == name)
    assert Hunt().seeds_until_caught(mutant, 0, 30) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutant", [each for each in MUTANTS if each.held_by], ids=lambda mutant: mutant.name
)
def test_what_the_search_can_t_find_a_test_finds(mutant: Mutant) -> None:
    """Where two guards hold the same promise, the search does not miss one of them."""
    assert is_held(mutant)
