"""Creating topics on clusters with limits of their own: what can be made is made.

Managed clusters bound ``max.message.bytes`` (8 MiB is usual), and say so in words of their own or
not at all. So what is taken is asked: a creation that is only validated changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.topic_spec import MAX_MESSAGE, TopicSpec, settings_for

_CREATED, _TOPIC_EXISTS = 0, 36
_OF_SETTINGS = {40, 42, 44}  # invalid config, invalid request, a policy of the cluster
_MIB = 2**20
_USUAL_LIMITS = (20 * _MIB, 10 * _MIB, 8 * _MIB, 5 * _MIB, 4 * _MIB, 2 * _MIB, _MIB, 1_000_000)


@dataclass(slots=True)
class Creation:
    """What became of topics that were to be created.

    Args:
        outcomes: by name, None for created or "exists already".
        refused: by name, why the cluster did not create it.
        fits: the largest ``max.message.bytes`` it was seen to take, where that was the reason.
        largest_document: the `DOCUMENT_MAX_BYTES` with which all of them fit, likewise.
    """

    outcomes: dict[str, str | None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    fits: int | None = None
    largest_document: int | None = None

    @property
    def advice(self) -> str:
        """What to do about what was refused, in one line; empty where nothing was."""
        if not self.refused:
            return ""
        if self.largest_document is None:
            return "see what the cluster says; the others are there"
        return (
            f"the cluster takes records of {self.fits} bytes at most: set"
            f" {settings_for(self.largest_document)} (or raise the cluster's limit), and run"
            " `topics create` again; larger documents become dead letters then"
        )


class TopicsRefusedError(KafkaUnavailableError):
    """The cluster refused to create some of the topics; the others are there.

    Args:
        creation: what became of each.
    """

    def __init__(self, creation: Creation) -> None:
        told = "; ".join(f"{name}: {why}" for name, why in creation.refused.items())
        super().__init__(f"the cluster refused to create {told}. {creation.advice}")
        self.creation = creation


async def create_each(
    client: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replication_factor: int
) -> Creation:
    """Create each of the topics, whatever becomes of the others.

    Raises:
        KafkaError: Kafka can't be reached.
    """
    creation = Creation()
    for spec in specs:
        code, message = await _asked(client, spec, replication_factor)
        if code in {_CREATED, _TOPIC_EXISTS}:
            creation.outcomes[spec.name] = "exists already" if code == _TOPIC_EXISTS else None
            continue
        creation.refused[spec.name] = ": ".join(filter(None, (for_code(code).__name__, message)))
        if code in _OF_SETTINGS and creation.fits is None:
            creation.fits = await _size_that_fits(client, spec, replication_factor)
    if creation.fits is not None:
        headroom = max(spec.headroom for spec in specs)
        creation.largest_document = creation.fits - headroom
    return creation


async def _size_that_fits(
    client: AIOKafkaAdminClient, spec: TopicSpec, replication_factor: int
) -> int | None:
    """The largest usual limit with which the topic would be created; None: that is not it."""
    for limit in _smaller_than(spec):
        smaller = replace(spec, settings={**spec.settings, MAX_MESSAGE: str(limit)})
        code, _ = await _asked(client, smaller, replication_factor, only_validate=True)
        if code in {_CREATED, _TOPIC_EXISTS}:
            return limit
    return None


def _smaller_than(spec: TopicSpec) -> Iterator[int]:
    wanted = int(spec.settings.get(MAX_MESSAGE, 0))
    yield from (limit for limit in _USUAL_LIMITS if spec.headroom < limit < wanted)


async def _asked(
    client: AIOKafkaAdminClient,
    spec: TopicSpec,
    replication_factor: int,
    *,
    only_validate: bool = False,
) -> tuple[int, str]:
    wanted = _wanted(spec, replication_factor)
    response = await client.create_topics([wanted], validate_only=only_validate)
    _name, code, *message = response.topic_errors[0]
    return code, message[0] or "" if message else ""


def _wanted(spec: TopicSpec, replication_factor: int) -> NewTopic:
    # aiokafka 0.14 takes the cluster's default only where replicas are "assigned", if to nobody.
    nobody: dict[int, list[int]] | None = {} if replication_factor == -1 else None
    return NewTopic(
        spec.name,
        spec.partitions,
        replication_factor,
        replica_assignments=nobody,
        topic_configs=dict(spec.settings),
    )
