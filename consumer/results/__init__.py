"""Results for programs that read them (schemas/README.md, "For readers of results").

What is here needs no Kafka client: a result's value is read, each event's first result is told from
repeats, and what is not wanted is left out, whatever the bytes came by. `consumer.results.topic`
reads the topic itself.
"""

from consumer.contract.received_result import (
    ReceivedFailedChunk,
    ReceivedResult,
    ReceivedSource,
    read_result,
)
from consumer.contract.upload_result import ResultStatus
from consumer.results.sieve import EVERYTHING, FAILED, SeenEvents, Sieve, Wanted

__all__ = [
    "EVERYTHING",
    "FAILED",
    "ReceivedFailedChunk",
    "ReceivedResult",
    "ReceivedSource",
    "ResultStatus",
    "SeenEvents",
    "Sieve",
    "Wanted",
    "read_result",
]
