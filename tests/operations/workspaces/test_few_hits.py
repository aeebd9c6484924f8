"""Vector databases that give at most so many hits, and workspaces with more rows than that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from consumer.operations.workspaces.finding import FindingKind
from consumer.sandbox.simulator import Damage
from consumer.sandbox.simulator import simulator as running_simulator
from consumer.sandbox.simulator.shapes import shown_metadata
from tests.client.support import document, unit
from tests.operations.workspaces.place import SETTLED, Clock, Place, kinds
from tests.tiers import quick_first

MILVUS, PINECONE = 16_384, 10_000  # the vendors' limits of `topN`
SMALL = 20


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    clock = Clock()
    async with running_simulator(clock=clock) as server:
        yield Place(server, clock)


async def _fill(place: Place, slug: str, rows: int) -> None:
    """Documents of ours, long ago; uploads would take a minute of real time."""
    place.server.state.create_workspace(slug, {})
    now = datetime.fromtimestamp(place.clock.now, UTC)
    for start in range(0, rows, 500):
        texts = [f"text {n}" for n in range(start, min(start + 500, rows))]
        name = f"{slug}-{start}"
        doc = document(*texts, id=name, url=f"https://example.com/{name}")
        for index, text in enumerate(texts):
            source = unit(doc, index).marker.encode()
            shown = shown_metadata({"title": doc.title, "docSource": source}, text, now)
            await place.server.model.store("text", shown, text, [slug], ())
    place.clock.now += SETTLED + 100


@pytest.mark.parametrize(
    ("most", "rows", "seen"),
    [
        pytest.param(PINECONE, PINECONE + 500, False, marks=pytest.mark.slow),
        pytest.param(MILVUS, PINECONE + 500, True, marks=pytest.mark.slow),
        pytest.param(MILVUS, MILVUS + 100, False, marks=pytest.mark.slow),
        pytest.param(0, MILVUS + 100, True, marks=pytest.mark.slow),
    ],
)
async def test_a_healthy_workspace_is_never_called_unsearchable(
    place: Place, most: int, rows: int, seen: bool
) -> None:
    """It is looked at as far as the database lets; "not looked at" is said where that is not all.

    The small one beside it is looked at in any case, and nobody is advised to delete either.
    """
    await _fill(place, "large", rows)
    await _fill(place, "small", SMALL)
    place.server.faults.most_hits = most
    report = await place.verify()

    assert kinds(report) == ([] if seen else ["not-looked-at"])
    assert report.faults == ()
    assert all(each.workspace == "large" and not each.what_to_do for each in report.findings)
    assert all("`audit --search`" in each.text for each in report.findings)


@pytest.mark.parametrize("most", quick_first([1_000, 100, PINECONE]))
async def test_what_is_lost_in_a_small_workspace_is_seen_all_the_same(
    place: Place, most: int
) -> None:
    """And is embedded again."""
    await _fill(place, "large", 1_200)
    await _fill(place, "small", SMALL)
    place.server.damage(Damage.VECTORS_LOST, "small")
    place.server.faults.most_hits = most
    outcome = await place.repair()

    lost = [each for each in outcome.before.findings if each.kind is FindingKind.VECTORS_GONE]
    assert (len(lost), {each.workspace for each in lost}) == (SMALL, {"small"})
    assert outcome.counts() == {"planned": SMALL, "done": SMALL}


async def test_a_workspace_whose_searches_fail_for_any_number_is_told(place: Place) -> None:
    """The others are looked at; their limit was found out before, and is kept."""
    await _fill(place, "docs", 200)
    await _fill(place, "sick", SMALL)
    place.server.faults.most_hits = 100
    place.server.faults.add("status", path="*/sick/vector-search", status=500)
    report = await place.verify()

    found = {(each.workspace, each.kind.value) for each in report.findings}
    assert found == {("docs", "not-looked-at"), ("sick", "unsearchable")}
