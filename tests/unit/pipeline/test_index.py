"""The index: what a listing says, kept current through every race with our own writes."""

from __future__ import annotations

import asyncio

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.listing import FILE_STORE
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Slug
from consumer.pipeline.index import Index
from consumer.pipeline.long_work import AT_ONCE
from consumer.telemetry.metrics import PREFIX, Metrics
from tests.unit.pipeline.doubles import TRACE, Clock, Storage, index_of, stored

DOCS = Slug("docs")
A = Identity("a")


async def _texts(index: Index, identity: Identity = A) -> set[str]:
    return {unit.location for unit in await index.units(DOCS, identity, trace_id=TRACE)}


def _at(*units: StoredUnit) -> set[str]:
    return {unit.location for unit in units}


def _listings(metrics: Metrics) -> list[float | None]:
    """How often a listing was read, and how often it was unchanged."""
    name = f"{PREFIX}_index_listings_total"
    return [
        metrics.registry.get_sample_value(name, {"outcome": outcome})
        for outcome in ("read", "unchanged")
    ]


async def _arrived(storage: Storage, times: int) -> None:
    """Waits until so many listings more have been asked for."""
    for _ in range(times):
        await storage.listing_gate.arrived.acquire()


async def test_a_workspace_is_listed_once_for_all_who_ask_at_once() -> None:
    """Single flight: a listing of a large workspace is expensive."""
    storage = Storage(units=[stored("a", "one"), stored("b", "two")])
    index = index_of(storage)
    found = await asyncio.gather(
        *(_texts(index, Identity(name)) for name in ("a", "b", "a", "none"))
    )

    assert [len(each) for each in found] == [1, 1, 1, 0]
    assert storage.calls == ["listing docs"]


async def test_an_old_listing_is_read_anew() -> None:
    """People reset workspaces in the UI: a picture is believed for so long and no longer."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    storage.units.clear()
    clock.now += 60
    assert len(await _texts(index)) == 1
    clock.now += 1

    assert await _texts(index) == set()


async def test_own_writes_are_known_without_a_listing() -> None:
    """Stored and removed units are noted as they happen."""
    first, second = stored("a", "one"), stored("a", "two")
    storage = Storage(units=[first])
    index = index_of(storage)
    await _texts(index)
    index.stored(DOCS, second)
    index.removed([first])

    assert await _texts(index) == _at(second)
    assert len(storage.calls) == 1


async def test_a_unit_stored_while_the_listing_was_under_way_is_not_lost() -> None:
    """The answer may be older than the write: taken alone it would upload the chunk again."""
    storage = Storage()
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    unit = stored("a", "one")
    index.stored(DOCS, unit)
    storage.listing_gate.open()

    assert await asking == _at(unit)
    assert await _texts(index) == _at(unit)


async def test_a_unit_removed_while_the_listing_was_under_way_stays_removed() -> None:
    """The other way round it would count as stored although it is gone."""
    unit = stored("a", "one")
    storage = Storage(units=[unit])
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    index.removed([unit])
    storage.listing_gate.open()

    assert await asking == set()


async def test_a_listing_that_was_under_way_when_all_was_forgotten_is_not_kept() -> None:
    """It may be older than the reason to forget: others may have written in between."""
    storage = Storage()
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    storage.units.append(stored("a", "by another"))
    index.forget()
    storage.listing_gate.open()

    assert len(await asking) == 1
    assert storage.calls == ["listing docs"] * 2


async def test_a_reason_to_look_anew_begins_an_epoch() -> None:
    """What was planned before it has to be planned again; own writes are no such reason."""
    storage = Storage(units=[stored("a", "text")])
    index = index_of(storage)
    rows = await index.units(DOCS, A, trace_id=TRACE)
    begun = index.epoch(DOCS)
    index.removed(rows)
    index.stored(DOCS, stored("a", "another"))
    await index.read_anew(DOCS, trace_id=TRACE)
    assert index.epoch(DOCS) == begun
    index.forget(Slug("more"))
    assert index.epoch(DOCS) == begun
    index.forget(DOCS)
    index.forget()

    assert index.epoch(DOCS) == begun + 2


async def test_a_workspace_that_was_made_anew_begins_an_epoch() -> None:
    """All that was known of the other one is worthless."""
    storage = Storage(units=[stored("a", "text")])
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    begun = index.epoch(DOCS)
    storage.workspace_id = 2
    await index.read_anew(DOCS, trace_id=TRACE)

    assert index.epoch(DOCS) == begun + 1


async def test_what_a_new_listing_still_shows() -> None:
    """Of units of several documents; those that it does not show are gone."""
    units = [stored("a", "x"), stored("a", "y"), stored("b", "z")]
    storage = Storage(units=list(units))
    index = index_of(storage)
    await index.units(DOCS, A, trace_id=TRACE)
    storage.units.remove(units[1])

    assert await index.listed_anew(DOCS, units, trace_id=TRACE) == (units[0], units[2])


async def test_workspaces_that_cant_be_listed_are_named_until_they_can() -> None:
    """The list of files is no workspace."""
    storage, metrics = Storage(), Metrics()
    index = index_of(storage, metrics=metrics)
    for slug in (DOCS, FILE_STORE):
        storage.listing_fails = [Failure("sick")]
        with pytest.raises(Failure):
            await index.units(slug, A, trace_id=TRACE)
    assert index.unlisted == {DOCS: "sick"}
    gauge = "anythingllm_consumer_workspaces_unlisted"
    assert metrics.registry.get_sample_value(gauge) == 1
    await index.read_anew(DOCS, trace_id=TRACE)

    assert index.unlisted == {}
    assert metrics.registry.get_sample_value(gauge) == 0


async def test_the_list_of_files_is_kept_current_with_every_workspace() -> None:
    """What is stored is a file as well, and what is removed goes from everywhere."""
    storage = Storage(units=[stored("a", "x")])
    index = index_of(storage)
    for slug in (DOCS, Slug("more"), FILE_STORE):
        await index.units(slug, A, trace_id=TRACE)
    index.stored(DOCS, stored("a", "y"))
    assert len(index.known(FILE_STORE, A)) == 2
    index.removed(index.known(DOCS, A))

    assert [index.known(slug, A) for slug in (DOCS, Slug("more"), FILE_STORE)] == [(), (), ()]


async def test_forgetting_one_workspace_leaves_the_others() -> None:
    """Only what is in doubt is read anew."""
    storage = Storage()
    index = index_of(storage)
    for slug in ("docs", "more", "docs"):
        await index.units(Slug(slug), A, trace_id=TRACE)
    index.forget(DOCS)
    for slug in ("docs", "more"):
        await index.units(Slug(slug), A, trace_id=TRACE)

    assert storage.calls == ["listing docs", "listing more", "listing docs"]


async def test_a_listing_that_fails_is_asked_for_again() -> None:
    """Failure of one is nobody else's; the next one asks anew."""
    unit = stored("a", "one")
    storage = Storage(units=[unit], listing_fails=[Failure("down")])
    index = index_of(storage)
    with pytest.raises(Failure):
        await _texts(index)
    index.stored(DOCS, unit)

    assert await _texts(index) == _at(unit)


