"""Damage that tests plant: afterwards the API shows it as AnythingLLM does after a crash."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from consumer.sandbox.simulator import Damage, Simulator
from consumer.sandbox.simulator import simulator as running_simulator


async def ask(server: Simulator, method: str, path: str, body: Any = None) -> Any:
    """A JSON answer, and when the server says that was."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with (
        aiohttp.ClientSession(server.endpoint, headers=headers) as session,
        session.request(method, path, json=body) as answer,
    ):
        return await answer.json(), answer.headers["Date"]


async def rows(server: Simulator) -> list[Any]:
    """What the workspace lists."""
    shown, _ = await ask(server, "GET", "/api/v1/workspace/docs")
    listed: list[Any] = shown["workspace"][0]["documents"]
    return listed


async def found(server: Simulator) -> list[str]:
    """The texts that a search finds, sorted."""
    body = {"query": "text", "topN": 100, "scoreThreshold": 0}
    shown, _ = await ask(server, "POST", "/api/v1/workspace/docs/vector-search", body)
    return sorted(hit["text"].split("\n\n")[-1] for hit in shown["results"])


@pytest.fixture
async def locations(simulator: Simulator) -> list[str]:
    """Two texts in a workspace."""
    simulator.state.create_workspace("docs", {})
    stored = []
    for text in ("text one", "text two"):
        body = {"textContent": text, "addToWorkspaces": "docs", "metadata": {"title": "t"}}
        answer, _ = await ask(simulator, "POST", "/api/v1/document/raw-text", body)
        stored.append(answer["documents"][0]["location"])
    return stored


async def test_lost_vectors_leave_the_row(simulator: Simulator, locations: list[str]) -> None:
    """As after the creation race: listed, cached, and not found. Embedding again brings it back."""
    assert simulator.damage(Damage.VECTORS_LOST, "docs", locations[0]) == 1

    assert await found(simulator) == ["text two"]
    assert [row["docpath"] for row in await rows(simulator)] == locations
    changes = {"adds": locations[:1], "deletes": locations[:1]}
    await ask(simulator, "POST", "/api/v1/workspace/docs/update-embeddings", changes)
    assert await found(simulator) == ["text one", "text two"]


async def test_a_lost_row_leaves_the_vectors(simulator: Simulator, locations: list[str]) -> None:
    """As after a crash between the two: found, not listed, and no removal reaches it."""
    assert simulator.damage("row-lost", "docs", locations[0]) == 1

    assert [row["docpath"] for row in await rows(simulator)] == locations[1:]
    body = {"names": locations[:1]}
    await ask(simulator, "DELETE", "/api/v1/system/remove-documents", body)
    assert await found(simulator) == ["text one", "text two"]


async def test_rows_age_without_waiting(simulator: Simulator, locations: list[str]) -> None:
    """Over HTTP too; the files stay as they are."""
    before = await rows(simulator)
    damage = {"kind": "aged", "slug": "docs", "seconds": 86_400}
    answer, _ = await ask(simulator, "POST", "/_sim/damage", damage)

    after = await rows(simulator)
    assert answer == {"rows": 2}
    assert [row["createdAt"][11:] for row in after] == [row["createdAt"][11:] for row in before]
    assert all(new["createdAt"] < old["createdAt"] for new, old in zip(after, before, strict=True))
    assert [row["docpath"] for row in after] == locations


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "flood", "slug": "docs"}, {"kind": "aged", "slug": "nowhere"}, {"kind": "aged"}],
    ids=str,
)
async def test_wrong_damage_is_refused(simulator: Simulator, wrong: dict[str, str]) -> None:
    """A misspelt one must not make a test pass."""
    simulator.state.create_workspace("docs", {})
    answer, _ = await ask(simulator, "POST", "/_sim/damage", wrong)

    assert "error" in answer


async def test_of_a_file_embedded_again_the_older_row_goes_first(
    simulator: Simulator, locations: list[str]
) -> None:
    """As recorded: so a row can be embedded again before the one without vectors is taken out."""
    old = [row["id"] for row in await rows(simulator)]
    path = "/api/v1/workspace/docs/update-embeddings"
    await ask(simulator, "POST", path, {"adds": locations[:1]})
    await ask(simulator, "POST", path, {"deletes": locations[:1]})
    new = [row["id"] for row in await rows(simulator)]

    assert old[0] not in new
    assert len(new) == 2


async def test_the_server_has_one_clock() -> None:
    """Its answers' date is the time that its rows were made by."""
    async with running_simulator(clock=lambda: 1_700_000_000.0) as server:
        shown, date = await ask(server, "POST", "/api/v1/workspace/new", {"name": "docs"})

    assert date == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert shown["workspace"]["createdAt"] == "2023-11-14T22:13:20.000Z"
