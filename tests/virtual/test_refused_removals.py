"""A proxy that refuses DELETE with a body: text goes all the same, and what stays is told."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm.removal_way import REFUSALS
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, on_each_database, world

DEFINITE = sorted(status for status, why in REFUSALS.items() if not why.patience)
DELETE = {"method": "DELETE", "path": "*/remove-documents"}
TAKING_OUT = {"method": "POST", "path": "*/update-embeddings"}


async def _stored(w: World) -> None:
    w.sim.faults.latency = 0.02
    w.publish(event("other", ["stays"]))
    w.publish(event("a", ["one", "two", "three"]))
    await w.settled()


@on_each_database
@pytest.mark.parametrize("status", DEFINITE)
def test_updates_and_tombstones_settle(status: int, vector_db: str) -> None:
    """The chunks are found no more and listed no more; their files stay. Told once, with a cure."""

    @virtually
    async def run() -> None:
        with capture_logs() as logs:
            async with world(vector_db=vector_db) as w:
                await _stored(w)
                w.sim.faults.add("status", status=status, **DELETE)
                began = w.loop.now
                w.publish(event("a", ["one", "new"], day=1))
                w.publish(event("b", ["four"], day=1))
                await w.settled(within=60)
                w.publish(None, key="b")
                w.publish(None, key="a", workspace="docs")
                await w.settled(within=60)

                assert w.loop.now - began < 60
                assert w.statuses() == {"succeeded": 4, "deleted": 2}
                assert sum(each["removed_chunks"] for each in w.results) == 5
                assert w.stored() == {"other_0": 1}
                assert w.orphans() == {}
                texts = {file.text for file in w.sim.state.files.values()}
                assert {"one", "two", "three", "four", "new"} < texts
                assert w.letters == []
        told = [each for each in logs if each["event"] == "removal.let_through_no_more"]
        assert len(told) == 1
        assert str(status) in told[0]["error"]
        assert "file stays" in told[0]["consequence"]
        assert "workspaces repair" in told[0]["what_to_do"]

    run()


@on_each_database
@pytest.mark.parametrize("status", [429, 502, 503, 504, 401, 403])
def test_a_refusal_that_passes_changes_nothing(status: int, vector_db: str) -> None:
    """Nothing is taken out meanwhile; afterwards the files are gone as well."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            w.sim.faults.add("status", status=status, times=3, **DELETE)
            w.publish(None, key="a")
            await w.settled(within=HOUR)

            assert w.requests("update-embeddings") == 0
            assert w.stored() == {"other_0": 1}
            assert w.statuses() == {"succeeded": 2, "deleted": 1}
            assert w.letters == []

    run()


ANY = [404, 406, 413, 418, 422, 451]
BY_OTHERS = [302, 408, 502, 503, 504, 507, 524, 530]


def _html(status: int) -> dict[str, Any]:
    return {"kind": "html"} if status == 200 else {"kind": "status", "status": status}


@pytest.mark.parametrize(
    ("status", "seconds"), [*((s, 120) for s in ANY), *((s, 750) for s in (200, *BY_OTHERS))]
)
def test_whatever_it_answers_nothing_waits_for_ever(status: int, seconds: float) -> None:
    """What an outage may look like is believed after ten minutes, and only while the rest works."""

    @virtually
    async def run() -> None:
        async with world() as w:
            await _stored(w)
            w.sim.faults.add(**_html(status), **DELETE)
            w.publish(None, key="a")
            w.publish(event("other", ["new"], day=1))
            await w.settled(within=seconds)

            assert w.statuses() == {"succeeded": 3, "deleted": 1}
            assert w.stored() == {"other_0": 1}
            assert w.letters == []

    run()


