"""The topics we need: what they must be, creating them, and checking them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from consumer.kafka.admin_client import LastingAdminClient
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained
from consumer.kafka.group_kinds import GroupKind, kind_of
from consumer.kafka.groups import (
    GroupOffset,
    Member,
    Places,
    awaited_members_of,
    commit_from_outside,
    delete_group,
    groups_named,
    members_of,
    patiently,
    places_of,
)
from consumer.kafka.topic_creation import TopicsRefusedError, create_each
from consumer.kafka.topic_spec import MAX_MESSAGE, TopicSpec, settings_for

_CONNECT_SECONDS = 15.0  # aiokafka itself would wait 40 s, and a person before a command with it
_REQUEST_SECONDS = 30.0
_KNOWN_POLL_SECONDS = 0.05
_FORBIDDEN = 29


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic is: its partition count, its settings, and who is alive to lead it."""

    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """Something `check` found.

    Args:
        ok: False when it must be mended before the service is safe.
        subject: what was looked at.
        text: what was found.
        what_to_do: empty when nothing.
    """

    ok: bool
    subject: str
    text: str
    what_to_do: str = ""


class TopicAdmin:
    """Looks at and creates topics; made by `open_admin`."""

    def __init__(self, client: AIOKafkaAdminClient, connection: KafkaConnection) -> None:
        self._client = client
        self._connection = connection

    async def cluster_id(self) -> str:
        """The cluster's id: part of every event id."""
        async with self._asking("reading the cluster id"):
            return str((await self._client.describe_cluster())["cluster_id"])

    async def partitions(self, name: str) -> int:
        """How many partitions the topic has; 0 when there is no such topic."""
        async with self._asking(f"looking at topic {name}"):
            (topic,) = await self._client.describe_topics([name])
        if topic["error_code"] == _FORBIDDEN:
            raise KafkaUnavailableError(f"no permission to see topic {name}; ask for an ACL")
        return len(topic["partitions"])

    async def states(self, names: Sequence[str]) -> dict[str, TopicState]:
        """The topics of these names that exist."""
        async with self._asking("reading topics"):
            described = await self._client.describe_topics(list(names))
            partitions = {
                topic["topic"]: len(topic["partitions"])
                for topic in described
                if topic["error_code"] == 0 and topic["partitions"]
            }
            settings = await self._settings(list(partitions))
        return {
            name: TopicState(count, settings.get(name, {})) for name, count in partitions.items()
        }

    async def _settings(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, None) for name in names]
        found: dict[str, dict[str, str]] = {}
        for response in await self._client.describe_configs(resources):
            for _code, _message, _type, name, entries in response.resources:
                found[name] = {entry[0]: entry[1] for entry in entries}
        return found

    async def create(
        self, specs: Sequence[TopicSpec], replication_factor: int
    ) -> dict[str, str | None]:
        """Create the topics, and return when they can be used.

        By name, None for created or "exists already".

        Args:
            specs: what they must be.
            replication_factor: copies of each; -1 takes the cluster's default.

        Raises:
            TopicsRefusedError: Kafka refused some; the others are there.
            KafkaUnavailableError: Kafka can't be reached.
        """
        async with self._asking("creating topics"):
            creation = await create_each(self._client, specs, replication_factor)
        await self._until_known(list(creation.outcomes))
        if creation.refused:
            raise TopicsRefusedError(creation)
        return creation.outcomes

    async def _until_known(self, names: Sequence[str]) -> None:
        """Wait until the broker we ask knows them: another broker, the controller, creates them."""
        async with self._asking("waiting for the new topics"):
            for name in names:
                while not await self.partitions(name):  # noqa: ASYNC110 - no event says it
                    await asyncio.sleep(_KNOWN_POLL_SECONDS)

    async def delete(self, names: Sequence[str]) -> None:
        """Delete topics, for the sandbox, which removes what it made."""
        async with self._asking("deleting topics"):
            await self._client.delete_topics(list(names))

    async def delete_group(self, group: str) -> None:
        """Delete a consumer group without members, for the sandbox, too."""
        async with self._asking(f"deleting group {group}"):
            await delete_group(self._client, group)

    async def awaited_members(self, group: str) -> list[Member]:
        """The members of a group that waits for all of them; none where it waits for none."""
        async with self._asking(f"looking at group {group}"):
            return await awaited_members_of(self._client, group)

    async def members(self, group: str) -> list[Member]:
        """The members of a consumer group; none where there is no such group."""
        async with self._asking(f"looking at group {group}"):
            return await members_of(self._client, group)

    async def group_kind(self, group: str) -> GroupKind | None:
        """What kind of group it is; None where there is none, or Kafka is older than kinds."""
        async with self._asking(f"looking at group {group}"):
            return await patiently(lambda: kind_of(self._client, group))

    async def groups(self, prefix: str) -> list[str]:
        """The consumer groups whose names begin like this, sorted."""
        async with self._asking("listing consumer groups"):
            return await groups_named(self._client, prefix)

    async def places(self, group: str) -> dict[tuple[str, int], GroupOffset]:
        """What a consumer group has committed, by topic and partition."""
        async with self._asking(f"reading the offsets of {group}"):
            return await places_of(self._client, group)

    async def commit(self, group: str, places: Places) -> None:
        """Commit for a consumer group without members.

        Raises:
            KafkaUnavailableError: it has members, a text is over 4 KiB, Kafka refuses.
        """
        async with self._asking(f"committing for {group}"):
            await commit_from_outside(self._client, group, places)

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        try:
            async with explained(what, self._connection), asyncio.timeout(_REQUEST_SECONDS):
                yield
        except AttributeError as error:
            # aiokafka 0.14 trips over a cluster that has no controller to name yet.
            problem = f"{what} failed: the cluster is not complete yet"
            raise KafkaUnavailableError(problem) from error


