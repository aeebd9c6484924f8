"""The whole thing on one machine: documents in, results out, a search that finds them.

Everything is real but AnythingLLM (unless one is named): Apache Kafka, and the service as a process
of its own with the settings any deployment would give it. What the demo makes in Kafka and
AnythingLLM is called ``demo-…`` with a random part, and removed at the end.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson

from consumer.anythingllm import AnythingLLMClient
from consumer.contract.received_result import read_result
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.kafka.topics import open_admin
from consumer.model.document import ProcessedDocument
from consumer.model.fault import Failure
from consumer.operations.publish import publish_all
from consumer.pipeline.decode import decode
from consumer.publishing import EventRecord, RecordMaker
from consumer.sandbox.demo_replay import replay_all
from consumer.sandbox.errors import SandboxError
from consumer.sandbox.kafka import Mode, local_kafka
from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import Faults, simulator
from consumer.settings import Settings, load_settings
from consumer.telemetry.scrub import Scrubber
from consumer.wiring.anythingllm import anythingllm_config
from consumer.wiring.event_rules import decode_limits
from consumer.wiring.kafka import kafka_connection
from consumer.wiring.topics import topic_specs

DOCUMENTS = 24
REFUSED_TEXT = "this chunk is one that the simulated AnythingLLM refuses"
_RESULTS_SECONDS = 180.0
_STOP_SECONDS = 40.0
_LOG_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo runs against.

    Args:
        kafka: ``host:port`` of a Kafka to use; a local one is started where None.
        anythingllm: URL of a real AnythingLLM; a simulated one is started where None.
        api_key: for the real one.
    """

    kafka: str | None = None
    anythingllm: str | None = None
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the demo showed; ``wrong`` is empty when all of it is as it should be."""

    published: int
    results: dict[str, int]
    dead_letters: int
    replayed: int
    chunks_stored: int
    chunks_searchable: int
    seconds: float
    wrong: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The line that ``demo --json`` ends with."""
        return {
            "published": self.published,
            "results": self.results,
            "dead_letters": self.dead_letters,
            "replayed": self.replayed,
            "chunks_stored": self.chunks_stored,
            "chunks_searchable": self.chunks_searchable,
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """A new stage begins."""

    text: str


@dataclass(frozen=True, slots=True)
class ResultArrived:
    """A result arrived; ``number`` of ``total``."""

    number: int
    total: int
    status: str
    workspace: str
    document_id: str
    chunks: int


@dataclass(frozen=True, slots=True)
class SearchFound:
    """A search found a chunk; ``distance`` 0 is the very same text, None an unknown one."""

    query: str
    text: str
    distance: float | None


Told = Step | ResultArrived | SearchFound
Tell = Callable[[Told], None]


@dataclass(slots=True)
class _Stage:
    """What is set up: where everything is, and what was sent."""

    settings: Settings
    environment: dict[str, str]
    mend: Callable[[], None] | None = None  # None where nothing is refused
    events: list[EventRecord] = field(default_factory=list)
    documents: list[ProcessedDocument] = field(default_factory=list)


async def run_demo(
    options: DemoOptions,
    tell: Tell,
    *,
    until_closed: Callable[[Mapping[str, str]], Awaitable[None]] | None = None,
) -> DemoReport:
    """Set everything up, run it to the end, take it down.

    Args:
        options: against what.
        tell: told what happens.
        until_closed: awaited with everything still up, before it is taken down; gets the settings
            that the service runs with, as environment variables.

    Raises:
        SandboxUnavailable: this machine can't run a Kafka; the message says what to install.
        SandboxError: something did not come up or did not end, or something was left behind.
        KafkaUnavailableError: the Kafka that was named can't be used.
    """
    started = time.monotonic()
    async with _staged(options, tell) as stage:
        tell(Step(f"publishing {len(stage.events)} documents"))
        published = await _publish(stage)
        tell(Step("consuming: one result a document"))
        async with _service(stage.environment):
            statuses = await _watch(stage, published, tell)
            letters, replayed = await _count_letters(stage), 0
            if stage.mend is not None:
                tell(Step("mending what was refused, and replaying its dead letter"))
                stage.mend()
                replayed = await replay_all(stage.settings)
            tell(Step("looking at what is stored, and searching for every chunk of it"))
            stored, searchable = await _look(stage, tell)
            seconds = time.monotonic() - started
            report = DemoReport(published, statuses, letters, replayed, stored, searchable, seconds)
            if until_closed is not None:
                await until_closed(stage.environment)
    return _judged(report, stage, refused=options.anythingllm is None)


@asynccontextmanager
async def _staged(options: DemoOptions, tell: Tell) -> AsyncIterator[_Stage]:
    """Kafka, AnythingLLM, topics and events; gone at the end."""
    prefix = f"demo-{secrets.token_hex(4)}"
    async with AsyncExitStack() as rooms:
        tell(Step("starting Kafka" if options.kafka is None else f"using Kafka {options.kafka}"))
        mode: Mode = "auto" if options.kafka is None else "external"
        kafka = await rooms.enter_async_context(local_kafka(mode, external=options.kafka))
        endpoint, api_key, mend = options.anythingllm, options.api_key, None
        if endpoint is None:
            tell(Step("starting a simulated AnythingLLM"))
            server = await rooms.enter_async_context(simulator(faults=_faults()))
            endpoint, api_key, mend = server.endpoint, server.api_key, server.faults.clear
        environment = _environment(prefix, kafka.bootstrap_servers, endpoint, api_key or "")
        stage = _Stage(load_settings(environment), environment, mend)
        _fill(stage, prefix, refused=options.anythingllm is None)
        rooms.push_async_exit(_Removal(stage, prefix, tell))
        async with open_admin(kafka_connection(stage.settings)) as admin:
            await admin.create(topic_specs(stage.settings, partitions=3), 1)
        yield stage


def _faults() -> Faults:
    faults = Faults()
    body = '{"success":false,"error":"refused","documents":[]}'
    headers = {"Content-Type": "application/json"}
    faults.add(
        "status", status=422, path="*/raw-text", contains=REFUSED_TEXT, body=body, headers=headers
    )
    return faults


def _environment(prefix: str, kafka: str, endpoint: str, api_key: str) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "KAFKA_GROUP_ID": f"{prefix}-group",
        "KAFKA_DOCUMENTS_TOPIC": f"{prefix}-documents",
        "KAFKA_REPLAY_TOPIC": f"{prefix}-replay",
        "KAFKA_RESULTS_TOPIC": f"{prefix}-results",
        "KAFKA_DEAD_LETTERS_TOPIC": f"{prefix}-dead-letters",
        "KAFKA_PARKED_TOPIC": f"{prefix}-parked",
        "ANYTHINGLLM_ENDPOINT": endpoint,
        "ANYTHINGLLM_API_KEY": api_key,
        "ROUTING_WORKSPACE": f"{prefix}-{{technology}}",
        "ADMIN_PORT": "0",
    }


