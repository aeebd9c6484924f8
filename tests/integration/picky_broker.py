"""A broker that does not take a codec: a proxy that answers compressed records with an error code.

Real Kafka takes every codec, and managed brokers can't be started here. What is refused does reach
the broker behind; only the answer is another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO

from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from tests.integration.kafka_proxy import Proxy, serving

_PRODUCE = 0
_CLIENT_ID = 8  # where a request has it: two bytes of length first; the body comes after it
_ATTRIBUTES = 21  # where a record batch has its two bytes of attributes; the codec comes last
_CODEC = 0b111


class PickyBroker(Proxy):
    """See the module's docstring; made by `picky_broker`.

    Args:
        code: what compressed records are answered.
        takes: numbers of codecs that are taken; 0 is none.
    """

    def __init__(self, host: str, port: int, code: int, takes: frozenset[int]) -> None:
        super().__init__(host, port)
        self.code = code
        self.takes = takes
        self.refused = 0
        self._to_refuse: set[int] = set()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                length = await reader.readexactly(4)
                request = await reader.readexactly(int.from_bytes(length))
                self._look_at(request)
                writer.write(length + request)
                await writer.drain()
        writer.close()

    def _look_at(self, request: bytes) -> None:
        if int.from_bytes(request[:2]) != _PRODUCE:
            return
        body = _CLIENT_ID + 2 + int.from_bytes(request[_CLIENT_ID : _CLIENT_ID + 2])
        for _topic, partitions in ProduceRequest_v7.decode(BytesIO(request[body:])).topics:
            for _partition, batch in partitions:
                if int.from_bytes(batch[_ATTRIBUTES : _ATTRIBUTES + 2]) & _CODEC not in self.takes:
                    self._to_refuse.add(int.from_bytes(request[4:8]))

    def answered(self, answer: bytes) -> bytes:
        """See `Proxy.answered`."""
        correlation_id = int.from_bytes(answer[:4])
        if correlation_id not in self._to_refuse:
            return answer
        self._to_refuse.discard(correlation_id)
        self.refused += 1
        response = ProduceResponse_v7.decode(BytesIO(answer[4:]))
        topics = [
            (topic, [(partition[0], self.code, -1, -1, -1) for partition in partitions])
            for topic, partitions in response.topics
        ]
        encoded: bytes = ProduceResponse_v7(topics, 0).encode()
        return answer[:4] + encoded


@asynccontextmanager
async def picky_broker(
    bootstrap_servers: str, code: int, *, takes: frozenset[int] = frozenset({0})
) -> AsyncIterator[PickyBroker]:
    """One in front of a broker while the block runs."""
    host, port = bootstrap_servers.split(":")
    async with serving(PickyBroker(host, int(port), code, takes)) as broker:
        yield broker