async def test_removing_what_is_not_known_changes_nothing() -> None:
    """A removal is repeated after a lost answer."""
    unit = stored("a", "one")
    index = index_of(Storage(units=[unit]))
    await _texts(index)
    index.removed([unit])
    index.removed([unit, stored("b", "never")])

    assert await _texts(index) == set()


async def test_what_is_asked_for_is_given_as_rows() -> None:
    """Location, version and digests are what deciding needs."""
    unit = stored("a", "one", day=3)
    index = index_of(Storage(units=[unit]))
    [row] = await index.units(DOCS, A, trace_id=TRACE)

    assert (row.location, row.version, row.digests) == (unit.location, unit.version, unit.digests)
    assert row.identity == "a"


# -- asking whether it is still so ----------------------------------------------------------------


async def test_an_old_listing_that_is_still_so_is_not_read_again() -> None:
    """The server says so by its ETag; the age begins anew."""
    clock, metrics, storage = Clock(), Metrics(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60, metrics=metrics)
    for _ in range(3):
        assert len(await _texts(index)) == 1
        assert len(await _texts(index)) == 1
        clock.now += 61

    assert _listings(metrics) == [1, 2]


async def test_after_own_writes_the_listing_is_not_asked_for_by_its_etag() -> None:
    """The server may have lost them: "as it was" would then be taken for "as we know it"."""
    clock, metrics, storage = Clock(), Metrics(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60, metrics=metrics)
    await _texts(index)
    index.stored(DOCS, stored("a", "lost by the server"))
    clock.now += 61

    assert await _texts(index) == _at(stored("a", "one"))
    assert _listings(metrics) == [2, 0]


async def test_a_removal_is_an_own_write_too() -> None:
    """A unit that came back would be taken for gone."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    index.removed(await index.units(DOCS, A, trace_id=TRACE))
    clock.now += 61

    assert len(await _texts(index)) == 1


async def test_removing_nothing_is_no_write() -> None:
    """Each upload tells what it has removed, mostly nothing: no listing is read whole for that."""
    clock, metrics, storage = Clock(), Metrics(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60, metrics=metrics)
    await _texts(index)
    index.removed([])
    clock.now += 61
    await _texts(index)

    assert _listings(metrics) == [1, 1]


async def test_a_listing_that_own_writes_overtook_has_no_etag() -> None:
    """What was written while it was on its way makes rows that no ETag names."""
    clock, metrics, storage = Clock(), Metrics(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60, metrics=metrics)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    index.stored(DOCS, stored("a", "lost by the server"))
    storage.listing_gate.open()
    assert len(await asking) == 2
    clock.now += 61

    assert len(await _texts(index)) == 1
    assert _listings(metrics) == [2, 0]


async def test_a_write_while_the_server_says_unchanged_is_kept() -> None:
    """The answer may be older than the write."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    clock.now += 61
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await _arrived(storage, 2)
    index.stored(DOCS, stored("a", "two"))
    storage.listing_gate.open()

    assert await asking == _at(stored("a", "one"), stored("a", "two"))