def _fill(stage: _Stage, prefix: str, *, refused: bool) -> None:
    """Sample documents of both shapes; of the largest one a chunk is refused."""
    samples = sample_documents(DOCUMENTS, seed=secrets.randbits(32), shape="mixed")
    if refused:
        largest = max(samples, key=lambda sample: len(sample["chunks"]))
        largest["chunks"][0]["content"] = f"{prefix}: {REFUSED_TEXT}"
    limits = decode_limits(stage.settings)
    maker = RecordMaker(identity=stage.settings.document.identity.text)
    for sample in samples:
        value = orjson.dumps(sample)
        document = decode(value, limits)
        stage.documents.append(document)
        stage.events.append(maker.of_document(value, document))


async def _publish(stage: _Stage) -> int:
    publisher = Publisher(kafka_connection(stage.settings), give_up=True)
    await publisher.start()

    async def send(event: EventRecord) -> None:
        topic = stage.settings.kafka.documents_topic
        await publisher.publish(OutgoingRecord(topic, event.key, event.value, event.headers))

    try:
        return await publish_all(stage.events, send)
    finally:
        await publisher.stop()


@asynccontextmanager
async def _service(environment: dict[str, str]) -> AsyncIterator[None]:
    """The service as a process of its own, ended by SIGTERM as an orchestrator would.

    Its environment is ours alone: a setting of the caller's shell must not reach it.

    Raises:
        SandboxError: it died while the block ran, which ends the block at once, or the block found
            it wanting, or it did not end with 0; with its last log lines.
    """
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", "run"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the service
        )
        died = asyncio.create_task(process.wait())
        try:
            async with _as_long_as_it_lives(died):
                yield
        except SandboxError as error:
            raise SandboxError(f"{error}; its last words:\n{_tail(output.fileno())}") from error
        finally:
            if not died.done():
                process.send_signal(signal.SIGTERM)
            code = await _ended(process, died)
        if code != 0:
            raise SandboxError(f"the service ended with {code}:\n{_tail(output.fileno())}")


