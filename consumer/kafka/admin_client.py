"""An admin client that outlives its connections.

aiokafka 0.14 never authenticates a connection again. A broker with ``connections.max.reauth.ms``
closes it at the first request after that limit, and aiokafka's admin client fails with it, where
its consumers and producers try again.
"""

from __future__ import annotations

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError


class LastingAdminClient(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka has no types
    """Asks once more on a new connection, where the broker closed the one that was asked on.

    A broker closes a connection that is past its limit before it looks at the request, and all that
    is asked here may be asked twice.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        send = self._client.send

        async def send_lastingly(node_id: int, request: Any, **more: Any) -> Any:
            try:
                return await send(node_id, request, **more)
            except KafkaConnectionError:
                # A broker that is gone takes no new connection either; that is told at once.
                if not await self._client.ready(node_id):
                    raise
            return await send(node_id, request, **more)

        self._client.send = send_lastingly
