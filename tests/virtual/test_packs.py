"""Packs in a running world: stored once, split for a culprit only, and never for the setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.anythingllm import AnythingLLMConfig
from consumer.anythingllm.inventory import open_inventory
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import decode_marker
from consumer.operations.workspaces.finding import WorkspaceFinding
from consumer.operations.workspaces.verify import Upkeep, UpkeepRules
from consumer.sandbox.simulator import Options
from consumer.sandbox.simulator.model import Costs
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database, world

TEN = "10"
POISON = "a text that the embedder can't take"


def _texts(id: str, count: int = 10) -> list[str]:
    return [f"text {n} of {id}" for n in range(count)]


def _sizes(w: World, slug: str = "docs") -> list[int]:
    """Chunks of each unit that a workspace lists."""
    markers = [decode_marker(source) for source, _, _ in w.sim.chunks(slug)]
    return sorted(len(marker.chunks) for marker in markers if marker is not None)


def _split(w: World) -> float:
    return w.metrics.registry.get_sample_value("anythingllm_consumer_packs_split_total") or 0.0


async def _found(w: World, query: str) -> Sequence[tuple[str | None, str]]:
    hits = await w.client.search_workspace("docs", query, limit=3)
    return [(hit.chunk_id, hit.text) for hit in hits]


def _set(w: World, packs: int | None) -> None:
    w.settings = replace(w.settings, upload=replace(w.settings.upload, chunks_per_pack=packs))


async def _findings(w: World) -> Sequence[WorkspaceFinding]:
    rules = UpkeepRules(IdentityTemplate.parse("{id}"), lambda technology: None, 600.0)
    async with open_inventory(AnythingLLMConfig(w.sim.endpoint, w.sim.api_key)) as inventory:
        upkeep = Upkeep(inventory, rules)
        return (await upkeep.verify(await upkeep.choose(()), whole=True)).findings


@on_each_database
@virtually
async def test_a_document_is_stored_in_packs_and_found_by_chunk(vector_db: str) -> None:
    """One request a pack; a search names the chunk, as if it stood alone."""
    async with world(vector_db=vector_db, UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.publish(event("a", _texts("a", 25)))
        await w.settled()

        assert w.statuses() == {"succeeded": 1}
        assert sum(_sizes(w)) == 25
        assert max(_sizes(w)) == 10
        assert w.copies() == {1: 25}
        (result,) = w.results
        assert len(result["uploaded_chunk_ids"]) == result["successful_uploads"] == 25
        assert (await _found(w, "text 7 of a"))[0] == ("a_7", "text 7 of a")
        await w.idle(700)
        assert await _findings(w) == ()


@virtually
async def test_the_setting_changes_only_what_is_uploaded_next() -> None:
    """Nothing that is stored is uploaded again for it, in either direction."""
    for before, after in (("1", "10"), ("10", "1")):
        async with world(UPLOAD_CHUNKS_PER_PACK=before) as w:
            w.publish(event("a", _texts("a")))
            await w.settled()
            sizes = _sizes(w)
            await w.crash()
            _set(w, int(after))
            await w.start()
            uploads = w.uploads()
            w.publish(event("a", _texts("a"), day=1))
            w.publish(event("b", _texts("b")))
            await w.settled()

            assert w.uploads() - uploads == 10
            assert _sizes(w) == sorted([*sizes, *([10] if after == "10" else [1] * 10)])
            assert len(w.results[-2]["unchanged_chunk_ids"]) == 10


@on_each_database
@virtually
async def test_one_chunk_of_a_pack_changes(vector_db: str) -> None:
    """Its siblings are uploaded once more before the pack goes; all of it is there once."""
    async with world(vector_db=vector_db, UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.publish(event("a", _texts("a")))
        await w.settled()
        w.publish(event("a", [*_texts("a")[:9], "changed"], day=1))
        await w.settled()

        assert w.texts() == sorted([*_texts("a")[:9], "changed"])
        assert w.copies() == {1: 10}
        assert w.results[-1]["removed_chunks"] == 10


@on_each_database
@virtually
async def test_a_poison_text_costs_its_siblings_nothing(vector_db: str) -> None:
    """It alone is dead-lettered; published again it goes alone, and the others are unchanged."""
    async with world(vector_db=vector_db, UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.sim.faults.embedder_poison = [POISON]
        w.publish(event("a", [*_texts("a", 9), POISON]))
        await w.settled(within=400)

        assert w.statuses() == {"partial": 1}
        assert w.results[-1]["failed_chunk_ids"] == ["a_9"]
        assert w.copies() == {1: 9}
        split, sizes = _split(w), _sizes(w)
        w.publish(event("a", [*_texts("a", 9), POISON, "one more"], day=1))
        await w.settled(within=400)

        assert (_split(w), split) == (1, 1)
        assert w.copies() == {1: 10}
        assert _sizes(w) == sorted([*sizes, 1])


@virtually
async def test_a_culprit_is_known_under_another_title() -> None:
    """All of its siblings are uploaded once more then, and in packs."""
    async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.sim.faults.embedder_poison = [POISON]
        for day, title in enumerate(("one title", "another title")):
            w.publish(event("a", [*_texts("a", 9), POISON], day=day) | {"title": title})
            await w.settled(within=HOUR)

        assert (_split(w), w.statuses()) == (1, {"partial": 2})


@virtually
async def test_a_new_version_with_a_poison_text_doubles_nothing() -> None:
    """The pack of the former version stays, and what it holds of the new one stays in it."""
    async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.publish(event("a", _texts("a")))
        await w.settled()
        w.sim.faults.embedder_poison = [POISON]
        w.publish(event("a", [*_texts("a")[:9], POISON], day=1))
        await w.settled(within=400)

        assert w.statuses() == {"succeeded": 1, "partial": 1}
        assert w.copies() == {1: 10}
        assert len(w.results[-1]["unchanged_chunk_ids"]) == 9


@virtually
async def test_what_a_pack_holds_that_is_about_to_go_is_uploaded() -> None:
    """Its removal was refused, and the next version with a poison text wants a text of it."""
    async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        texts = _texts("a", 8)
        w.publish(event("a", [*texts, "lent", "gone"]))
        await w.settled()
        w.sim.faults.add("status", path="*/remove-documents", status=403)
        w.sim.faults.add(
            "status", method="POST", path="*/update-embeddings", contains="deletes", status=403
        )
        w.publish(event("a", texts, day=1))
        await w.settled(within=3 * HOUR)
        assert w.results[-1]["failed_chunk_ids"] == ["a_8", "a_9"]
        w.sim.faults.embedder_poison = [POISON]
        w.publish(event("a", [*texts, "lent", POISON], day=2))
        await w.settled(within=3 * HOUR)
        assert w.results[-1]["failed_chunk_ids"] == ["a_9"]
        assert w.results[-1]["uploaded_chunk_ids"] == ["a_8"]

        w.sim.faults.clear()
        await w.idle(3 * HOUR)
        assert w.texts() == sorted([*texts, "lent"])


@pytest.mark.parametrize("again", [(), (0, 1)], ids=["distinct", "repeated"])
@pytest.mark.parametrize(("before", "after"), [(10, 3), (3, 10), (10, 1)])
def test_a_late_pack_of_another_size_goes(before: int, after: int, again: Sequence[int]) -> None:
    """Uploaded by a process that died; the next one packs in another way."""

    @virtually
    async def run() -> None:
        async with world(UPLOAD_CHUNKS_PER_PACK=str(before)) as w:
            w.sim.faults.latency = 0.02
            texts = _texts("a", 15)
            texts += [texts[each] for each in again]
            w.publish(event("warm", ["up"]))
            await w.settled()
            w.sim.faults.add("delay", path="*/raw-text", contains=texts[3], seconds=200, times=1)
            w.publish(event("a", texts))
            await w.idle(3)
            await w.crash()
            _set(w, after)
            await w.start()
            await w.settled(within=1_500)
            await w.idle(3_000)

            assert w.texts() == sorted([*texts, "up"])
            assert await _findings(w) == ()

    run()


@pytest.mark.parametrize("hours", [0.2, 2])
def test_an_outage_of_the_embedder_splits_nothing(hours: float) -> None:
    """Nobody can tell a pack from anything else meanwhile."""

    @virtually
    async def run() -> None:
        async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
            w.publish(event("before", ["up"]))
            await w.settled()
            w.sim.faults.embedder_down = True
            for n in range(5):
                w.publish(event(f"d{n}", _texts(f"d{n}")))
            await w.idle(hours * HOUR)
            w.sim.faults.embedder_down = False
            await w.settled()

            assert _split(w) == 0
            assert _sizes(w) == [1, *[10] * 5]

    run()


@pytest.mark.parametrize("documents", [1, 3, 20])
def test_a_restart_of_the_server_splits_nothing(documents: int) -> None:
    """It dies with whatever is under way, and nothing of that is to blame."""

    @virtually
    async def run() -> None:
        async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
            w.sim.faults.latency = 0.2
            w.publish(event("before", ["up"]))
            await w.settled()
            text = "text 3 of d0"
            w.sim.faults.add("kill", path="*/raw-text", contains=text, seconds=20, times=1)
            for n in range(documents):
                w.publish(event(f"d{n}", _texts(f"d{n}")))
            await w.settled(within=HOUR)

            assert _split(w) == 0
            assert _sizes(w) == [1, *[10] * documents]

    run()


@virtually
async def test_a_pack_that_kills_the_server_is_split_with_its_second_death() -> None:
    """From then on the culprit alone is tried; its siblings are stored."""
    async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.publish(event("before", ["up"]))
        await w.settled()
        w.sim.faults.add("kill", path="*/raw-text", contains="text 3 of a", seconds=20)
        w.publish(event("a", _texts("a")))
        await w.settled(within=2 * HOUR)

        assert w.results[-1]["failed_chunk_ids"] == ["a_3"]
        assert (_split(w), w.copies()) == (1, {1: 10})
        assert len(w.sim.journal.of("server.killed")) == 7


@virtually
async def test_an_embedder_that_takes_no_request_so_long_gets_chunks() -> None:
    """Each chunk of it passes alone, so nothing waits for ever; nobody is dead-lettered."""
    async with world(UPLOAD_CHUNKS_PER_PACK=TEN) as w:
        w.sim.faults.embedder_longest = 1_500
        for n in range(30):
            w.publish(event(f"d{n}", [f"{n} {m} " + "word " * 100 for m in range(10)]))
        await w.settled(within=HOUR)

        assert w.statuses() == {"succeeded": 30}
        assert w.copies() == {1: 300}


@virtually
async def test_with_auto_a_backlog_is_packed_and_what_comes_after_it_is_not() -> None:
    """Freshness costs nothing then, and each chunk has its own place."""
    async with world(UPLOAD_CHUNKS_PER_PACK="auto") as w:
        w.sim.faults.latency = 0.05
        w.publish(event("first", _texts("first")))
        await w.settled()
        assert _sizes(w) == [1] * 10

        for n in range(200):
            w.publish(event(f"d{n}", _texts(f"d{n}")))
        await w.settled()
        packed = _sizes(w).count(10)
        assert packed > 100
        w.publish(event("last", _texts("last")))
        await w.settled()

        assert _sizes(w).count(10) == packed
        assert w.copies() == {1: 2_020}


def test_packs_of_ten_are_stored_eight_times_as_fast_as_chunks() -> None:
    """At the cost of a real server, which takes 52 ms of its only thread for each upload."""
    seconds = {}
    for packing in ("1", TEN):

        @virtually
        async def run(packing: str = packing) -> None:
            costs = Costs(upload=0.052)
            async with world(options=Options(costs=costs), UPLOAD_CHUNKS_PER_PACK=packing) as w:
                w.publish(event("warm", ["up"]))
                await w.settled()
                begun = w.loop.now
                for n in range(10):
                    w.publish(event(f"d{n}", _texts(f"d{n}", 30)))
                await w.settled()
                seconds[packing] = w.loop.now - begun
                assert w.copies() == {1: 301}

        run()

    assert seconds["1"] >= 8 * seconds[TEN]
