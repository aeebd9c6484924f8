"""``topics create``: the five topics, as they must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ConfigOption, JsonOption, ask_kafka, settings_for
from consumer.cli.tables.column import Column, Meaning

_COLUMNS = (Column("topic", Meaning.NAME, 9), Column("outcome", Meaning.STATE, 8))


def create(
    config: ConfigOption = None,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of each topic; the bound to how many can share.")
    ] = 12,
    replication_factor: Annotated[
        int, typer.Option(min=-1, help="Copies of each; -1 takes the cluster's default.")
    ] = -1,
    as_json: JsonOption = False,
) -> None:
    """Create the topics that are missing; those that exist are left as they are.

    Example: anythingllm-consumer topics create --partitions 12 --replication-factor 3
    """
    from consumer.kafka.topic_creation import Creation, TopicsRefusedError
    from consumer.kafka.topics import open_admin
    from consumer.wiring.kafka import kafka_connection
    from consumer.wiring.topics import topic_specs

    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)

    async def ask() -> Creation:
        async with open_admin(kafka_connection(settings)) as admin:
            try:
                specs = topic_specs(settings, partitions)
                return Creation(await admin.create(specs, replication_factor))
            except TopicsRefusedError as error:
                return error.creation

    creation = ask_kafka(ask())
    outcomes, refused = creation.outcomes, creation.refused
    if as_json:
        found = {
            "created": [t for t, why in outcomes.items() if why is None],
            "existed": [t for t, why in outcomes.items() if why is not None],
        }
        output.json_line(found | ({"refused": refused} if refused else {}))
    else:
        show(outcomes, refused)
    if refused:
        count = f"{len(refused)} topic{'s' * (len(refused) != 1)}"
        raise CommandFailed(f"{count} could not be created: {creation.advice}")


def show(outcomes: Mapping[str, str | None], refused: Mapping[str, str]) -> None:
    """Show what became of each topic: why it was left as it is, or None where it was created."""
    rows = [(topic, why or "created") for topic, why in outcomes.items()]
    rows += [(topic, f"REFUSED: {why}") for topic, why in refused.items()]
    output.table(_COLUMNS, rows)
    for topic, why in refused.items() if output.has_to_fit() else ():
        output.line(f"{topic}: {why}")  # whole, for which a row has no room
