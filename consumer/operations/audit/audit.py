"""The promise "nothing is lost", checked: what the events say against what AnythingLLM lists.

It runs beside a living service, so the order of the looks matters: first where the topics end, then
what the group has committed, then the events, then the dead letters, and what is stored last. An
event that was committed at the first look is stored at the last one, or has its dead letter.

Whatever seems to be wrong is looked at twice, the second time with everything that was published
meanwhile. Only what is wrong both times is a finding. An audit changes nothing.

A listing does not prove that a chunk is found, so some or all of them are searched for as well
(`consumer.operations.audit.searching`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from consumer.anythingllm.inventory import Inventory, open_inventory
from consumer.anythingllm.proof import Sight
from consumer.anythingllm.servers_inventory import ServersInventory, open_servers_inventory
from consumer.kafka.topics import no_such_topic
from consumer.model.names import Location, ServerName, Slug
from consumer.model.record import Coordinates
from consumer.model.slug import is_slug
from consumer.operations.audit.findings import (
    AuditedDocument,
    AuditFinding,
    AuditSummary,
    WorkspaceStock,
)
from consumer.operations.audit.judgement import Case, Excuse, Judgement, KeptUnit, judge
from consumer.operations.audit.newest_results import NewestResults
from consumer.operations.audit.recording import EventRecorder, RowRecorder
from consumer.operations.audit.register import Entry, Register, open_register
from consumer.operations.audit.searching import Searching, SearchScope
from consumer.operations.audit.states import NOTES, UNEXPLAINED, DocumentState
from consumer.operations.letters.reading import read_letters
from consumer.operations.letters.standing import Standing
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import StageProgress, silent
from consumer.operations.topic_progress import TopicProgress, topic_progress_of
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

PAUSE = 1.0  # seconds between the two looks
_MOST_NAMED = 5  # workspaces of a server
_TEXT_BYTES = 64 * 1024  # fetched for the text of one document, at least
_PROGRESS_EVERY = 200  # records between two reports of progress


class UnknownWorkspace(Exception):
    """Neither AnythingLLM nor any event knows the workspace that was named."""


class Audit:
    """See the module's docstring; made by `open_audit`.

    Args:
        settings: of the service that is audited.
        kafka: opened for looking at groups and dead letters.
        reader: of its topics.
        inventory: of AnythingLLM.
        register: gets everything that is read.
        searching: looks for what is listed.
        workspace: a slug; what belongs into others is left out.
        progress: called now and then.
        sleep: waits.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        reader: RecordReader,
        inventory: Inventory | ServersInventory,
        register: Register,
        searching: Searching,
        *,
        workspace: Slug | None = None,
        progress: StageProgress = silent,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._reader = reader
        self._inventory = inventory
        self._register = register
        self._searching = searching
        self._workspace = workspace
        self._progress = progress
        self._sleep = sleep
        self._routing = settings.routing.rules()
        self._events = EventRecorder(settings, register, workspace)
        self._topic_progress: dict[str, TopicProgress] = {}
        self._letters_reach_back = True
        self._excuses: dict[Coordinates, Excuse] = {}
        self._listed: dict[Slug, datetime] = {}
        self._notes: tuple[str, ...] = ()

    async def look(self) -> None:
        """Look at everything; what seems to be wrong is looked at again.

        Raises:
            KafkaUnavailableError: Kafka can't be reached or refuses, or a topic is missing.
            AnythingLLMError: AnythingLLM can't be asked.
            UnknownWorkspace: see there.
            RegisterFull: there is too little room for temporary files.
        """
        await self._look_at_topics()
        await self._look_at_letters()
        await self._look_at_workspaces(await self._slugs())
        for found in self._judged(AuditSummary()):
            if _may_pass(found):
                self._register.suspect(found.workspace, found.name)
        await self._searching.look(self._holders, self._workspace)
        for slug, identity in self._register.sights.with_missing():
            self._register.suspect(slug, identity)
        suspected = self._register.suspected_slugs()
        if suspected:
            await self._look_again(suspected, PAUSE)
            # What has gone meanwhile is not waited for, only what may be found late.
            visible = await self._searching.seconds_until_visible(self._listed)
            if visible > 0:
                await self._look_again(suspected, visible)

    async def _look_again(self, suspected: Sequence[Slug | None], seconds: float) -> None:
        await self._sleep(seconds)
        await self._look_at_topics()
        await self._look_at_letters()
        await self._look_at_workspaces([slug for slug in suspected if slug])
        await self._searching.look_again(self._holders)

    def found(self, summary: AuditSummary) -> Iterator[AuditFinding]:
        """Everything that is not as it should be, also notes.

        Args:
            summary: gets the numbers; they are complete at the end.
        """
        for found in self._judged(summary):
            if not _may_pass(found) or self._register.is_suspect(found.workspace, found.name):
                yield found
            else:
                # It was in order at the first look: the service is at work on it.
                summary.states[found.state] -= 1
                summary.states[DocumentState.SETTLING] += 1
        summary.events, summary.invalid = self._events.read, self._events.invalid
        summary.not_committed = sum(
            progress.unsettled for progress in self._topic_progress.values()
        )
        summary.unsearchable = tuple(sorted(self._searching.silent))
        summary.notices = (*self._notices(), *self._searching.notices())

    def documents(self) -> Iterator[AuditedDocument]:
        """Every document, also what is in order, sorted by identity; as it is at the last look."""
        for entry in self._register.entries(self._workspace):
            found = self._as_found(entry, judge(self._case(entry, {})))
            wanted = entry.wanted
            is_newer = wanted is not None and any(
                unit.version.newer_than(wanted.version) for unit in entry.kept
            )
            yield AuditedDocument(found, entry.kept, is_newer, entry.is_ended)

    def listed_at(self, slug: Slug) -> datetime | None:
        """When a workspace was listed last, by the server's clock; None where there is none."""
        return self._listed.get(slug)

    @property
    def topic_progress(self) -> Mapping[str, TopicProgress]:
        """How far the topics with events were read, by their names."""
        return self._topic_progress

    @property
    def newest_results(self) -> NewestResults:
        """What results say; empty until somebody reads them into it."""
        return self._register.newest_results

    # -- looking -----------------------------------------------------------------------------------

    async def _look_at_topics(self) -> None:
        """Read the events that came since the last look; the first time all of them."""
        kafka = self._settings.kafka
        topics = (kafka.documents_topic, kafka.replay_topic, kafka.dead_letters_topic)
        topic_progress = await topic_progress_of(self._kafka, self._reader, topics, kafka.group_id)
        if kafka.documents_topic not in topic_progress:
            raise no_such_topic(kafka.documents_topic)
        letters = topic_progress.pop(kafka.dead_letters_topic, None)
        self._letters_reach_back = letters is None or letters.reaches_back
        new = {
            name: progress.since(self._topic_progress.get(name))
            for name, progress in topic_progress.items()
        }
        self._topic_progress = topic_progress
        done, total = 0, sum(each.end - each.start for of in new.values() for each in of.values())
        for name, ranges in new.items():
            async for record in self._reader.records(name, ranges):
                self._events.take(record, topic_progress[name])
                done += 1
                if done % _PROGRESS_EVERY == 0:
                    self._progress("reading events", done, total)
        self._progress("reading events", total, total)

    async def _look_at_letters(self) -> None:
        def progress(done: int, total: int) -> None:
            self._progress("reading dead letters", done, total)

        letters = await read_letters(self._settings, self._kafka, progress=progress)
        self._notes = letters.notes
        self._excuses = {}
        for letter in (*letters.letters, *letters.parked):
            standing = letters.of(letter)
            if letter.is_ours and standing is not Standing.REPLACED:
                self._excuses[letter.origin.at] = Excuse(standing, letter.failed_chunks)

    async def _slugs(self) -> Sequence[Slug]:
        there = [each.slug for each in await self._inventory.workspaces()]
        if self._workspace is None:
            # Workspaces of others are not audited, and may have slugs that no URL can carry.
            return [slug for slug in there if is_slug(slug) and self._routing.permits(slug)]
        if self._workspace not in there and not any(self._register.entries(self._workspace)):
            raise UnknownWorkspace(
                f"neither AnythingLLM nor any event knows a workspace {self._workspace}"
            )
        return [self._workspace]

    async def _look_at_workspaces(self, slugs: Sequence[Slug]) -> None:
        for number, slug in enumerate(slugs):
            self._progress("looking at workspaces", number, len(slugs))
            self._register.forget_stored(slug)
            take = RowRecorder(self._register, slug, self._settings.document.identity)
            listed = await self._inventory.scan(slug, take)
            if listed is not None:
                self._listed[slug] = listed
        self._progress("looking at workspaces", len(slugs), len(slugs))

    # -- judging -----------------------------------------------------------------------------------

    def _judged(self, summary: AuditSummary) -> Iterator[AuditFinding]:
        """Everything that is not in order; the rest is only counted."""
        for found in self._unanswered():
            summary.count(found.state, is_note=found.is_note)
            yield found
        for entry in self._register.entries(self._workspace):
            sights = self._register.sights.of(entry.slug, entry.identity)
            judgement = judge(self._case(entry, sights))
            summary.search.count(judgement.holders, sights)
            found = self._as_found(entry, judgement)
            summary.count(judgement.state, is_note=found.is_note)
            if entry.wanted is not None and judgement.stored:
                stock = summary.stock.get(entry.slug, WorkspaceStock())
                summary.stock[entry.slug] = stock.with_document(entry.kept, entry.wanted.run)
            if judgement.state in UNEXPLAINED | NOTES:
                yield found

    def _holders(self, entry: Entry) -> Sequence[KeptUnit]:
        return judge(self._case(entry, {})).holders

    def _case(self, entry: Entry, sights: Mapping[Location, Sight]) -> Case:
        listed = self._listed.get(entry.slug)
        under_way = self._settings.anythingllm.ambiguity_seconds
        return Case(
            wanted=entry.wanted,
            deleted=entry.deleted,
            waiting=not all(map(self._is_committed, entry.waiting)),
            excuse=self._excuses.get(entry.wanted.at) if entry.wanted else None,
            kept=entry.kept,
            settled_before=listed.timestamp() - under_way if listed else 0.0,
            lost=frozenset(at for at, sight in sights.items() if sight is Sight.MISSING),
        )

    def _as_found(self, entry: Entry, judgement: Judgement) -> AuditFinding:
        wanted, state = entry.wanted, judgement.state
        reach_back = all(progress.reaches_back for progress in self._topic_progress.values())
        held = entry.kept[0].document_id if entry.kept else None
        return AuditFinding(
            state=state,
            is_note=state in NOTES or (state is DocumentState.UNEXPECTED and not reach_back),
            workspace=entry.slug,
            identity=entry.identity,
            document_id=wanted.document_id if wanted else held,
            event=wanted.at if wanted else None,
            read_at=wanted.read_at if wanted else None,
            stored=judgement.stored,
            total=judgement.total,
            surplus=judgement.surplus,
            not_found=judgement.not_found,
            text=judgement.text,
            run=wanted.run if wanted else "",
        )

    def _unanswered(self) -> Iterator[AuditFinding]:
        """Events that can't be carried out, are committed, and have no dead letter."""
        if self._workspace is not None:
            return  # they belong to no workspace
        for refusal in self._register.refusals():
            if refusal.at not in self._excuses and self._is_committed(refusal.read_at):
                yield AuditFinding(
                    state=DocumentState.NO_DEAD_LETTER,
                    is_note=not self._letters_reach_back,
                    workspace=None,
                    identity=refusal.identity,
                    document_id=refusal.document_id,
                    event=refusal.at,
                    text=f"its event is {refusal.reason} and has no dead letter",
                )

    def _is_committed(self, at: Coordinates) -> bool:
        progress = self._topic_progress.get(at.topic)
        return progress is not None and progress.is_committed(at)

    def _notices(self) -> Iterator[str]:
        kafka = self._settings.kafka
        progress = self._topic_progress[kafka.documents_topic]
        if not progress.records:
            yield f"{kafka.documents_topic} is empty"
        if not progress.reaches_back:
            yield (
                f"{kafka.documents_topic} has lost its first records: documents that are stored "
                "and that no event tells of are notes only"
            )
        if progress.records and not progress.committed:
            yield f"the group {kafka.group_id} has committed nothing: every event waits for it"
        elif kafka.auto_offset_reset == "latest":
            yield (
                "KAFKA_AUTO_OFFSET_RESET is latest: what was published before the group first "
                "started was left out on purpose, and shows as missing"
            )
        yield from self._notes
        if isinstance(self._inventory, ServersInventory):
            yield from servers_notes(self._inventory.holders)