@on_each_database
def test_a_removal_that_a_gateway_gives_up_waits_not_for_ever(vector_db: str) -> None:
    """Each DELETE hangs there, because its body never comes: the look gives up before it."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            w.sim.faults.add("status", status=504, seconds=100, **DELETE)
            w.publish(None, key="a")
            await w.settled(within=1_800)

            assert w.statuses() == {"succeeded": 2, "deleted": 1}
            assert w.stored() == {"other_0": 1}

    run()


@pytest.mark.parametrize("status", [404, 502])
def test_an_outage_of_everything_shuts_no_way(status: int) -> None:
    """An ingress without a route answers everything so, for a quarter of an hour."""

    @virtually
    async def run() -> None:
        with capture_logs() as logs:
            async with world() as w:
                await _stored(w)
                w.publish(None, key="a")
                rule = w.sim.faults.add("status", status=status, path="*")
                await w.idle(900)
                w.sim.faults.rules.remove(rule)
                await w.settled(within=120)

                assert w.statuses() == {"succeeded": 2, "deleted": 1}
                assert len(w.sim.state.files) == 1
        assert "removal.let_through_no_more" not in [each["event"] for each in logs]

    run()


@on_each_database
@pytest.mark.parametrize("status", [200, 403, 406, 502, 503])
def test_names_that_a_firewall_dislikes_end_their_event_alone(status: int, vector_db: str) -> None:
    """Their title is in them. Others are removed meanwhile, files and all."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            w.publish(event("b", ["disliked"]))
            await w.settled()
            disliked = next(f.name for f in w.sim.state.files.values() if f.text == "disliked")
            w.sim.faults.add(**_html(status), **DELETE, contains=disliked)
            w.publish(None, key="b")
            w.publish(None, key="a")
            await w.settled(within=600)

            assert w.statuses() == {"succeeded": 3, "deleted": 1, "failed": 1}
            assert w.stored() == {"other_0": 1, "b_0": 1}
            assert len(w.sim.state.files) == 2
            assert w.letters[0]["dlq.http-status"] == str(status)
            assert w.requests("update-embeddings") == 0

    run()


def test_a_status_of_one_moment_changes_nothing() -> None:
    """The removal of a file that is not there is let through: it was no proxy's rule."""

    @virtually
    async def run() -> None:
        async with world() as w:
            await _stored(w)
            w.sim.faults.add("status", status=405, times=1, **DELETE)
            w.publish(None, key="a")
            await w.settled(within=60)

            assert w.requests("update-embeddings") == 0
            assert len(w.sim.state.files) == 1

    run()


def test_a_proxy_that_drops_the_body_is_seen_after_a_minute() -> None:
    """AnythingLLM answers 500 to a removal without names; it answers the same in a bad moment."""

    @virtually
    async def run() -> None:
        async with world() as w:
            await _stored(w)
            dropped = w.sim.faults.add("status", status=500, times=4, **DELETE)
            w.publish(None, key="a")
            await w.settled(within=60)
            assert w.requests("update-embeddings") == 0
            assert dropped.fired == 4
            w.sim.faults.add("status", status=500, **DELETE)
            w.publish(None, key="other")
            await w.settled(within=300)

            assert w.statuses() == {"succeeded": 2, "deleted": 2}
            assert w.stored() == {}
            assert len(w.sim.state.files) == 1

    run()


@on_each_database
def test_it_goes_back_by_itself_when_the_proxy_is_mended(vector_db: str) -> None:
    """Within five minutes of the removals that come; one harmless look each time."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            refuses = w.sim.faults.add("status", status=405, **DELETE)
            w.publish(None, key="a")
            await w.settled(within=60)
            w.sim.faults.rules.remove(refuses)
            files = len(w.sim.state.files)
            await w.idle(301)
            w.publish(None, key="other")
            await w.settled(within=60)

            assert w.statuses() == {"succeeded": 2, "deleted": 2}
            assert len(w.sim.state.files) == files - 1

    run()


@on_each_database
@pytest.mark.parametrize("status", [*DEFINITE, 403])
def test_what_both_ways_refuse_for_good_is_told_and_waits_no_longer(
    status: int, vector_db: str
) -> None:
    """Neither `deleted` nor for ever: `failed`, with a dead letter that says so."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            ways = [w.sim.faults.add("status", status=405, **DELETE)]
            ways.append(w.sim.faults.add("status", status=status, **TAKING_OUT))
            w.publish(None, key="a")
            w.publish(event("other", ["new", "more"], day=1))
            await w.idle(290)
            assert w.statuses() == {"succeeded": 2}
            await w.settled(within=300)
            assert w.statuses() == {"succeeded": 2, "failed": 1, "partial": 1}
            assert w.stored() == {"a_0": 1, "a_1": 1, "a_2": 1, "other_0": 2, "other_1": 1}
            for letter in w.letters:
                assert letter["__connect.errors.stage"] == "remove"
                assert letter["dlq.http-status"] == str(status)
            assert f"answered {status}" in w.letters[0]["__connect.errors.exception.message"]

            for way in ways:
                w.sim.faults.rules.remove(way)
            await w.idle(301)
            w.publish(None, key="a")
            await w.settled(within=60)
            assert w.statuses()["deleted"] == 1
            assert set(w.stored()) == {"other_0", "other_1"}

    run()