async def test_unchanged_does_not_bring_back_what_was_forgotten_meanwhile() -> None:
    """Others wrote after the answer: the rows that it confirms are not there any more."""
    clock, metrics, storage = Clock(), Metrics(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60, metrics=metrics)
    await _texts(index)
    clock.now += 61
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await _arrived(storage, 2)
    storage.units.append(stored("a", "by another"))
    index.forget()
    storage.listing_gate.open()

    assert len(await asking) == 2
    assert _listings(metrics) == [2, 1]


async def test_a_failed_look_leaves_what_was_known() -> None:
    """Writes noted since must not be lost with a listing that never came."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    clock.now += 61
    storage.listing_fails = [Failure("down")]
    with pytest.raises(Failure):
        await _texts(index)

    assert index.sharing_source(DOCS, "https://docs.example/a", Identity("b")) == "a"
    assert len(await _texts(index)) == 1


# -- a look now -----------------------------------------------------------------------------------


async def test_a_new_look_is_taken_whatever_the_age() -> None:
    """What is asked afterwards is answered from it."""
    storage = Storage(units=[stored("a", "one")])
    index = index_of(storage)
    await _texts(index)
    storage.units.append(stored("a", "arrived late"))
    await index.read_anew(DOCS, trace_id=TRACE)

    assert len(await _texts(index)) == 2
    assert len(storage.calls) == 2


async def test_a_new_look_is_not_one_that_was_under_way() -> None:
    """That one may have been answered before there was a reason to look."""
    storage = Storage()
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    storage.units.append(stored("a", "arrived late"))
    looks = [asyncio.create_task(index.read_anew(DOCS, trace_id=TRACE)) for _ in range(3)]
    await asyncio.sleep(0)
    storage.listing_gate.open()
    await asyncio.gather(asking, *looks)

    assert len(await _texts(index)) == 1
    assert len(storage.calls) == 2, "all three looks are one"


async def test_a_new_look_that_fails_says_so() -> None:
    """Who asked for it must not go on with the old picture."""
    storage = Storage()
    index = index_of(storage)
    await _texts(index)
    storage.listing_fails = [Failure("down")]
    with pytest.raises(Failure):
        await index.read_anew(DOCS, trace_id=TRACE)


# -- a workspace that is not what it was ----------------------------------------------------------


@pytest.mark.parametrize("workspace_id", [1, 2, None], ids=["emptied", "made anew", "deleted"])
async def test_writes_into_the_former_workspace_are_not_carried_over(
    workspace_id: int | None,
) -> None:
    """A chunk stored just before the workspace was reset is gone with it."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    clock.now += 61
    storage.units.clear()
    storage.workspace_id = workspace_id
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await _arrived(storage, 2)
    index.stored(DOCS, stored("a", "stored before the reset"))
    storage.listing_gate.open()

    assert await asking == set()
    assert await _texts(index) == set()
    assert len(storage.calls) == 3


async def test_a_workspace_made_anew_is_another_one_whatever_it_holds() -> None:
    """Somebody else filled it meanwhile; our write went into the one before."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    clock.now += 61
    storage.workspace_id = 2
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await _arrived(storage, 2)
    index.stored(DOCS, stored("a", "stored before it was deleted"))
    storage.listing_gate.open()

    assert await asking == _at(stored("a", "one"))


async def test_writes_into_a_fresh_workspace_stay() -> None:
    """It was empty when it was first listed, and is still the same one."""
    clock, storage = Clock(), Storage()
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    clock.now += 61
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await _arrived(storage, 2)
    index.stored(DOCS, stored("a", "one"))
    storage.listing_gate.open()

    assert len(await asking) == 1


async def test_who_asks_together_shares_the_failure() -> None:
    """32 documents that meet an outage make one listing, not one after the other."""
    storage = Storage(listing_fails=[Failure("down", fault=Fault.THEIRS)])
    storage.listing_gate.close()
    index = index_of(storage)
    asking = [asyncio.create_task(index.units(DOCS, A, trace_id=TRACE)) for _ in range(32)]
    await asyncio.sleep(0)
    storage.listing_gate.open()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert storage.calls.count("listing docs") == 1
    assert all(isinstance(answer, Failure) for answer in answers)
    assert await index.units(DOCS, A, trace_id=TRACE) == ()


async def test_rows_that_prove_wrong_while_they_are_unpacked_are_read_anew() -> None:
    """Those of a large document are unpacked with turns of the loop between."""
    storage = Storage(units=[stored("a", f"text {n}") for n in range(AT_ONCE * 2)])
    index = index_of(storage)
    assert len(await index.units(DOCS, A, trace_id=TRACE)) == AT_ONCE * 2

    asked = asyncio.create_task(index.units(DOCS, A, trace_id=TRACE))
    await asyncio.sleep(0)
    storage.units = storage.units[:1]
    index.forget(DOCS)
    assert len(await asked) == 1
