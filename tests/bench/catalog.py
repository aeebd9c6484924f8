"""Who takes part: how each is started, in which version, and what it lacks on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import orjson

from consumer import __version__
from tests.bench.contestants.work import Task

REPOSITORY = Path(__file__).resolve().parents[2]
_ROOM = "tests.bench.contestants"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One program.

    Args:
        name: how it is asked for.
        title: for tables.
        version: of it and what it stands on.
        command: starts it on a task.
        env: its settings, besides `PATH` and the like.
        has_results: whether it publishes results.
        topics: names of further topics that it needs.
    """

    name: str
    title: str
    version: str
    command: Callable[[Task], Sequence[str]]
    env: Callable[[Task], Mapping[str, str]] = field(default=lambda _: {})
    has_results: bool = True
    topics: Callable[[Task], Sequence[str]] = field(default=lambda _: ())


def bare(python: Path | None = None, uvloop: str = "") -> Contestant:
    """The bound; with uvloop, in that version, where a Python is given that has it."""
    title = "bare aiohttp loop" + (", uvloop" if python else "")
    words = ("--uvloop",) if python else ()
    told = f"aiohttp {version('aiohttp')}" + (f", uvloop {uvloop}" if python else "")
    return Contestant(
        name="bare-uvloop" if python else "bare",
        title=title,
        version=told,
        command=lambda task: _script("bare", task, *words, python=python),
        has_results=False,
    )


def aiokafka_loop() -> Contestant:
    """Plain aiokafka."""
    return Contestant(
        name="aiokafka",
        title="aiokafka, a commit a message",
        version=f"aiokafka {version('aiokafka')}",
        command=lambda task: _script("aiokafka_loop", task),
    )


def faststream(python: Path, told_version: str, *, acks_first: bool) -> Contestant:
    """FastStream, installed for that Python."""
    words = () if acks_first else ("--ack",)
    way = "acknowledged first" if acks_first else "acknowledged after"
    return Contestant(
        name="faststream" if acks_first else "faststream-ack",
        title=f"FastStream, 10 workers, {way}",
        version=f"FastStream {told_version}",
        command=lambda task: _script("faststream_workers", task, *words, python=python),
    )


def parallel_consumer(jars: Path, told_version: str) -> Contestant:
    """Confluent's Parallel Consumer, from source over these jars."""
    source = Path(__file__).parent / "contestants" / "ParallelConsumer.java"
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return Contestant(
        name="parallel-consumer",
        title="Confluent Parallel Consumer, Java",
        version=f"parallel-consumer {told_version}",
        command=lambda task: ("java", logging, "-cp", f"{jars}/*", str(source), _given(task)),
    )


def service(
    name: str = "service", title: str = "this service", settings: Mapping[str, str] | None = None
) -> Contestant:
    """This service: default settings, but for the slots and what is given."""
    return Contestant(
        name=name,
        title=title,
        version=f"anythingllm-consumer {__version__}{_commit()}",
        command=lambda _: (sys.executable, "-m", "consumer", "run"),
        env=lambda task: {**_settings(task), **(settings or {})},
        topics=lambda task: tuple(_own_topics(task).values()),
    )


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """A process's environment: none of whoever runs the benchmark's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **env}


def _script(module: str, task: Task, *words: str, python: Path | None = None) -> Sequence[str]:
    return (str(python or sys.executable), "-m", f"{_ROOM}.{module}", _given(task), *words)


def _given(task: Task) -> str:
    return orjson.dumps(asdict(task)).decode()


def _commit() -> str:
    """Which state of this repository it is, where git can say."""
    words = ("git", "describe", "--always", "--dirty")
    try:
        told = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return f" ({told.stdout.strip()})" if told.returncode == 0 else ""


def _settings(task: Task) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": task.kafka,
        "KAFKA_GROUP_ID": task.group,
        "KAFKA_DOCUMENTS_TOPIC": task.topic,
        "KAFKA_RESULTS_TOPIC": task.results,
        **_own_topics(task),
        "ANYTHINGLLM_ENDPOINT": task.endpoint,
        "ANYTHINGLLM_API_KEY": "bench-key",
        "ROUTING_WORKSPACE": task.workspace,
        "UPLOAD_MAX_CHUNKS_IN_FLIGHT": str(task.slots),
        "ADMIN_PORT": "0",
    }


def _own_topics(task: Task) -> dict[str, str]:
    kinds = ("REPLAY", "DEAD_LETTERS", "PARKED")
    return {f"KAFKA_{kind}_TOPIC": f"{task.group}-{kind.lower()}" for kind in kinds}
