"""What rebuilding a workspace would do, and what stands against it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from consumer.anythingllm.inventory import Inventory, SickWorkspace
from consumer.anythingllm.models import DocumentRow
from consumer.anythingllm.sentinel import is_sentinel
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.marker import decode_marker
from consumer.model.names import ServerName, Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.audit import Audit
from consumer.operations.estimate import removal_seconds, upload_seconds
from consumer.operations.ports import KafkaAccess
from consumer.operations.rebuilding.rebuild_plan import RebuildPlan, rebuild_plan_of
from consumer.operations.rebuilding.rebuild_record import RebuildRecords
from consumer.operations.replay_topic import why_too_few_partitions
from consumer.settings import Settings

_QUERY = "ready"  # any text: whether a search works is asked, not what it finds
_PAGE = "`Reset Vector Database` in its settings in AnythingLLM"


@dataclass(frozen=True, slots=True)
class RebuildLook:
    """What would be done.

    Args:
        plan: for the documents.
        since: when the run that goes on began, by AnythingLLM's clock; None: it begins anew.
        foreign: documents that others put there: they stay as they are.
        threads: chat threads that would go with the workspace, where it is to be deleted.
        seconds: about how long it takes.
        members: how many instances of the service run.
        holder: the server that has the workspace; None: no server has documents of ours in it.
        refused: why it can't be done as things are, each with what to do.
    """

    plan: RebuildPlan
    since: datetime | None
    foreign: int
    threads: int
    seconds: float
    members: int
    holder: ServerName | None = None
    refused: tuple[str, ...] = ()


@dataclass(slots=True)
class _Rows:
    """What is listed of the workspace."""

    ours: int = 0
    foreign: int = 0

    def __call__(self, row: DocumentRow) -> None:
        """Count a row."""
        if decode_marker(row.doc_source) is not None:
            self.ours += 1
        elif not is_sentinel(row.doc_source):
            self.foreign += 1


@dataclass(frozen=True, slots=True)
class _There:
    """What AnythingLLM has of the workspace.

    Args:
        holders: servers with documents of ours in it.
        sick: why a search in it fails; None: none does.
    """

    rows: _Rows
    holders: tuple[ServerName, ...]
    database: VectorDatabase
    workspaces: int
    threads: int
    sick: str | None


@dataclass(frozen=True, slots=True)
class _Group:
    """The service's consumer group.

    Args:
        members: how many instances run.
        has_begun: whether it has a place on the replay topic.
    """

    members: int
    has_begun: bool


class RebuildLooker:
    """See the module's docstring; may raise `AnythingLLMError` and `KafkaUnavailableError`.

    Args:
        audit: of this workspace alone.
        servers: an inventory of each AnythingLLM.
        slug: the workspace.
        delete: whether the workspace is to be deleted and made anew.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        audit: Audit,
        servers: Mapping[ServerName, Inventory],
        slug: Slug,
        *,
        delete: bool,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._audit = audit
        self._servers = servers
        self._slug = slug
        self._delete = delete

    async def look(self, *, restart: bool) -> RebuildLook:
        """What would be done.

        Args:
            restart: make all anew, also what a run that was stopped has done.

        Raises:
            UnknownWorkspace: neither AnythingLLM nor any event knows it.
        """
        kafka = self._settings.kafka
        async with self._kafka.admin() as admin:
            record = await RebuildRecords(admin, self._settings).unfinished(self._slug)
            members = len(await admin.members(kafka.group_id))
            partitions = await admin.partitions(kafka.replay_topic)
            places = await admin.places(kafka.group_id)
        has_begun = any(topic == kafka.replay_topic for topic, _ in places)
        since = None if record is None or restart or self._delete else record.since
        plan = await self.plan(since)
        there = await self._there()
        is_asked = bool(plan.documents or plan.unproven)
        group = _Group(members, has_begun=has_begun)
        refused = tuple(self._refused(plan, there, group, partitions)) if is_asked else ()
        return RebuildLook(
            plan,
            since,
            there.rows.foreign,
            there.threads,
            self._seconds(plan, there),
            members,
            next(iter(there.holders), None),
            refused,
        )

    async def plan(self, since: datetime | None) -> RebuildPlan:
        """What is left to do of a run that began then."""
        await self._audit.look()
        return rebuild_plan_of(self._audit.documents(), self._is_there, since)

    def _is_there(self, at: Coordinates) -> bool:
        progress = self._audit.topic_progress.get(at.topic)
        return progress is not None and progress.holds(at)

    async def _there(self) -> _There:
        every, holders = _Rows(), list[ServerName]()
        sick: str | None = None
        threads = 0
        for name, inventory in self._servers.items():
            rows = _Rows()
            await inventory.scan(self._slug, rows)
            every = _Rows(every.ours + rows.ours, every.foreign + rows.foreign)
            if rows.ours:
                holders.append(name)
                sick = sick or await self._why_sick(inventory)
                threads += (await inventory.anew.settings(self._slug)).threads
        first = self._servers[holders[0]] if holders else next(iter(self._servers.values()))
        workspaces = len(await first.workspaces())
        return _There(every, tuple(holders), await first.database(), workspaces, threads, sick)

    async def _why_sick(self, inventory: Inventory) -> str | None:
        try:
            await inventory.near(self._slug, _QUERY)
        except SickWorkspace as error:
            return str(error)
        return None

    def _seconds(self, plan: RebuildPlan, there: _There) -> float:
        uploads = upload_seconds(plan.units, plan.chunks)
        if self._delete:
            return uploads
        return uploads + removal_seconds(
            plan.units,
            rows=there.rows.ours + there.rows.foreign,
            workspaces=there.workspaces,
            database=there.database.name,
        )

    def _refused(
        self, plan: RebuildPlan, there: _There, group: _Group, partitions: int
    ) -> Iterator[str]:
        if plan.unproven:
            yield (
                f"{len(plan.unproven):,} documents could not be made anew, see above: AnythingLLM"
                " gives no texts back"
            )
        if len(there.holders) > 1:
            yield (
                f"several servers have documents of it ({', '.join(there.holders)}): `workspaces"
                " move` makes one of them"
            )
        yield from self._refused_by_kafka(plan, group, partitions)
        if there.sick is not None and there.database.has_one_dimension:
            yield _needs_table(there.sick, there.database)
        elif there.sick is not None and not self._delete:
            yield _needs_deletion(there.sick, self._slug)
        if self._delete and there.rows.foreign:
            yield (
                f"{there.rows.foreign:,} documents of others are in it, which would go with it:"
                f" take them out, or use {_PAGE} and then `audit --republish --workspace"
                f" {self._slug} --yes`"
            )

    def _refused_by_kafka(self, plan: RebuildPlan, group: _Group, partitions: int) -> Iterator[str]:
        kafka = self._settings.kafka
        if not partitions:
            yield f"there is no topic {kafka.replay_topic}: `topics create` makes it"
        elif too_few := why_too_few_partitions(
            self._settings, partitions, plan.highest_partition, what="events lie in"
        ):
            yield too_few
        if self._delete and group.members:
            yield (
                f"the consumer group {kafka.group_id} has members ({group.members}),"
                " which would go on believing that all is stored: stop all instances, start them"
                " when this has ended"
            )
        elif not self._delete and not group.members:
            yield (
                f"the consumer group {kafka.group_id} has no members: the service does the work,"
                " start it"
            )
        elif self._delete and not group.has_begun and kafka.auto_offset_reset == "latest":
            yield (
                f"the consumer group {kafka.group_id} has committed nothing on"
                f" {kafka.replay_topic}, and KAFKA_AUTO_OFFSET_RESET is latest: the service would"
                " pass over all that is published there while it is stopped. Start it, stop it,"
                " and run this again"
            )


def _needs_table(sick: str, database: VectorDatabase) -> str:
    return (
        f"a search in it fails ({sick}), as after a model with vectors of another length was"
        f" chosen. {database.name} has one table for all workspaces, of one length: in PostgreSQL,"
        " DROP TABLE anythingllm_vectors takes the vectors of all of them. Then `workspaces repair"
        " --yes` embeds all workspaces anew"
    )


def _needs_deletion(sick: str, slug: Slug) -> str:
    return (
        f"a search in it fails ({sick}), as after a model with vectors of another length was"
        " chosen: what the vector database keeps for it takes only those of the former one. With"
        " the service stopped, --delete-workspace deletes it and makes it anew: its chats go."
        f" {_PAGE} keeps them, and takes out documents of others as well; then `audit --republish"
        f" --workspace {slug} --yes`"
    )
