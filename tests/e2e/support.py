"""Processes of ours, as an operator starts them, and what a test may ask of them.

Every process gets a clean environment (nothing of the tester's but PATH and the like) and a working
folder of its own. Nothing here sleeps for a fixed time: conditions are asked until they hold or a
deadline has passed.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from consumer.anythingllm.sentinel import is_sentinel
from consumer.contract.received_result import ReceivedResult, read_result
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.reader import read_topic
from consumer.kafka.topics import open_admin
from consumer.model.marker import decode_marker
from consumer.sandbox.simulator import Simulator
from consumer.settings import load_settings
from consumer.wiring.topics import topic_specs
from tests.commands import CANARY as CANARY
from tests.commands import PATIENCE as PATIENCE
from tests.commands import Commands
from tests.commands import Ended as Ended
from tests.commands import clean_environment as clean_environment
from tests.topics import create_topics

REPOSITORY = Path(__file__).resolve().parents[2]
_POLL = 0.03

Json = dict[str, Any]


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The condition's value once it is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < give_up, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(_POLL)
    return value


class Process:
    """A process of ours that runs; its output goes to files."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path, err: Path) -> None:
        self._process = process
        self._out, self._err = out, err
        self._address = ""

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def logged(self, event: str | None = None) -> list[Json]:
        """The log's lines, of one event or all; a line that is being written is left out."""
        lines = [line for line in self.out.splitlines(keepends=True) if line.endswith("\n")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if event is None or entry["event"] == event]

    async def until_logged(self, event: str, count: int = 1, seconds: float = PATIENCE) -> Json:
        def there() -> bool:
            assert self.running or len(self.logged(event)) >= count, self.out[-3000:] + self.err
            return len(self.logged(event)) >= count

        await until(there, f"{count} times {event} in the log", seconds)
        return self.logged(event)[count - 1]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, seconds: float = PATIENCE) -> int:
        """The exit code; killed by a signal it is that signal's number, negative."""
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def kill(self) -> None:
        if self.running:
            self._process.kill()
        await self._process.wait()

    async def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of the admin pages."""
        if not self._address:
            listening = await self.until_logged("admin.listening")
            self._address = f"http://{listening['host']}:{listening['port']}"
        async with aiohttp.ClientSession() as session, session.get(self._address + path) as answer:
            return answer.status, await answer.text()

    @property
    def port(self) -> str:
        """Of the admin pages, one of which was asked for."""
        return self._address.rpartition(":")[2]

    async def readiness(self) -> tuple[int, str, str]:
        """Status, word and reasons of ``/readyz``."""
        status, text = await self.page("/readyz")
        body = json.loads(text)
        return status, body["status"], "; ".join(body["reasons"])

    async def until_ready(self, word: str = "ready", seconds: float = PATIENCE) -> str:
        """The reasons, once ``/readyz`` says this word."""
        give_up = time.monotonic() + seconds
        while True:
            _, said, reasons = await self.readiness()
            if said == word:
                return reasons
            assert time.monotonic() < give_up, f"{said} instead of {word}: {reasons}"
            await asyncio.sleep(_POLL)

    async def metrics(self) -> dict[str, float]:
        """Every sample of ``/metrics`` without the prefix; of labels only the values."""
        _, text = await self.page("/metrics")
        samples: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values = "".join(f" {value}" for value in sample.labels.values())
                samples[sample.name.removeprefix("anythingllm_consumer_") + values] = sample.value
        return samples

    async def until_metrics(
        self, condition: Callable[[dict[str, float]], bool], what: str, seconds: float = PATIENCE
    ) -> dict[str, float]:
        """The metrics, once the condition holds."""
        give_up = time.monotonic() + seconds
        while not condition(metrics := await self.metrics()):
            assert time.monotonic() < give_up, f"not within {seconds:.0f} s: {what}: {metrics}"
            await asyncio.sleep(_POLL)
        return metrics

    def memory(self) -> int:
        """Bytes that are resident now."""
        return self._memory("VmRSS")

    def peak_memory(self) -> int:
        """Most bytes that were resident at once."""
        return self._memory("VmHWM")

    def _memory(self, what: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith(what)]
        return int(line.split()[1]) * 1024


@dataclass(slots=True)
class Programs:
    """Starts commands and remembers them, so that none outlives its test and no secret leaks.

    Args:
        folder: where they run.
        code: the folder with the packages that they are of.
    """

    folder: Path
    code: Path = REPOSITORY
    processes: list[Process] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    commands: Commands = field(init=False)
    """Those that need no process; of the present code."""

    def __post_init__(self) -> None:
        self.commands = Commands(self.folder)
        # Found from the working folder, so that no variable has to lead there, installed or not.
        (self.folder / "consumer").symlink_to(self.code / "consumer")

    async def start(
        self,
        *words: str,
        settings: Mapping[str, str],
        python: Sequence[str] = (sys.executable,),
    ) -> Process:
        """Start a command and leave it running; `python` may wrap the interpreter."""
        number = len(self.processes)
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            started = await asyncio.create_subprocess_exec(
                *(*python, "-m", "consumer", *words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                cwd=self.folder,
                env=clean_environment(self.folder, settings),
            )
        process = Process(started, out, err)
        self.processes.append(process)
        return process

    async def run(
        self,
        *words: str,
        settings: Mapping[str, str],
        stdin: bytes = b"",
        seconds: float = PATIENCE,
    ) -> Ended:
        """Run a command to its end."""
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "consumer", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=clean_environment(self.folder, settings),
        )
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        ended = Ended(process.returncode or 0, out.decode(), err.decode(), time.monotonic() - began)
        self.said += [ended.out, ended.err]
        return ended

    async def close(self) -> None:
        """End what still runs; see that nobody has told the API key."""
        for process in self.processes:
            await process.kill()
            self.said += [process.out, process.err]
        assert not any(CANARY in text for text in self.said), "the API key was shown"
        self.commands.close()


@dataclass(frozen=True, slots=True)
class Stage:
    """Topics and a group of their own on the session's Kafka, and a simulated AnythingLLM."""

    settings: dict[str, str]
    connection: KafkaConnection
    simulator: Simulator
    programs: Programs

    async def run(self, *options: str, **settings: str) -> Process:
        """The service; further settings win."""
        return await self.programs.start("run", *options, settings=self.settings | settings)

    async def program(
        self, *words: str, settings: Mapping[str, str] = MappingProxyType({}), stdin: bytes = b""
    ) -> Ended:
        """A process with the settings of the service, to its end; further settings win."""
        return await self.programs.run(*words, settings={**self.settings, **settings}, stdin=stdin)

    async def command(
        self, *words: str, settings: Mapping[str, str] = MappingProxyType({}), stdin: bytes = b""
    ) -> Ended:
        """The same command in this process."""
        run = self.programs.commands.run
        return await run(*words, settings={**self.settings, **settings}, stdin=stdin)

    async def publish(self, path: Path | str) -> None:
        """All events of a file."""
        ended = await self.command("publish", str(path))
        assert ended.code == 0, ended.err

    async def results(self) -> list[ReceivedResult]:
        """All results so far, repeated ones too."""
        topic = self.settings["KAFKA_RESULTS_TOPIC"]
        return [read_result(r.value or b"") async for r in read_topic(self.connection, topic)]

    async def until_results(self, count: int, seconds: float = PATIENCE) -> list[ReceivedResult]:
        """All results, once there are those of so many events."""
        found: list[ReceivedResult] = []
        topic = self.settings["KAFKA_RESULTS_TOPIC"]
        try:
            async with asyncio.timeout(seconds):
                async for record in read_topic(self.connection, topic, follow=True):
                    found.append(read_result(record.value or b""))
                    if len({result.event_id for result in found}) >= count:
                        break
        except TimeoutError:
            events = len({result.event_id for result in found})
            raise AssertionError(f"{events} of {count} results in {seconds:.0f} s") from None
        return found

    async def until_committed(self, seconds: float = PATIENCE) -> None:
        """Return when the group has committed every event, which is promised of what runs."""
        give_up = time.monotonic() + seconds
        while any((left := await self.unsettled()).values()):
            assert time.monotonic() < give_up, f"not committed within {seconds:.0f} s: {left}"
            await asyncio.sleep(_POLL)

    async def unsettled(self) -> dict[int, int]:
        """By partition of the documents topic, how far its end is from the committed offset."""
        return await unsettled(
            self.connection,
            self.settings["KAFKA_GROUP_ID"],
            self.settings["KAFKA_DOCUMENTS_TOPIC"],
        )