async def partitions_of(connection: KafkaConnection, topic: str) -> int:
    """How many partitions a topic has that has to be there.

    Raises:
        KafkaUnavailableError: Kafka can't be reached, or there is no such topic.
    """
    async with open_admin(connection) as admin:
        count = await admin.partitions(topic)
    if not count:
        raise no_such_topic(topic)
    return count


def no_such_topic(topic: str) -> KafkaUnavailableError:
    """The error for a topic that has to be there."""
    return KafkaUnavailableError(f"there is no topic {topic}; create it with: topics create")


@asynccontextmanager
async def open_admin(connection: KafkaConnection) -> AsyncIterator[TopicAdmin]:
    """A connected `TopicAdmin`.

    Raises:
        KafkaUnavailableError: Kafka can't be reached; the message has the cause.
    """
    async with explained("connecting", connection):
        client = LastingAdminClient(**connection.client_options())
        try:
            await _connected(client)
        except BaseException:
            await client.close()
            raise
    try:
        yield TopicAdmin(client, connection)
    finally:
        try:
            await client.close()
        except KafkaError as error:
            raise KafkaUnavailableError(f"closing failed: {error}") from error


async def _connected(client: AIOKafkaAdminClient) -> None:
    """Connect; something that takes connections and says nothing is no Kafka."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await client.start()
    except TimeoutError:
        raise TimeoutError(f"no answer within {_CONNECT_SECONDS:.0f} s") from None


def findings(specs: Sequence[TopicSpec], states: Mapping[str, TopicState]) -> list[CheckFinding]:
    """What is wrong with the topics, one finding each; a good topic gives one that is ok. Pure."""
    return [finding for spec in specs for finding in _of_topic(spec, states.get(spec.name))]


def _of_topic(spec: TopicSpec, state: TopicState | None) -> list[CheckFinding]:
    subject = f"topic {spec.name}"
    if state is None:
        return [CheckFinding(False, subject, f"missing ({spec.purpose})", "run: topics create")]
    wrong = [
        CheckFinding(
            False,
            subject,
            f"{name} is {state.settings.get(name)}, must be {wanted}",
            _mend(spec, name, found=state.settings.get(name), wanted=wanted),
        )
        for name, wanted in spec.settings.items()
        if not _good_enough(name, found=state.settings.get(name), wanted=wanted)
    ]
    return wrong or [CheckFinding(True, subject, f"{state.partitions} partitions")]


def _good_enough(name: str, *, found: str | None, wanted: str) -> bool:
    """Sizes may be larger and retention longer than wanted; everything else must be equal."""
    if found is None:
        return False
    if name == MAX_MESSAGE:
        return int(found) >= int(wanted)
    if name == "retention.ms":
        return int(found) == -1 or (wanted != "-1" and int(found) >= int(wanted))
    return found == wanted


def _mend(spec: TopicSpec, name: str, *, found: str | None, wanted: str) -> str:
    mend = f"kafka-configs --alter --topic {spec.name} --add-config {name}={wanted}"
    if name != MAX_MESSAGE or found is None or int(found) <= spec.headroom:
        return mend
    largest = int(found) - spec.headroom
    return f"{mend}; where the cluster does not allow that: {settings_for(largest)}"