@on_each_database
@pytest.mark.parametrize("status", [401, 403])
def test_what_is_forbidden_for_good_ends_the_event(status: int, vector_db: str) -> None:
    """Asked for over five minutes; what comes later is told soon, until one is let through."""

    @virtually
    async def run() -> None:
        with capture_logs() as logs:
            async with world(vector_db=vector_db) as w:
                await _stored(w)
                rule = w.sim.faults.add("status", status=status, **DELETE)
                w.publish(None, key="a")
                await w.idle(290)
                assert w.statuses() == {"succeeded": 2}
                await w.settled(within=300)
                assert w.statuses() == {"succeeded": 2, "failed": 1}
                (letter,) = w.letters
                assert letter["__connect.errors.stage"] == "remove"
                assert letter["dlq.http-status"] == str(status)
                assert "times within" in letter["__connect.errors.exception.message"]
                w.publish(None, key="other")
                await w.settled(within=60)
                assert w.statuses() == {"succeeded": 2, "failed": 2}
                w.sim.faults.rules.remove(rule)
                w.publish(None, key="a")
                await w.settled(within=60)
                rule = w.sim.faults.add("status", status=status, times=3, **DELETE)
                w.publish(None, key="other")
                await w.settled(within=300)
                assert w.statuses() == {"succeeded": 2, "failed": 2, "deleted": 2}
        told = [each["event"] for each in logs]
        assert (told.count("removal.refused"), told.count("removal.forbidden")) == (2, 2)

    run()


@on_each_database
def test_what_a_newer_event_overtakes_is_asked_for_no_longer(vector_db: str) -> None:
    """It takes over at once what is refused, and is told in its place."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            w.sim.faults.add("status", status=403, **DELETE)
            w.publish(event("a", ["new"], day=1))
            await w.idle(100)
            w.publish(event("a", ["newer"], day=2))
            await w.settled(within=500)
            assert w.statuses() == {"succeeded": 2, "superseded": 1, "failed": 1}
            assert "newer" in {file.text for file in w.sim.state.files.values()}

    run()


@on_each_database
def test_a_bad_minute_of_both_ways_fails_nobody(vector_db: str) -> None:
    """A proxy that is being set up: the events wait, and settle."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            for way in (DELETE, TAKING_OUT):
                w.sim.faults.add("status", status=405, times=6, **way)
            w.publish(None, key="a")
            await w.settled(within=HOUR)
            assert w.statuses() == {"succeeded": 2, "deleted": 1}
            assert w.stored() == {"other_0": 1}
            assert w.letters == []

    run()


@on_each_database
def test_a_tombstone_that_goes_by_files_takes_them_out_of_every_workspace(vector_db: str) -> None:
    """One of them can't be listed; the files stay, and are no text that a search finds."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.latency = 0.02
            w.publish(event("a", ["one", "two"], technology="sick"))
            w.publish(event("a", ["one", "two"], technology="docs"))
            w.publish(event("b", ["stays"], technology="sick"))
            await w.settled()
            await w.idle(HOUR)
            w.sim.faults.add("status", path="*/workspace/sick", status=500)
            w.sim.faults.add("status", status=405, **DELETE)
            w.publish(None, key="a")
            await w.settled()

            assert w.statuses() == {"succeeded": 3, "deleted": 1}
            assert w.stored("docs") + w.stored("sick") == {"b_0": 1}
            assert len(w.sim.state.files) >= 5

    run()


@on_each_database
@pytest.mark.parametrize("refused", [False, True])
def test_late_doubles_go_the_same_way(refused: bool, vector_db: str) -> None:
    """The sweep removes what an instance that died left under way."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            await _stored(w)
            if refused:
                w.sim.faults.add("status", status=405, **DELETE)
            late = w.sim.faults.add("hold", path="*/raw-text", contains="new")
            w.publish(event("a", ["new"], day=1))
            await w.idle(5)
            await w.crash()
            await w.start()
            w.sim.faults.rules.remove(late)
            await w.settled()
            late.released = True
            await w.idle(HOUR)

            assert w.stored() == {"other_0": 1, "a_0": 1}
            assert w.orphans() == {}

    run()


@on_each_database
def test_a_fresh_workspace_is_proven_as_ever(vector_db: str) -> None:
    """Its test documents are taken out; nothing of them is found or listed."""

    @virtually
    async def run() -> None:
        async with world(vector_db=vector_db) as w:
            w.sim.faults.add("status", status=501, **DELETE)
            for n in range(3):
                w.publish(event(f"d{n}", ["one", "two"], technology=f"ws{n}"))
            await w.settled(within=60)

            assert w.statuses() == {"succeeded": 3}
            assert w.copies() == {1: 6}
            assert sum(len(each.rows) for each in w.sim.state.workspaces.values()) == 6

    run()
