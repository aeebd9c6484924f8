"""Plain aiokafka, one message after the other: its result is acknowledged, then it is committed."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.bench.contestants.work import Task, store_document, task_of_argument


async def run(task: Task) -> None:
    """Work until killed."""
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.kafka,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=task.kafka, acks="all")
    async with consumer, producer, aiohttp.ClientSession() as session:
        async for message in consumer:
            result = await store_document(session, task, orjson.loads(message.value))
            await producer.send_and_wait(task.results, result, key=message.key)
            await consumer.commit()


if __name__ == "__main__":
    asyncio.run(run(task_of_argument()))