def _may_pass(found: AuditFinding) -> bool:
    """Whether it may only look so because the service is at work on it."""
    return not found.is_note or found.state is DocumentState.NEWER


def servers_notes(holders: Mapping[Slug, Sequence[ServerName]]) -> Iterator[str]:
    """On which of several servers what was looked at is, for people."""
    for server in sorted({name for names in holders.values() for name in names}):
        slugs = sorted(slug for slug, names in holders.items() if server in names)
        more = f" and {len(slugs) - _MOST_NAMED} more" if len(slugs) > _MOST_NAMED else ""
        yield f"server {server} has {', '.join(slugs[:_MOST_NAMED])}{more}"
    for slug, names in sorted(holders.items()):
        if len(names) > 1:
            yield f"workspace {slug} is on several servers: {', '.join(names)}; `check` says more"


def _inventory(
    settings: Settings,
) -> AbstractAsyncContextManager[Inventory | ServersInventory]:
    several = server_configs(settings)
    if several:
        return open_servers_inventory(several)
    return open_inventory(anythingllm_config(settings))


@asynccontextmanager
async def open_audit(
    settings: Settings,
    kafka: KafkaAccess,
    *,
    rng: random.Random,
    scope: SearchScope = SearchScope.SAMPLE,
    workspace: Slug | None = None,
    progress: StageProgress = silent,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Audit]:
    """An audit, connected; what it wrote down is gone afterwards.

    Args:
        settings: of the service that is audited.
        kafka: opened for reading.
        rng: chooses what is looked for, where that is a sample.
        scope: how much is looked for.
        workspace: a slug; what belongs into others is left out.
        progress: called now and then.
        sleep: waits between the two looks.

    Raises:
        KafkaUnavailableError: Kafka can't be reached.
        AnythingLLMError: the CA file can't be read.
    """
    # Not more than the service can unpack: it dead-letters the rest by reference.
    limit = settings.document.max_batch_bytes
    with open_register() as register:
        async with (
            kafka.reader(unfold_limit=limit) as reader,
            kafka.reader(unfold_limit=limit, fetch_bytes=_TEXT_BYTES) as texts,
            _inventory(settings) as inventory,
        ):
            searching = Searching(
                settings, inventory, texts, register, scope=scope, rng=rng, progress=progress
            )
            yield Audit(
                settings,
                kafka,
                reader,
                inventory,
                register,
                searching,
                workspace=workspace,
                progress=progress,
                sleep=sleep,
            )
