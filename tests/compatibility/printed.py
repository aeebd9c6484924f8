"""What commands print about a recorded stream: topics, offsets and an AnythingLLM filled as then.

Used by the tests and by the program that records, so nothing but what commit cdefe5a has as well
is imported. Topics get names of their own, as long as the recorded ones, and what is printed shows
the recorded ones again.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from consumer.sandbox.simulator import Options, Simulator
from tests.commands import Commands
from tests.compatibility.forms import Json, bytes_in, recorded, written_out
from tests.compatibility.takeover import restore

PARTITIONS = 3
DAY = 1_795_000_000.0
_TOPICS = {
    "KAFKA_DOCUMENTS_TOPIC": "documents.processed",
    "KAFKA_REPLAY_TOPIC": "documents.processed.replay",
    "KAFKA_DEAD_LETTERS_TOPIC": "documents.processed.dlq",
    "KAFKA_PARKED_TOPIC": "documents.processed.parked",
    "KAFKA_RESULTS_TOPIC": "documents.upload-results",
}
_GROUP = "anythingllm-consumer"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json")
_CLUSTER = re.compile(r"cluster [\w-]{22}")


class Names:
    """Names that nobody else uses for the recorded ones, and back.

    Args:
        mark: ten characters.
    """

    def __init__(self, mark: str) -> None:
        own = f"recorded-{mark}"
        assert len(own) == len(_TOPICS["KAFKA_DOCUMENTS_TOPIC"])
        self._own = {
            _TOPICS["KAFKA_RESULTS_TOPIC"]: f"{own}-outs",
            _TOPICS["KAFKA_DOCUMENTS_TOPIC"]: own,
        }
        self.group = f"{own}g"

    def own(self, text: str) -> str:
        """With our own names."""
        for theirs, ours in self._own.items():
            text = text.replace(theirs, ours)
        return text

    def own_bytes(self, form: Any) -> bytes | None:
        """The bytes of a form, with our own names."""
        value = bytes_in(form)
        for theirs, ours in self._own.items():
            value = value and value.replace(theirs.encode(), ours.encode())
        return value

    def recorded(self, text: str) -> str:
        """With the recorded names, and without what is another one each time."""
        text = text.replace(self.group, _GROUP)
        for theirs, ours in self._own.items():
            text = text.replace(ours, theirs)
        for topic in _TOPICS.values():
            text = text.replace(_base64(self.own(topic)), _base64(topic))
        return _CLUSTER.sub("cluster CLUSTER", _UUID.sub("UUID.json", text))

    @property
    def settings(self) -> dict[str, str]:
        """Topics and group as the service's settings."""
        return {name: self.own(topic) for name, topic in _TOPICS.items()} | {
            "KAFKA_GROUP_ID": self.group
        }


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


# -- Kafka -----------------------------------------------------------------------------------------


@asynccontextmanager
async def stream(kafka: str, names: Names, content: Json) -> AsyncIterator[None]:
    """The recorded topics and offsets, while the block runs."""
    topics = [names.own(topic) for topic in _TOPICS.values()]
    options = {"retention.ms": "-1"}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(t, PARTITIONS, 1, topic_configs=options)
                                   for t in topics])  # fmt: skip
        await _publish(kafka, names, records_of(content))
        for group, offsets in content["committed"].items():
            await _commit(kafka, names, group, offsets)
        yield
        await admin.delete_topics(topics)
    finally:
        await admin.close()


def records_of(content: Json) -> list[Json]:
    """The stream's records; most of them stand in ``settled.json``."""
    cases = {case["name"]: case for case in recorded("settled.json")["cases"]}
    return [
        _of_case(cases[each["case"]], each["sent"]) if "case" in each else written_out(each)
        for each in content["records"]
    ]


def _of_case(case: Json, sent: int | None) -> Json:
    """The event of a case, or what was published for it."""
    given = case["given"]["record"]
    if sent is not None:
        completed = datetime.fromisoformat(case["given"]["completed_at"])
        stamp = int(completed.timestamp() * 1000)
        return {**case["written"][sent], "partition": 2, "timestamp_ms": stamp}
    event = {"key": None, "value": None, "headers": [], **given}
    # aiokafka publishes no record without key and value.
    return event if event["key"] is not None else {**event, "value": event["value"] or ""}


async def _publish(kafka: str, names: Names, records: list[Json]) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=kafka, enable_idempotence=True, max_request_size=2**21
    ) as producer:
        for record in records:
            await producer.send_and_wait(
                names.own(record["topic"]),
                names.own_bytes(record["value"]),
                names.own_bytes(record["key"]),
                partition=record["partition"],
                timestamp_ms=record["timestamp_ms"],
                headers=[(name, names.own_bytes(value)) for name, value in record["headers"]],
            )


async def _commit(kafka: str, names: Names, group: str, offsets: list[list[Any]]) -> None:
    places = {
        TopicPartition(names.own(topic), number): OffsetAndMetadata(offset, names.own(text))
        for topic, number, offset, text in offsets
    }
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=group.replace(_GROUP, names.group),
        enable_auto_commit=False,
    )
    async with consumer:
        consumer.assign(list(places))
        await consumer.commit(places)


# -- AnythingLLM -----------------------------------------------------------------------------------


@asynccontextmanager
async def server(state: list[Json]) -> AsyncIterator[Simulator]:
    """A simulated AnythingLLM that was filled an hour ago."""
    behind = [3600.0]
    simulator = Simulator(Options(seed=1), None, lambda: DAY - behind[0])
    await simulator.start()
    try:
        await restore(simulator.endpoint, simulator.api_key, state)
        behind[0] = 0.0
        yield simulator
    finally:
        await simulator.close()


# -- commands --------------------------------------------------------------------------------------


async def printed(
    content: Json, commands: Commands, kafka: str, names: Names, files: Path
) -> list[Json]:
    """What every recorded command line gives.

    Args:
        content: of ``printed.json``.
        commands: runs them.
        kafka: servers.
        names: of the topics.
        files: the folder that relative paths on the command lines are in.
    """
    found = []
    async with stream(kafka, names, content), server(content["state"]) as anything:
        settings = {
            **names.settings,
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "ANYTHINGLLM_ENDPOINT": anything.endpoint,
            "ANYTHINGLLM_API_KEY": anything.api_key,
            "LOG_LEVEL": "error",
        }
        for case in content["commands"]:
            words = [names.own(word.replace("@FILES@", str(files))) for word in case["words"]]
            ended = await commands.run(*words, settings=settings)
            found.append(
                {
                    "words": case["words"],
                    "code": ended.code,
                    "out": _shown(_in_order(words, ended.out), names, anything, files),
                    "err": _shown(ended.err, names, anything, files),
                }
            )
    return found


def _in_order(words: list[str], out: str) -> str:
    """Findings about workspaces come by the names of files, which AnythingLLM makes at random."""
    lines = out.splitlines(keepends=True)
    return "".join(sorted(lines) if words[0] == "workspaces" else lines)


def _shown(text: str, names: Names, anything: Simulator, files: Path) -> str:
    text = text.replace(anything.endpoint, "ENDPOINT").replace(str(files), "@FILES@")
    return names.recorded(text)
