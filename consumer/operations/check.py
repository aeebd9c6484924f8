"""What `check` looks at: Kafka, the topics, AnythingLLM. It changes nothing unasked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConfig,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMHealth,
    AnythingLLMStorage,
    ComponentHealth,
)
from consumer.anythingllm.removal_way import WHAT_TO_DO, WHAT_TO_DO_FORBIDDEN
from consumer.anythingllm.unit_listings import MOST_ROWS
from consumer.anythingllm.vector_databases import UNKNOWN, sharing
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_kinds import ANOTHER_GROUP
from consumer.kafka.topics import CheckFinding, findings
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Slug
from consumer.operations.look_at_admin import look_at_admin
from consumer.operations.look_at_progress import look_at_progress
from consumer.operations.look_at_servers import look_at_homes
from consumer.operations.ports import ClusterAdmin, KafkaAccess
from consumer.operations.trial_writing import try_writing
from consumer.operations.workspaces.finding import SHARED_COLLECTION_HELP, SHARED_SOURCE_HELP
from consumer.operations.workspaces.shared_sources import Shared, SharedSources
from consumer.settings import Settings
from consumer.wiring import tracing
from consumer.wiring.anythingllm import anythingllm_config, server_configs
from consumer.wiring.topics import topic_specs

_MOST_LISTED = 100  # workspaces
_SOURCES_SECONDS = 15.0  # for all of them: a listing takes 50 ms for 2,000 chunks
_MOST_NAMED = 3

_SHARE = "workspaces with one collection, so that each finds the other's texts"
_TELL_OTHERS = "tell those who use them. Delete neither: that empties the other"
_DATABASE = "vector database"

_CONNECT_HELP = "give ANYTHINGLLM_CAFILE a PEM file with the authority, or leave it away"
_COMPONENT_HELP = {
    "server": "check ANYTHINGLLM_ENDPOINT and that the server runs",
    "key": "check ANYTHINGLLM_API_KEY: AnythingLLM, Settings, Developer API",
    "collector": "AnythingLLM's document collector is down: see its log",
    "embedder": "AnythingLLM can't embed text: check its embedder settings and provider",
    "vector_database": "check that it runs and that AnythingLLM reaches it, and see AnythingLLM's "
    "log. Where it runs, its vectors are lost: `workspaces verify` says more",
}


async def look(
    settings: Settings, kafka: KafkaAccess, *, writing: bool = False
) -> list[CheckFinding]:
    """Every finding, also the good ones, in the order in which they should be mended.

    Args:
        settings: of the service.
        kafka: opened for reading.
        writing: whether a record is written to each output topic, to see that it is taken.
    """
    now = partial(datetime.now, UTC)
    return [
        *(CheckFinding(True, "settings", warning, "") for warning in settings.warnings),
        CheckFinding(True, "settings", "complete and consistent"),
        *await look_at_admin(settings),
        *await look_at_traces(settings),
        *await look_at_kafka(settings, kafka),
        *(await try_writing(settings, kafka, now=now) if writing else ()),
        *await look_at_anythingllm(settings),
    ]


async def look_at_traces(settings: Settings) -> list[CheckFinding]:
    """Whether what traces need is installed, where they are asked for."""
    if not settings.tracing.enabled:
        return []
    try:
        return [CheckFinding(True, "traces", await tracing.look_at_tracing(settings))]
    except tracing.TracingUnavailableError as error:
        return [CheckFinding(False, "traces", str(error), error.what_to_do)]


async def look_at_kafka(settings: Settings, kafka: KafkaAccess) -> list[CheckFinding]:
    """Kafka and the five topics."""
    specs = topic_specs(settings)
    try:
        async with kafka.admin() as admin:
            cluster_id = await admin.cluster_id()
            states = await admin.states([spec.name for spec in specs])
            group = await look_at_group(settings.kafka.group_id, admin)
    except KafkaUnavailableError as error:
        what_to_do = "check KAFKA_BOOTSTRAP_SERVERS and the KAFKA_S… settings"
        return [CheckFinding(False, "Kafka", str(error), what_to_do)]
    found = [CheckFinding(True, "Kafka", f"cluster {cluster_id}"), *group]
    found += findings(specs, states)
    inputs = settings.kafka.documents_topic, settings.kafka.replay_topic
    counts = {states[name].partitions for name in inputs if name in states}
    if len(counts) > 1:
        found.append(
            CheckFinding(
                False,
                "replay topic",
                f"has another number of partitions than {inputs[0]}",
                "give both the same number, or replays lose their order to live events",
            )
        )
    return [*found, *await look_at_progress(settings, kafka)]


async def look_at_group(group: str, admin: ClusterAdmin) -> list[CheckFinding]:
    """Whether we can be in the consumer group; nothing where we can."""
    subject = "consumer group"
    try:
        kind = await admin.group_kind(group)
    except KafkaUnavailableError as error:
        return [CheckFinding(True, subject, f"not looked at: {error}")]
    if kind is None or kind.obstacle is None:
        return []
    return [CheckFinding(False, subject, f"{group} {kind.obstacle}", ANOTHER_GROUP)]


async def look_at_anythingllm(settings: Settings) -> list[CheckFinding]:
    """AnythingLLM, or each of several, and whether each workspace has one home among them."""
    several = server_configs(settings)
    if not several:
        return await look_at_server(settings, anythingllm_config(settings))
    found = [
        replace(each, subject=f"server {name}: {each.subject}")
        for name, config in several.items()
        for each in await look_at_server(settings, config)
    ]
    return [*found, *await look_at_homes(settings, several)]


async def look_at_server(settings: Settings, config: AnythingLLMConfig) -> list[CheckFinding]:
    """One AnythingLLM with its key, collector, embedder and vector database."""
    client = AnythingLLMClient(config)
    try:
        await client.connect()
    except AnythingLLMError as error:
        return [CheckFinding(False, "AnythingLLM", error.message, _CONNECT_HELP)]
    async with client:
        found = _health(config.endpoint, await client.health_check())
        if all(each.ok for each in found):
            permits = settings.routing.rules().permits
            found += await look_at_collections(client.storage, permits)
            found += await look_at_removals(client.storage)
            found += await look_at_sizes(client.storage)
            found += await look_at_sources(settings, client.storage)
    return found


async def look_at_collections(
    storage: AnythingLLMStorage, permits: Callable[[Slug], bool]
) -> list[CheckFinding]:
    """Where the vector database asks for care; nothing where it does not.

    Workspaces that share a collection must be told apart where documents may be sent to one of
    them. Others are told and no fault of the service's: whoever made them has to know.

    Args:
        storage: of the server.
        permits: whether documents may be sent to a workspace.
    """
    try:
        database = await storage.database()
        groups = sharing(await storage.workspaces(), database)
    except AnythingLLMError as error:
        return [CheckFinding(True, _DATABASE, f"not looked at: {error.message}")]
    ours = [group for group in groups if any(map(permits, group))]
    others = [group for group in groups if group not in ours]
    found = []
    if ours:
        text = f"{database.name}: {_SHARE}: {_named(ours)}"
        found.append(CheckFinding(False, _DATABASE, text, SHARED_COLLECTION_HELP))
    if others:
        text = f"{database.name}: others' {_SHARE}: {_named(others)}"
        found.append(CheckFinding(True, _DATABASE, text, _TELL_OTHERS))
    if not groups and not database.cached_proves:
        text = f"{database.name}: chunks count as stored when a search finds them"
        what_to_do = "set ANYTHINGLLM_VECTOR_DB to its name" if database is UNKNOWN else ""
        found.append(CheckFinding(True, _DATABASE, text, what_to_do))
    return found


async def look_at_removals(storage: AnythingLLMStorage) -> list[CheckFinding]:
    """Whether removals are let through, by one of a file that is not there; nothing if they are."""
    subject = "AnythingLLM removals"
    try:
        why = await storage.why_files_stay()
    except AnythingLLMForbiddenError as error:
        text = f"{error.message}. Events that remove something fail after five minutes"
        return [CheckFinding(False, subject, text, WHAT_TO_DO_FORBIDDEN)]
    except AnythingLLMError as error:
        return [CheckFinding(True, subject, f"not looked at: {error.message}")]
    if why is None:
        return []
    text = f"{why}. What is removed is found no more, and its file stays in AnythingLLM's store"
    return [CheckFinding(False, subject, text, WHAT_TO_DO)]


def _named(groups: Sequence[Sequence[Slug]]) -> str:
    named = "; ".join(" and ".join(group) for group in groups[:_MOST_NAMED])
    more = len(groups) - _MOST_NAMED
    return named if more <= 0 else f"{named}; and {more} more"


async def look_at_sizes(storage: AnythingLLMStorage) -> list[CheckFinding]:
    """Workspaces that come near to what AnythingLLM can list; nothing where none does."""
    subject = "workspace size"
    try:
        counts = await storage.row_counts()
    except AnythingLLMError as error:
        return [CheckFinding(True, subject, f"not looked at: {error.message}")]
    large = {slug: rows for slug, rows in counts.items() if rows >= MOST_ROWS // 2}
    if not large:
        return []
    named = ", ".join(f"{slug}: {rows:,}" for slug, rows in sorted(large.items())[:_MOST_NAMED])
    return [
        CheckFinding(
            False,
            subject,
            f"documents listed, {named}; AnythingLLM can't list more than about {MOST_ROWS:,}",
            "send new documents to further workspaces (ROUTING_WORKSPACE): one that can't be "
            "listed takes no documents any more, and they wait",
        )
    ]


async def look_at_sources(settings: Settings, storage: AnythingLLMStorage) -> list[CheckFinding]:
    """Whether pages are stored under several ids: each workspace of ours is listed once.

    This is a hint and no fault, so it looks neither into many workspaces nor for long.
    """
    subject = "document ids"
    permits = settings.routing.rules().permits
    shared: list[str] = []
    looked = 0
    try:
        slugs = [slug for slug in await storage.workspaces() if permits(slug)]
        with suppress(TimeoutError):
            async with asyncio.timeout(_SOURCES_SECONDS):
                for slug in slugs[:_MOST_LISTED]:
                    found = await _shared_in(storage, slug, settings.document.identity)
                    looked += 1
                    if found is not None:
                        shared.append(f"{slug}: {found}")
    except AnythingLLMError as error:
        return [CheckFinding(True, subject, f"not looked at: {error.message}")]
    seen = f"{looked} of {len(slugs)} workspaces looked at"
    if not shared:
        return [CheckFinding(True, subject, f"no page is stored under several; {seen}")]
    more = f"; and in {len(shared) - _MOST_NAMED} more" if len(shared) > _MOST_NAMED else ""
    text = "; ".join(shared[:_MOST_NAMED]) + f"{more} ({seen})"
    return [CheckFinding(True, subject, text, SHARED_SOURCE_HELP)]


async def _shared_in(
    storage: AnythingLLMStorage, slug: Slug, identity: IdentityTemplate
) -> Shared | None:
    sources = SharedSources(identity)
    await storage.scan(slug, lambda unit: sources.note(unit.marker))
    return sources.found


def _health(where: str, health: AnythingLLMHealth) -> list[CheckFinding]:
    subject = "AnythingLLM"
    components = health["components"]
    if components["server"]["status"] != "up":
        # Every other component fails for the same reason, and its finding would lead astray.
        problem = f"{where}: {components['server']['error']}"
        return [CheckFinding(False, subject, problem, _COMPONENT_HELP["server"])]
    version = health.get("version") or "unknown"
    return [
        CheckFinding(True, subject, f"{where}, version {version}"),
        *_components({name: one for name, one in components.items() if name != "server"}),
    ]


def _components(components: dict[str, ComponentHealth]) -> Iterator[CheckFinding]:
    """A finding for each component, up to a refused key: nothing can be looked at behind it."""
    for name, state in components.items():
        if state["status"] == "unknown":
            continue  # another one is down, and has to be mended first
        ok = state["status"] == "up"
        help_text = "" if ok else _COMPONENT_HELP.get(name, "see AnythingLLM's log")
        subject = f"AnythingLLM {name.replace('_', ' ')}"
        yield CheckFinding(ok, subject, state.get("error", "up"), help_text)
        if name == "key" and not ok:
            return
