"""When several AnythingLLMs may begin to tell of each other: not beside instances with one of them.

Such an instance asked before there were marks, and remembers: that a workspace is nowhere, say,
which another instance makes on a second server. It would answer its tombstone. Who lists several
calls itself so in the consumer group; a version that does not know of marks never does.
"""

from __future__ import annotations

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, without_aiokafka_log
from consumer.kafka.topics import open_admin
from consumer.wiring.source import SEVERAL_SERVERS


class FirstMarks:
    """Says why the first marks may not be made now, or None.

    Args:
        group: the consumer group.
    """

    def __init__(self, connection: KafkaConnection, group: str) -> None:
        self._connection = connection
        self._group = group

    async def __call__(self) -> str | None:
        """One look at the group."""
        try:
            with without_aiokafka_log():
                async with open_admin(self._connection) as admin:
                    members = await admin.members(self._group)
        except KafkaUnavailableError as error:
            return f"Kafka can't be asked who else is at work: {error}"
        others = [each.host for each in members if each.client_id != SEVERAL_SERVERS]
        if not others:
            return None
        return (
            f"{len(others)} members of the consumer group {self._group} have one AnythingLLM only"
            f" (on {', '.join(sorted(set(others)))}), and may store there what belongs elsewhere:"
            " it begins when they have stopped; start them with ANYTHINGLLM_ENDPOINTS"
        )
