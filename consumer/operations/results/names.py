"""Under which identities a document is known of which somebody has the id: deletions name no id."""

from __future__ import annotations

from collections.abc import Collection

from consumer.contract.received_result import names_in
from consumer.kafka.topics import no_such_topic
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Identity
from consumer.operations.ports import KafkaAccess


def made_of_id(document_id: str, template: IdentityTemplate) -> Identity | None:
    """The identity of a document, where its id alone makes it; else None."""
    return template.of_readable(document_id=document_id, source_url=None, technology=None)


async def identities_told(
    kafka: KafkaAccess, topic: str, document_ids: Collection[str]
) -> dict[str, set[Identity]]:
    """The identities that results name beside these document ids; all results are read for it.

    A word that is an identity itself is taken for that.

    Args:
        kafka: where.
        topic: of results.
        document_ids: as publishers give them.

    Returns:
        By word; one of which no result tells is left out.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic.
    """
    found: dict[str, set[Identity]] = {}
    async with kafka.reader() as reader:
        ranges = await reader.offset_ranges(topic)
        if ranges is None:
            raise no_such_topic(topic)
        async for record in reader.records(topic, ranges):
            document_id, identity = names_in(record.value)
            for word in (document_id, identity):
                if word and identity and word in document_ids:
                    found.setdefault(word, set()).add(identity)
    return found


async def identities_of(
    kafka: KafkaAccess, topic: str, document_id: str, template: IdentityTemplate
) -> set[Identity]:
    """Every identity of a document: made of its id, or as results tell it (`identities_told`)."""
    made = made_of_id(document_id, template)
    if made is not None:
        return {made}
    return (await identities_told(kafka, topic, {document_id})).get(document_id, set())
