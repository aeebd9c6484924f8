"""``topics create``: the five topics, as they must be."""

from __future__ import annotations

from typing import Annotated

import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, ask_kafka, settings_for


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
    from consumer.kafka.topics import open_admin
    from consumer.wiring.kafka import kafka_connection
    from consumer.wiring.topics import topic_specs

    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)

    async def ask() -> dict[str, str | None]:
        async with open_admin(kafka_connection(settings)) as admin:
            return await admin.create(topic_specs(settings, partitions), replication_factor)

    outcomes = ask_kafka(ask())
    if as_json:
        output.json_line(
            {
                "created": [t for t, why in outcomes.items() if why is None],
                "existed": [t for t, why in outcomes.items() if why is not None],
            }
        )
        return
    output.table(("topic", "outcome"), [(t, why or "created") for t, why in outcomes.items()])