async def unsettled(connection: KafkaConnection, group: str, topic: str) -> dict[int, int]:
    """See `Stage.unsettled`; 0 for a partition that never had a record."""
    ends: dict[int, int] = {}
    async for record in read_topic(connection, topic):
        ends[record.at.partition] = record.at.offset + 1
    admin = AIOKafkaAdminClient(bootstrap_servers=connection.bootstrap_servers)
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    done = {at.partition: found.offset for at, found in committed.items() if at.topic == topic}
    return {partition: end - done.get(partition, 0) for partition, end in ends.items()}


def settings_for(name: Callable[[str], str], kafka: str, simulator: Simulator) -> dict[str, str]:
    """Settings of `run` with topics, group and workspaces that nobody else uses."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "KAFKA_GROUP_ID": name("group"),
        "KAFKA_DOCUMENTS_TOPIC": name("documents"),
        "KAFKA_REPLAY_TOPIC": name("replay"),
        "KAFKA_RESULTS_TOPIC": name("results"),
        "KAFKA_DEAD_LETTERS_TOPIC": name("letters"),
        "KAFKA_PARKED_TOPIC": name("parked"),
        "KAFKA_SESSION_TIMEOUT_SECONDS": "15",  # a loaded machine may stand still for seconds
        "ANYTHINGLLM_ENDPOINT": simulator.endpoint,
        "ANYTHINGLLM_API_KEY": simulator.api_key,
        "UPLOAD_BACKOFF_BASE_SECONDS": "0.1",
        "UPLOAD_BACKOFF_CAP_SECONDS": "0.5",
        "BREAKER_RECOVERY_SECONDS": "0.3",
        "ADMIN_PORT": "0",
    }


@asynccontextmanager
async def topics_of(settings: Mapping[str, str], partitions: int) -> AsyncIterator[None]:
    """The five topics while the block runs; all the group remembers goes with them."""
    connection = KafkaConnection(settings["KAFKA_BOOTSTRAP_SERVERS"])
    specs = topic_specs(load_settings(settings), partitions)
    await create_topics(connection, specs)
    try:
        yield
    finally:
        async with open_admin(connection) as admin:
            await admin.delete([spec.name for spec in specs])


def write_events(path: Path, events: Iterable[bytes | Json]) -> Path:
    """A file of one event a line."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@dataclass(frozen=True, slots=True)
class Copy:
    """A chunk as it lies in the simulated AnythingLLM."""

    slug: str
    document_id: str
    chunk_id: str
    text: str
    searchable: bool


def stored(simulator: Simulator) -> list[Copy]:
    """Every chunk in every workspace, as often as it is there."""
    copies = []
    for slug in simulator.state.workspaces:
        for source, text, found in simulator.chunks(slug):
            if is_sentinel(source):
                continue  # of a process that was killed; others remove it after ten minutes
            marker = decode_marker(source)
            assert marker is not None, f"left in {slug}: {source}"
            (chunk,) = marker.chunks
            copies.append(Copy(slug, marker.document_id, chunk.id, text, found == 1))
    return copies


def uploads(simulator: Simulator) -> list[tuple[str, str]]:
    """Document and chunk id of every text that was ever uploaded, however often."""
    entries = simulator.journal.of("document.stored")
    markers = [decode_marker(entry["doc_source"]) for entry in entries]
    return [(marker.document_id, marker.chunks[0].id) for marker in markers if marker is not None]


def chunk_ids(events: Iterable[Json]) -> list[tuple[str, str]]:
    """Document and chunk id of every chunk of the events."""
    return [(event["id"], chunk["id"]) for event in events for chunk in event["chunks"]]
