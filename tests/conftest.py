"""What tests of several folders share: one real Kafka for the whole session, names, the corpus."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from consumer.kafka.connection import KafkaConnection
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.sandbox.kafka import LocalKafka, SandboxUnavailable, choose_kafka
from tests.commands import Commands, logging_kept
from tests.runs.side_by_side import KAFKA_FOLDERS
from tests.simulator_fixtures import simulator as simulator

REPOSITORY = Path(__file__).resolve().parent.parent

_SETTINGS_OF_RUN = (
    "ADMIN_", "ANYTHINGLLM_", "BREAKER_", "DOCUMENT_", "FUSE_", "INDEX_", "INTAKE_", "KAFKA_",
    "LOG_FORMAT", "LOG_LEVEL", "REMOVAL_", "REPLAY_", "ROUTING_", "SHUTDOWN_", "TRACING_",
    "UPLOAD_", "OTEL_",
)  # fmt: skip
_SETTINGS_OF_TESTS = ("ANYTHINGLLM_TEST_", "TEST_")
_MARKED = {"kafka": {"kafka", "own_kafka"}, "service": {"make_stage"}, "processes": {"programs"}}


def pytest_configure() -> None:
    """Give the tests, and the processes they start, a world that does not depend on who starts us.

    Without settings of `run`: nothing may reach for production. With a SIGINT that ends things:
    shells let their background jobs ignore it, and a process hands that on to those it starts.
    """
    for name in list(os.environ):
        if name.startswith(_SETTINGS_OF_RUN) and not name.startswith(_SETTINGS_OF_TESTS):
            del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A look through everything takes a tenth of a second where thousands of tests are kept, and
    # would be a sixth of the time: a fifth of the usual number will do.
    gc.set_threshold(*gc.get_threshold()[:2], 50)
    # A busy machine makes no example of Hypothesis wrong.
    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use, before anything is chosen by markers.

    Raises:
        pytest.UsageError: a test on Kafka is where no session on Kafka looks.
    """
    for item in items:
        for name, fixtures in _MARKED.items():
            if not fixtures.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker(name)
        if item.get_closest_marker("release"):
            item.add_marker("slow")
        if item.get_closest_marker("kafka") and not _is_looked_for_on_kafka(item.path):
            raise pytest.UsageError(f"{item.nodeid}: put it into one of {', '.join(KAFKA_FOLDERS)}")


def _is_looked_for_on_kafka(path: Path) -> bool:
    return any(path.is_relative_to(REPOSITORY / folder) for folder in KAFKA_FOLDERS)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging is the process's own state: every test gives it back as it was."""
    with logging_kept():
        yield


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Runs commands of ours in this process; none may have shown the API key."""
    made = Commands(tmp_path)
    yield made
    made.close()


def _run_apart(coroutine: Coroutine[object, object, None]) -> None:
    """Run it on a loop and thread of its own: the broker outlives the loops of single tests."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[LocalKafka]:
    """One real Kafka for the session, which no test stops; see `own_kafka`."""
    if "not kafka" in request.config.option.markexpr:
        pytest.fail("asked for by a name that is not in its test: mark the test with kafka")
    try:
        broker = asyncio.run(choose_kafka())
    except SandboxUnavailable as error:
        pytest.fail(str(error), pytrace=False)
    try:
        _run_apart(broker.start())
        yield broker
    finally:
        _run_apart(broker.close())


@pytest.fixture
async def own_kafka() -> AsyncIterator[LocalKafka]:
    """A real Kafka that a test may stop, kill and start again."""
    broker = await choose_kafka()
    if broker.mode == "external":
        pytest.skip("an external Kafka is not ours to stop")
    try:
        await broker.start()
        yield broker
    finally:
        await broker.close()


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Names nobody else uses, as `test-<kind>-<random>`: for topics, groups and workspaces."""
    return lambda kind: f"test-{kind}-{secrets.token_hex(6)}"


class MakeTopic(Protocol):
    async def __call__(
        self, kind: str = "topic", *, partitions: int = 1, **config: str | int
    ) -> str: ...


@pytest.fixture
async def make_topic(
    kafka: LocalKafka, unique_name: Callable[[str], str]
) -> AsyncIterator[MakeTopic]:
    """Creates topics and removes them after the test, which has to leave Kafka running.

    The name of a new one: `await make_topic("docs", partitions=3, retention_ms=1000)`.
    """
    made: list[str] = []
    connection = KafkaConnection(kafka.bootstrap_servers)

    async def make(kind: str = "topic", *, partitions: int = 1, **config: str | int) -> str:
        settings = {key.replace("_", "."): str(value) for key, value in config.items()}
        spec = TopicSpec(unique_name(kind), "a test", partitions, settings)
        async with open_admin(connection) as admin:
            await admin.create([spec], replication_factor=1)
        made.append(spec.name)
        return spec.name

    yield make
    if made:
        async with open_admin(connection) as admin:
            await admin.delete(made)


@pytest.fixture(scope="session")
def corpus_path() -> Path:
    """The folder of real documents, which is not part of this repository."""
    named = os.environ.get("TEST_CORPUS_DIR")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip(f"no corpus: {folder} is not there (TEST_CORPUS_DIR names another place)")
    return folder
