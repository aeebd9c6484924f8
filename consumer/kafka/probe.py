"""Does a Kafka broker really answer?"""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained

# aiokafka 0.14 leaves its first connection open when it is cancelled while it waits for an answer;
# its own deadline, a little before ours, closes it.
_OF_THE_TIMEOUT = 0.8


async def broker_answers(connection: KafkaConnection, *, timeout: float = 5.0) -> bool:
    """True when a broker answers and names itself as a working member of its cluster.

    An open port is not enough: for a second or two after its start a broker accepts connections
    and refuses to create topics. One that KRaft has not let in yet is missing from its own answer.

    Args:
        connection: where to ask.
        timeout: seconds for the whole question.
    """
    try:
        async with asyncio.timeout(timeout):
            # aiokafka logs an ERROR for a closed port, which is expected while a broker starts.
            if not await _port_open(connection.bootstrap_servers):
                return False
            async with explained("the question for a broker", connection):
                return bool(await _brokers(connection, timeout * _OF_THE_TIMEOUT))
    except (TimeoutError, KafkaUnavailableError):
        return False


async def _port_open(bootstrap_servers: str) -> bool:
    for server in bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        with contextlib.suppress(OSError, ValueError):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True
    return False


async def _brokers(connection: KafkaConnection, timeout: float) -> list[object]:
    milliseconds = int(timeout * 1000)
    admin = AIOKafkaAdminClient(**connection.client_options(), request_timeout_ms=milliseconds)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (AttributeError, AssertionError) as error:
        # aiokafka 0.14 trips over a cluster that has no brokers or controller to name yet.
        raise KafkaError("the cluster is not complete yet") from error
    finally:
        await admin.close()
    return list(cluster["brokers"])
