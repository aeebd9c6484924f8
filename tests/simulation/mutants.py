"""Faults planted on purpose: the search has to find each of them, and says after how many seeds.

``python -m tests.simulation.mutants`` runs all. A mutant is caught by the first seed that goes
wrong with it in a way in which the same seed does not go wrong without it. Some are held by two
guards: what the search can't find a test has to find, and is run with the fault planted
(`tests.simulation.planted`).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import statistics
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest

from tests.packing import PACKING
from tests.simulation.findings import Wrong, kinds
from tests.simulation.generate import generate
from tests.simulation.run import run

PLANTED = "PLANTED_MUTANT"
"""The name of the mutant that `tests.simulation.planted` plants."""

Change = Callable[[Any], Any]
"""From what stands at a place to what takes its place."""


@dataclass(frozen=True)
class Mutant:
    """One planted fault.

    Args:
        name: what the service does now.
        place: module, class and name of what is changed.
        change: see `Change`.
        held_by: the test that fails with it, where the search can't find it: another guard makes up
            for what is missing, and the schedule ends well all the same.
        packing: UPLOAD_CHUNKS_PER_PACK of each start, of a fault that is about packs.
    """

    name: str
    place: str
    change: Change
    held_by: str = ""
    packing: str = ""

    def target(self) -> tuple[Any, str]:
        """Whose attribute is changed, and which.

        Raises:
            AttributeError: there is nothing at the place any more.
        """
        parts = self.place.split(".")
        for size in range(len(parts) - 1, 0, -1):
            try:
                holder = importlib.import_module(".".join(parts[:size]))
            except ModuleNotFoundError:
                continue
            for name in parts[size:-1]:
                holder = getattr(holder, name)
            getattr(holder, parts[-1])
            return holder, parts[-1]
        raise AttributeError(self.place)

    @contextmanager
    def planted(self) -> Iterator[None]:
        """With the fault."""
        holder, name = self.target()
        original = vars(holder)[name]
        with patch.object(holder, name, self.change(original)):
            yield


def _does_nothing(_: Any) -> Any:
    return lambda *args, **named: None


def _waits_for_nothing(_: Any) -> Any:
    async def nothing(*args: Any, **named: Any) -> None:
        pass

    return nothing


def _always(value: Any) -> Change:
    return lambda _: lambda *args, **named: value


def _always_is(value: Any) -> Change:
    return lambda _: property(lambda self: value)


def _later(value: Any) -> Change:
    async def answer(*args: Any, **named: Any) -> Any:
        return value

    return lambda _: answer


def _never_ends(_: Any) -> Any:
    async def forever(*args: Any, **named: Any) -> None:
        await asyncio.get_running_loop().create_future()

    return forever


def _commits_the_highest(_: Any) -> Any:
    due = importlib.import_module("consumer.kafka.ledger").CommitDue
    return lambda self: None if self._end is None else due(self._end)


def _forgets_looks(original: Any) -> Any:
    def begin(self: Any) -> None:
        original(self)
        self._looks._times.clear()

    return begin


def _removes_first(original: Any) -> Any:
    async def carry_out(self: Any, plan: Any, right: Any, *, trace_id: Any, **named: Any) -> Any:
        if plan.stale:
            await self._eraser._remover.remove(plan.slug, plan.stale, right, trace_id=trace_id)
        plan = replace(plan, stale=())
        return await original(self, plan, right, trace_id=trace_id, **named)

    return carry_out


def _removes_all_the_same(original: Any) -> Any:
    async def carry_out(self: Any, plan: Any, right: Any, *, trace_id: Any, **named: Any) -> Any:
        applied = await original(self, plan, right, trace_id=trace_id, **named)
        if applied.failed and plan.stale:
            await self._eraser._remover.remove(plan.slug, plan.stale, right, trace_id=trace_id)
        return applied

    return carry_out


def _begins_at_once(original: Any) -> Any:
    def enter(*args: Any, **named: Any) -> Any:
        turn = original(*args, **named)
        turn._begin()
        return turn

    return enter


def _covers_equal_texts(original: Any) -> Any:
    def cover(*args: Any) -> Any:
        found = original(*args)
        return replace(found, covered=Counter(dict.fromkeys(found.covered, 1_000)))

    return cover


def _keeps_its_etag(original: Any) -> Any:
    def write(self: Any, slug: Any, write: Any) -> None:
        workspace = self._workspaces.get(slug)
        etag = workspace.etag if workspace else None
        original(self, slug, write)
        if workspace:
            workspace.etag = etag

    return write


def _does_not_look(original: Any) -> Any:
    def may_come(self: Any, identity: Any, doubt: Any) -> None:
        with patch.object(self, "_looks"):
            original(self, identity, doubt)

    return may_come


def _loses_writes(original: Any) -> Any:
    def keep(self: Any, slug: Any, fresh: Any, listed: Any, reading: Any) -> Any:
        reading.writes.clear()
        return original(self, slug, fresh, listed, reading)

    return keep


def _only_of_one(original: Any) -> Any:
    def forget(self: Any, slug: Any = None) -> None:
        if slug is not None:
            original(self, slug)

    return forget


def _uses_any_listing(_: Any) -> Any:
    choice = importlib.import_module("consumer.anythingllm.marker_lookup").Choice
    return lambda last, question, now: choice.READ if last is None else choice.USE


def _doubts_no_workspace(original: Any) -> Any:
    def doubt(self: Any, slug: Any) -> None:
        if slug is None:
            original(self, slug)

    return doubt


def _random_id(_: Any) -> Any:
    return lambda record, cluster_id: str(uuid.uuid4())


def _lends_nothing(_: Any) -> Any:
    return lambda *args, **named: ([], Counter())


def _takes_what_fits(_: Any) -> Any:
    def in_turn(units: Any, room: Any, need: Any) -> list[bool]:
        left, taken = Counter(room), []
        for unit in units:
            taken.append(all(left[item] >= count for item, count in unit.items()))
            if taken[-1]:
                left.subtract(unit)
        return taken

    return in_turn


def _splits_at_once(original: Any) -> Any:
    async def give_up(self: Any, pending: Any, work: Any, failed: Any) -> None:
        if pending.is_pack:
            self._split(pending, work, failed[0].message)
        else:
            await original(self, pending, work, failed)

    return give_up


def _splits_unseen(original: Any) -> Any:
    async def attempts(self: Any, pending: Any, work: Any) -> bool:
        if pending.is_pack and (await self._step(pending, work)).name == "GIVE_UP":
            await self._give_up(pending, work, pending.given_up)
            return True
        return bool(await original(self, pending, work))

    return attempts


def _whatever_its_ids(_: Any) -> Any:
    return lambda unit, often: frozenset((digest, "") for digest in unit.digests)


def _other_way_round(original: Any) -> Any:
    return lambda self, other: original(other, self)


MUTANTS: Sequence[Mutant] = (
    Mutant("commits the highest", "consumer.kafka.ledger.Ledger._worked_out", _commits_the_highest),
    Mutant("stops the commit at markers", "consumer.kafka.ledger.Ledger.follow", _does_nothing),
    Mutant(
        "acknowledges before the proof",
        "consumer.anythingllm.proof.StorageProof.by_file",
        _later(True),
    ),
    Mutant("tells the index of no removal", "consumer.pipeline.index.Index.removed", _does_nothing),
    Mutant("tells the index of no upload", "consumer.pipeline.index.Index.stored", _does_nothing),
    Mutant(
        "counts as stored what may still go",
        "consumer.pipeline.doubts._Doubt.may_take",
        _always(False),
        held_by="tests/unit/pipeline/test_doubts.py::"
        "test_what_a_dead_owner_may_be_removing_holds_nothing_for_the_next_version",
    ),
    Mutant(
        "believes an ETag in spite of own writes",
        "consumer.pipeline.index.Index._write",
        _keeps_its_etag,
        held_by="tests/unit/pipeline/test_index.py::"
        "test_after_own_writes_the_listing_is_not_asked_for_by_its_etag",
    ),
    Mutant(
        "loses what is written while it reads",
        "consumer.pipeline.index.Index._keep",
        _loses_writes,
        held_by="tests/unit/pipeline/test_index.py::"
        "test_a_unit_stored_while_the_listing_was_under_way_is_not_lost",
    ),
    Mutant(
        "keeps the index over a rebalance", "consumer.pipeline.index.Index.forget", _only_of_one
    ),
    Mutant("asks no fence", "consumer.resilience.fence.Fence.check", _does_nothing),
    Mutant("believes its lease for ever", "consumer.kafka.lease.Lease.over", _always_is(False)),
    Mutant(
        "waits for nobody when a partition goes",
        "consumer.kafka.assignments.Assignments._drained",
        _later(True),
        held_by="tests/unit/kafka/test_assignments.py::"
        "test_a_revocation_waits_for_requests_in_the_middle",
    ),
    Mutant(
        "settles for a former assignment",
        "consumer.kafka.assignment.Assignment.ended",
        _always_is(False),
        held_by="tests/unit/kafka/test_lease.py::test_an_assignment_ends_with_its_lease",
    ),
    Mutant(
        "forgets its looks in a rebalance", "consumer.pipeline.sweep.Sweep.begin", _forgets_looks
    ),
    Mutant("never looks", "consumer.pipeline.sweep.Sweep.keep_looking", _never_ends),
    Mutant(
        "looks at nothing after a doubt",
        "consumer.pipeline.doubts.Doubts._may_come",
        _does_not_look,
    ),
    Mutant(
        "looks at nothing after it left a test document",
        "consumer.pipeline.due_looks.DueLooks.doubt",
        _doubts_no_workspace,
    ),
    Mutant(
        "takes doubles for none",
        "consumer.pipeline.sweep.superfluous_in",
        _always((frozenset(), False)),
    ),
    Mutant(
        "takes what is newer for left over",
        "consumer.pipeline.carried_out.Known._is_older",
        _always(True),
    ),
    Mutant(
        "goes by dates before offsets",
        "consumer.model.precedence.Occurrence.supersedes",
        lambda _: lambda self, new: self.version.newer_than(new.version),
    ),
    Mutant(
        "lets old versions come back",
        "consumer.pipeline.carried_out.Known.supersedes",
        _always(False),
    ),
    Mutant(
        "remembers no document that was carried out",
        "consumer.pipeline.carried_out.CarriedOut.document",
        _does_nothing,
    ),
    Mutant(
        "remembers no tombstone",
        "consumer.pipeline.carried_out.CarriedOut.tombstone",
        _does_nothing,
    ),
    Mutant("has no order", "consumer.pipeline.key_queues.KeyQueues.enter", _begins_at_once),
    Mutant(
        "supersedes the newer one", "consumer.pipeline.key_queues.Turn.replaces", _other_way_round
    ),
    Mutant(
        "forgets what is ambiguous",
        "consumer.anythingllm.upload_doubt.UploadDoubt.begin",
        _does_nothing,
    ),
    Mutant(
        "repeats what is in doubt",
        "consumer.anythingllm.unit_upload.RawTextUpload._found",
        _later(None),
        held_by="tests/client/test_lies.py::"
        "test_an_upload_that_is_never_answered_well_is_no_success",
    ),
    Mutant(
        "takes any listing for an answer",
        "consumer.anythingllm.marker_lookup.choose",
        _uses_any_listing,
    ),
    Mutant(
        "takes a refused connection for a proof",
        "consumer.anythingllm.unit_upload.RawTextUpload.may_still_come",
        lambda _: property(lambda self: self._ambiguous_since is not None),
    ),
    Mutant(
        "proves no workspace",
        "consumer.anythingllm.sentinel_proof.SentinelProof.prove",
        _waits_for_nothing,
    ),
    Mutant(
        "leaves its test documents",
        "consumer.anythingllm.sentinel_store.SentinelStore.remove",
        _waits_for_nothing,
    ),
    Mutant("removes nothing", "consumer.pipeline.removal.Remover.remove", _later(0)),
    Mutant(
        "leaves a removal that is overtaken",
        "consumer.pipeline.removal.Remover._follow",
        _waits_for_nothing,
        held_by="tests/unit/pipeline/test_removal.py::"
        "test_an_overtaken_event_follows_what_was_sent",
    ),
    Mutant(
        "removes before it stores", "consumer.pipeline.upload.Uploader.carry_out", _removes_first
    ),
    Mutant(
        "removes although a chunk was refused",
        "consumer.pipeline.upload.Uploader.carry_out",
        _removes_all_the_same,
    ),
    Mutant(
        "holds on to a plan of what was",
        "consumer.pipeline.upload.Uploader._check",
        _does_nothing,
        held_by="tests/unit/pipeline/test_upload.py::"
        "test_what_was_planned_before_others_emptied_the_workspace_is_planned_anew",
    ),
    Mutant(
        "tells the next owner of no doubt",
        "consumer.kafka.assignment.KafkaDelivery.left_in_doubt",
        _always(False),
        held_by="tests/unit/kafka/test_source.py::"
        "test_a_delivery_knows_what_a_former_owner_left_in_doubt",
    ),
    Mutant(
        "carries out what waits behind a dropped event",
        "consumer.pipeline.key_queues.Turn.drop_those_behind",
        _does_nothing,
        held_by="tests/unit/pipeline/test_journey.py::"
        "test_what_waits_behind_a_document_that_a_stop_drops_is_dropped",
    ),
    Mutant(
        "notes what is settled with a hole",
        "consumer.kafka.ledger.Ledger._leave_out",
        _does_nothing,
        held_by="tests/unit/kafka/test_ledger.py::test_what_is_noted_has_no_hole",
    ),
    Mutant(
        "believes every answer that says cached",
        "consumer.anythingllm.unit_upload.RawTextUpload._is_proven",
        _later(True),
        held_by="tests/client/test_vector_databases.py::"
        "test_vectors_that_are_refused_are_not_said_to_be_stored",
    ),
    Mutant(
        "believes every search to find",
        "consumer.anythingllm.joint_looks.JointLooks.is_found",
        _later(True),
        held_by="tests/client/test_vector_databases.py::"
        "test_vectors_that_are_refused_are_not_said_to_be_stored",
    ),
    Mutant(
        "believes that what is listed no more is found no more",
        "consumer.anythingllm.removal_looks.RemovalLooks.remains",
        _later(None),
        held_by="tests/virtual/test_vector_databases.py::"
        "test_what_is_refused_right_after_a_test_of_removals_is_told",
    ),
    Mutant(
        "takes what is told late for new",
        "consumer.pipeline.carried_out.Known.has_ended",
        lambda original: lambda self, version: False,
        held_by="tests/unit/pipeline/test_carried_out.py::"
        "test_what_two_topics_tell_is_known_in_every_order",
    ),
    Mutant(
        "believes every listing",
        "consumer.anythingllm.vouching.Vouching._missing",
        _later(frozenset()),
        held_by="tests/client/test_vector_databases.py::"
        "test_rows_that_a_dead_process_left_without_vectors_are_not_believed",
    ),
    Mutant(
        "takes any copy for the one that is found",
        "consumer.anythingllm.hit_ids.HitIds.tell",
        _always(False),
        held_by="tests/client/test_copies.py::"
        "test_a_copy_that_came_after_the_listing_proves_no_other_row",
    ),
    Mutant("counts equal texts once", "consumer.model.difference.cover", _covers_equal_texts),
    Mutant(
        "gives up without evidence",
        "consumer.resilience.blame.Comparison.blames",
        _always(True),
    ),
    Mutant(
        "writes no dead letter",
        "consumer.pipeline.settle.Settler._publish_letter",
        _waits_for_nothing,
    ),
    Mutant(
        "answers nobody", "consumer.pipeline.settle.Settler._publish_result", _waits_for_nothing
    ),
    Mutant(
        "answers under a new id each time",
        "consumer.contract.upload_result.event_id_of",
        _random_id,
    ),
    Mutant("gives no place back", "consumer.pipeline.in_flight.Place.leave", _waits_for_nothing),
    Mutant(
        "never tries a paused workspace again",
        "consumer.pipeline.pauses.Pauses._is_due",
        _does_nothing,
    ),
    Mutant(
        "works again what the commit says is settled",
        "consumer.kafka.resumption.Resumption.settled_before",
        _always(None),
    ),
    # What is true of packs
    Mutant(
        "takes what lends for left over",
        "consumer.model.difference._lenders",
        _lends_nothing,
        held_by="tests/unit/pipeline/test_carried_out.py::"
        "test_a_pack_that_lends_a_partial_version_a_text_stays",
        packing="10",
    ),
    Mutant(
        "believes that packs lend what nobody has seen",
        "consumer.pipeline.apply._lending",
        _always(lambda unit: True),
        held_by="tests/unit/pipeline/test_packs.py::"
        "test_only_what_was_seen_and_is_not_about_to_go_lends",
        packing="10",
    ),
    Mutant(
        "keeps of overlapping packs the first ones",
        "consumer.model.fitting.exact_cover",
        _takes_what_fits,
        held_by="tests/unit/model/test_difference.py::"
        "test_of_packs_that_overlap_those_that_fit_together_are_kept",
        packing="10,3",
    ),
    Mutant(
        "leaves of late packs the first ones",
        "consumer.model.copies.exact_cover",
        _takes_what_fits,
        held_by="tests/unit/model/test_copies.py::"
        "test_late_packs_of_another_cut_go_and_nothing_else",
        packing="10,3",
    ),
    Mutant(
        "takes what is in a pack as well for no copy",
        "consumer.pipeline.sweep.superfluous_in",
        lambda _: (
            lambda stored, is_proven: (
                importlib.import_module("consumer.model.copies").doubles_in(stored, is_proven),
                False,
            )
        ),
        packing="10,1",
    ),
    Mutant(
        "takes no pack back that it splits",
        "consumer.pipeline.upload.Uploader._give_up",
        _splits_at_once,
        held_by="tests/unit/pipeline/test_packs.py::"
        "test_a_refused_pack_is_split_and_only_the_culprit_fails",
        packing="10",
    ),
    Mutant(
        "looks for no pack that it splits",
        "consumer.pipeline.upload.Uploader._attempts",
        _splits_unseen,
        held_by="tests/unit/pipeline/test_packs.py::"
        "test_a_pack_in_doubt_is_looked_for_before_it_is_split",
        packing="10",
    ),
    Mutant(
        "splits a pack by chance",
        "consumer.pipeline.giving_up.is_to_be_split",
        _always(True),
        held_by="tests/unit/pipeline/test_packs.py::test_a_pack_is_not_split_where_nothing_passes",
        packing="10",
    ),
    Mutant(
        "packs culprits again",
        "consumer.pipeline.culprits.Culprits.__contains__",
        _always(False),
        held_by="tests/virtual/test_packs.py::test_a_culprit_is_known_under_another_title",
        packing="10",
    ),
    Mutant(
        "packs a text twice",
        "consumer.model.packing.parts",
        lambda _: (
            lambda contents, digests, most: [
                range(at, min(at + most, len(digests)))
                for at in range(0, len(digests), max(1, most))
            ]
        ),
        held_by="tests/unit/model/test_packing.py::test_what_is_packed_with_what",
        packing="10",
    ),
    Mutant(
        "packs anew around copies of other chunks",
        "consumer.model.repacking._held_by",
        _whatever_its_ids,
        held_by="tests/unit/model/test_repacking.py::test_what_goes_and_what_is_uploaded_for_it",
        packing="10,1",
    ),
    Mutant(
        "takes what was packed anew in vain for packed anew",
        "consumer.pipeline.upload._as_it_was",
        lambda _: (
            lambda work: importlib.import_module("consumer.model.outcome").Applied(
                work.slug, work.plan.version, tuple(work.uploaded), (), tuple(work.failed), 0
            )
        ),
        held_by="tests/unit/pipeline/test_packs.py::"
        "test_where_packing_anew_fails_all_stays_and_no_chunk_fails",
        packing="10,1",
    ),
)


class Hunt:
    """Counts seeds until mutants are caught; what a seed finds anyway is looked up once."""

    def __init__(self) -> None:
        self._anyway: dict[tuple[str, int], frozenset[Wrong]] = {}

    def seeds_until_caught(self, mutant: Mutant, first: int, most: int) -> int | None:
        """How many it takes; None where that many are not enough."""
        packed = {PACKING: mutant.packing} if mutant.packing else {}
        with patch.dict(os.environ, packed):
            for tried, seed in enumerate(range(first, first + most), 1):
                schedule = generate(seed)
                with mutant.planted():
                    found = kinds(run(schedule).found)
                if found and found - self._without(seed):
                    return tried
        return None

    def _without(self, seed: int) -> frozenset[Wrong]:
        place = os.environ.get(PACKING, ""), seed
        if place not in self._anyway:
            self._anyway[place] = kinds(run(generate(seed)).found)
        return self._anyway[place]


def is_held(mutant: Mutant) -> bool:
    """Whether the test that holds a mutant fails with it, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "tests.simulation.planted", mutant.held_by]
    ran = subprocess.run(
        command, env=os.environ | {PLANTED: mutant.name}, capture_output=True, check=False
    )
    return ran.returncode == pytest.ExitCode.TESTS_FAILED


def main(arguments: list[str]) -> int:
    """Exit code 1 where a mutant gets away."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--starts", type=int, default=3, help="from how many seeds each begins")
    parser.add_argument("--most", type=int, default=300, help="seeds from each of them")
    parser.add_argument("--name", help="only mutants with this in their names")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    hunt, away = Hunt(), 0
    for mutant in MUTANTS:
        if chosen.name and chosen.name not in mutant.name:
            continue
        firsts = [start * 100_000 for start in range(chosen.starts)]
        needed = [hunt.seeds_until_caught(mutant, first, chosen.most) for first in firsts]
        caught = [each for each in needed if each is not None]
        held = bool(mutant.held_by) and is_held(mutant)
        away += not caught and not held
        # A start that found nothing counts as more than any other.
        median = statistics.median_low([each or chosen.most + 1 for each in needed])
        said = f"{median:4}" if median <= chosen.most else "   -"
        by = f"; held by {mutant.held_by}" if held else ""
        print(
            f"{said} seeds ({len(caught)} of {len(needed)} starts)  {mutant.name}{by}", flush=True
        )
    return 1 if away else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
