"""FastStream with ten workers, in both ways that its documentation knows.

By default a message is acknowledged before it is worked: all workers share all messages, and what
was in work when the process died is lost. With ``--ack`` it is acknowledged afterwards: each worker
is then a consumer of its own, and works its partitions one message after the other.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from tests.bench.contestants.work import Task, store_document, task_of_argument

WORKERS = 10


async def run(task: Task, policy: Any) -> None:
    """Work until SIGTERM."""
    broker = KafkaBroker(task.kafka, logger=None, acks="all")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=task.slots)) as session:

        async def work(event: dict[str, Any], message: KafkaMessage) -> None:
            result = await store_document(session, task, event)
            await broker.publish(result, task.results, key=message.raw_message.key)

        subscribe = broker.subscriber(
            task.topic,
            group_id=task.group,
            auto_offset_reset="earliest",
            ack_policy=policy,
            max_workers=WORKERS,
        )
        subscribe(work)
        await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(
        run(task_of_argument(), AckPolicy.ACK if "--ack" in sys.argv else AckPolicy.ACK_FIRST)
    )
