"""Upkeep beside a proxy that refuses DELETE with a body: what stays is named and left."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from consumer.sandbox.simulator import simulator as running_simulator
from tests.client.support import client_for, document, texts_of
from tests.operations.workspaces.place import Clock, Place, kinds, locations_of
from tests.operations.workspaces.test_reembedding import spoil

DELETE = {"method": "DELETE", "path": "*/remove-documents"}


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    clock = Clock()
    async with running_simulator(clock=clock) as server:
        yield Place(server, clock)


async def test_files_that_stayed_are_named_and_go_when_the_proxy_is_mended(place: Place) -> None:
    """`verify` tells of files in no workspace; `repair` leaves them, and says why."""
    await place.store(
        "docs", document("one", "two"), document("three", id="b", url="https://b.example")
    )
    refuses = place.server.faults.add("status", status=405, **DELETE)
    async with client_for(place.server) as client:
        assert await client.delete_document("docs", "doc-1")
    place.clock.now += 700
    report = await place.verify()
    assert kinds(report) == ["orphaned-file"] * 2
    left = await place.repair()
    assert left.counts() == {"planned": 2, "done": 0}
    assert "answered 405" in place.notes[-1]
    assert "workspaces repair --yes" in place.notes[-1]

    place.server.faults.rules.remove(refuses)
    done = await place.repair()
    assert done.counts() == {"planned": 2, "done": 2}
    assert done.after.findings == ()
    assert {file.text for file in place.server.state.files.values()} == {"three"}


async def test_doubles_are_taken_out(place: Place) -> None:
    """One copy stays found; the other one's file is what is left."""
    await place.store("docs", document("one", "two"))
    await place.double("docs", "one")
    place.server.faults.add("status", status=405, **DELETE)
    outcome = await place.repair()

    assert texts_of(place.server, "docs") == ["one", "two"]
    assert kinds(outcome.after) == ["orphaned-file"]


async def test_a_text_whose_cache_can_t_be_forgotten_is_left_as_it_is(place: Place) -> None:
    """It can't be embedded from its text then; nothing is said of the text itself."""
    await place.store("docs", document("one", "two"))
    spoil(place, "one")
    place.server.faults.add("status", status=405, **DELETE)
    listed = locations_of(place, "docs")
    outcome = await place.repair()

    assert kinds(outcome.before) == ["vectors-gone"]
    assert "vectors-gone" in kinds(outcome.after)
    assert locations_of(place, "docs") == listed
    assert "answered 405" in place.notes[-1]
    assert not any("does not take this" in note for note in place.notes)