@asynccontextmanager
async def _as_long_as_it_lives(died: asyncio.Task[int]) -> AsyncIterator[None]:
    """Cancel the block when the service dies, instead of waiting for what will never come."""
    block = asyncio.current_task()
    if block is None:
        raise RuntimeError("only a task can be told that the service died")
    died.add_done_callback(cancel := lambda _: block.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if died.done() and block.uncancel() <= 0:
            raise SandboxError(f"the service ended too early, with {died.result()}") from None
        raise
    finally:
        died.remove_done_callback(cancel)


async def _ended(process: asyncio.subprocess.Process, died: asyncio.Task[int]) -> int:
    done, _ = await asyncio.wait({died}, timeout=_STOP_SECONDS)
    if not done:
        process.kill()
    return await died


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    text = os.pread(descriptor, 65536, max(0, size - 65536)).decode("utf-8", "replace")
    return "\n".join(Scrubber().text(line, 500) for line in text.splitlines()[-_LOG_TAIL_LINES:])


async def _watch(stage: _Stage, expected: int, tell: Tell) -> dict[str, int]:
    """The status of each event's result, however often a result is repeated."""
    statuses: dict[str, str] = {}
    topic = stage.settings.kafka.results_topic
    try:
        async with asyncio.timeout(_RESULTS_SECONDS):
            async for record in read_topic(kafka_connection(stage.settings), topic, follow=True):
                result = read_result(record.value or b"")
                if result.event_id in statuses:
                    continue
                statuses[result.event_id] = result.status
                tell(
                    ResultArrived(
                        number=len(statuses),
                        total=expected,
                        status=result.status,
                        workspace=result.workspace_slug or "-",
                        document_id=result.document_id or "-",
                        chunks=result.successful_uploads,
                    )
                )
                if len(statuses) == expected:
                    break
    except TimeoutError:
        raise SandboxError(
            f"only {len(statuses)} of {expected} results within {_RESULTS_SECONDS:.0f} s"
        ) from None
    return dict(Counter(statuses.values()))


async def _look(stage: _Stage, tell: Tell) -> tuple[int, int]:
    """How many published chunks are stored, and how many a search for their text finds."""
    routing = stage.settings.routing.rules()
    stored = searchable = 0
    async with AnythingLLMClient(anythingllm_config(stage.settings)) as client:
        for slug in sorted({routing.slug_for(document) for document in stage.documents}):
            listing = await client.list_workspace_documents(slug)
            stored += sum(len(document.chunks) for document in listing if not document.foreign)
        for document in stage.documents:
            slug = routing.slug_for(document)
            for chunk in document.chunks:
                hits = await client.search_workspace(slug, chunk.content[:1000], limit=5)
                found = [hit for hit in hits if hit.content_sha256 == chunk.content_sha256]
                searchable += bool(found)
        query = stage.documents[0].chunks[0].content[:60]
        slug = routing.slug_for(stage.documents[0])
        for hit in (await client.search_workspace(slug, query, limit=1))[:1]:
            tell(SearchFound(query, hit.text, hit.distance))
    return stored, searchable


async def _count_letters(stage: _Stage) -> int:
    topic = stage.settings.kafka.dead_letters_topic
    return sum([1 async for _ in read_topic(kafka_connection(stage.settings), topic)])


def _judged(report: DemoReport, stage: _Stage, *, refused: bool) -> DemoReport:
    """The report with what is not as it should be."""
    chunks = sum(len(document.chunks) for document in stage.documents)
    letters = 1 if refused else 0
    expected = {
        "results": (sum(report.results.values()), len(stage.documents)),
        "dead letters": (report.dead_letters, letters),
        "replayed": (report.replayed, letters),
        "chunks stored": (report.chunks_stored, chunks),
        "chunks searchable": (report.chunks_searchable, chunks),
    }
    wrong = tuple(
        f"{what}: {found}, expected {wanted}"
        for what, (found, wanted) in expected.items()
        if found != wanted
    )
    return replace(report, wrong=wrong)


class _Removal:
    """Takes away what the demo made; what could not be removed is told, never hidden.

    Args:
        stage: what was set up.
        prefix: all names begin with it.
        tell: told where an error can't be raised.
    """

    def __init__(self, stage: _Stage, prefix: str, tell: Tell) -> None:
        self._stage = stage
        self._prefix = prefix
        self._tell = tell

    async def __call__(self, kind: type[BaseException] | None, *_: object) -> None:
        left = []
        removals = {
            "workspaces": self._workspaces,
            "topics": self._topics,
            "groups": self._groups,
        }
        for what, remove in removals.items():
            try:
                await remove()
            except (Failure, KafkaUnavailableError) as error:
                left.append(f"{what} {self._prefix}-…: not removed: {error}")
        if left and kind is None:
            raise SandboxError("; ".join(left))
        for one in left:
            # Raised, it would hide what went wrong first.
            self._tell(Step(one))

    async def _workspaces(self) -> None:
        async with AnythingLLMClient(anythingllm_config(self._stage.settings)) as client:
            for workspace in await client.list_workspaces():
                if not workspace.slug.startswith(f"{self._prefix}-"):
                    continue
                for document in await client.list_workspace_documents(workspace.slug):
                    if document.document_id is not None:
                        await client.delete_document(workspace.slug, document.document_id)
                await client.delete_workspace(workspace.slug)

    async def _topics(self) -> None:
        async with open_admin(kafka_connection(self._stage.settings)) as admin:
            await admin.delete([spec.name for spec in topic_specs(self._stage.settings)])

    async def _groups(self) -> None:
        """The service's and those of the replay."""
        async with open_admin(kafka_connection(self._stage.settings)) as admin:
            for group in await admin.groups(f"{self._prefix}-"):
                await admin.delete_group(group)
