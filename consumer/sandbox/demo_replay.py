"""The demo's second act: what was refused is mended, and replayed."""

from __future__ import annotations

import asyncio
import random

from consumer.contract.received_result import read_result
from consumer.operations.letters.selection import Selection
from consumer.operations.replay.execution import Tell
from consumer.operations.replay.planning import ReplayRequest
from consumer.operations.replay.replay import start_replay
from consumer.sandbox.errors import SandboxError
from consumer.settings import Settings
from consumer.wiring.kafka import kafka_clients

_SECONDS = 60.0


_NOBODY = Tell(
    reading=lambda done, total: None,
    waiting=lambda members: None,
    began=lambda run, look: None,
    done=lambda more: None,
)


async def replay_all(settings: Settings) -> int:
    """Replay every open dead letter; how many events are stored after it.

    Raises:
        SandboxError: not all of them within a minute.
    """
    kafka = kafka_clients(settings)
    done = await start_replay(
        settings, kafka, ReplayRequest(Selection()), _NOBODY, operator="demo", rng=random.Random()
    )
    published = done.progress.published
    succeeded: set[str] = set()
    try:
        async with asyncio.timeout(_SECONDS):
            topic = settings.kafka.results_topic
            async for record in kafka.read_topic(topic, follow=True):
                result = read_result(record.value or b"")
                if result.replay_of is not None and result.status == "succeeded":
                    succeeded.add(result.event_id)
                if len(succeeded) == published:
                    break
    except TimeoutError:
        raise SandboxError(f"only {len(succeeded)} of {published} replays succeeded") from None
    return len(succeeded)
