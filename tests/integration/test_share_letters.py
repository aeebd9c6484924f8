"""A dead letter that Kafka's broker itself writes for a share group, which has no payload."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from consumer.contract.received_letter import letter_of
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.reader import open_reader, read_topic
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.model.record import Record
from consumer.operations.letters.payloads import Payloads
from consumer.sandbox.kafka.jars import jars_dir, kafka_version
from tests.integration.test_group_kinds import ShareKafka
from tests.integration.test_group_kinds import sharing as sharing
from tests.registries import skip_or_fail
from tests.unit.contract.other_letters import share_headers

# The broker writes to topics of this prefix only, unless it is told otherwise.
TOPIC, LETTERS, GROUP = "shared", "dlq.shared", "sharers"
SECONDS = 60.0
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>tools</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
    <version>{version}</version>
  </dependency></dependencies>
</project>
"""


@pytest.fixture
async def tools(tmp_path: Path) -> Path:
    """The jars of Kafka's command line tools, which the broker does without."""
    if tuple(map(int, kafka_version().split(".")[:2])) < (4, 4):
        pytest.skip(f"Kafka {kafka_version()} writes no dead letters for share groups")
    (tmp_path / "pom.xml").write_text(_POM.format(version=kafka_version()))
    maven = await asyncio.create_subprocess_exec(
        *(
            "mvn",
            "--batch-mode",
            "--quiet",
            _COPY,
            "-DincludeScope=runtime",
            "-DoutputDirectory=lib",
        ),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    said, _ = await maven.communicate()
    if maven.returncode:
        skip_or_fail(f"kafka-tools {kafka_version()}", said.decode(errors="replace"))
    return tmp_path / "lib"


async def _run(tools: Path, tool: str, *words: str) -> None:
    java = shutil.which("java") or "java"
    process = await asyncio.create_subprocess_exec(
        *(java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
        *("-cp", f"{tools}/*:{jars_dir()}/*", f"org.apache.kafka.tools.{tool}", *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-2_000:]


async def _first(connection: KafkaConnection, topic: str) -> Record:
    """The first record of a topic, as soon as there is one."""
    async with asyncio.timeout(SECONDS):
        async for record in read_topic(connection, topic, follow=True):
            return record
    raise AssertionError("following never ends")


@pytest.mark.slow
@pytest.mark.kafka
async def test_the_brokers_own_letter_leads_to_its_original(
    sharing: ShareKafka, tools: Path
) -> None:
    """What a member of a share group rejects: the headers are those we know, and enough."""
    servers = sharing.bootstrap_servers
    connection = KafkaConnection(servers)
    enabled = {"errors.deadletterqueue.group.enable": "true"}
    async with open_admin(connection) as admin:
        specs = [TopicSpec(TOPIC, "a test", 3), TopicSpec(LETTERS, "a test", 1, enabled)]
        await admin.create(specs, replication_factor=1)
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(TOPIC, b"{}", b"key", partition=2, headers=[("kind", b"x")])
    settings = f"errors.deadletterqueue.topic.name={LETTERS},share.auto.offset.reset=earliest"
    to = ("--bootstrap-server", servers)
    group = ("--entity-type", "groups", "--entity-name", GROUP)
    await _run(tools, "ConfigCommand", *to, "--alter", *group, "--add-config", settings)
    reject = ("--reject", "--max-messages", "1", "--timeout-ms", "30000")
    words = (*to, "--topic", TOPIC, "--group", GROUP, *reject)
    await _run(tools, "consumer.ConsoleShareConsumer", *words)

    record = await _first(connection, LETTERS)
    letter = letter_of(record)
    original = await _first(connection, TOPIC)
    async with open_reader(connection) as reader:
        found = await Payloads(reader).original_of(letter, {TOPIC})

    assert (record.key, record.value) == (None, None)
    assert record.headers == share_headers(original)
    assert (letter.by_reference, letter.group) == (True, GROUP)
    assert found == original
    assert original.headers == (("kind", b"x"),)
