"""The demo: a newcomer's first command, and it leaves the machine as it was."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from consumer.sandbox.kafka import LocalKafka
from consumer.sandbox.simulator import Simulator
from tests.e2e.support import CANARY, Ended, Json, Programs, until
from tests.integration.test_local_kafka import needs_java, needs_own_kafka

FIELDS = {
    *("published", "results", "dead_letters", "replayed"),
    *("chunks_stored", "chunks_searchable", "seconds"),
}


def summary(ended: Ended) -> Json:
    """The last line of `demo --json`, which a script reads."""
    assert ended.code == 0, ended.err
    assert ended.err == ""
    shown: Json = json.loads(ended.lines[-1])
    assert set(shown) == FIELDS
    assert shown["published"] == sum(shown["results"].values()) == 24
    assert shown["chunks_stored"] == shown["chunks_searchable"] > 24
    return shown


async def names_of_the_demo(kafka: LocalKafka) -> list[str]:
    """Topics and groups that a demo has made and not removed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        groups = [group for group, _ in await admin.list_consumer_groups()]
        return [name for name in [*await admin.list_topics(), *groups] if name.startswith("demo-")]
    finally:
        await admin.close()


def processes_in(folder: Path) -> list[int]:
    """Processes whose working folder this is: what a command started, however deep."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if cwd.readlink() == folder:
                found.append(int(cwd.parent.name))
    return found


async def nothing_left(programs: Programs) -> None:
    """No process, and no file in the folder for temporary ones."""
    await until(lambda: not processes_in(programs.folder), "all processes are gone")
    assert list((programs.folder / "tmp").iterdir()) == []


@pytest.mark.kafka
@needs_java
@needs_own_kafka
async def test_the_demo_runs_the_main_job(programs: Programs) -> None:
    """With nothing but a Kafka of its own: exit 0, all found, one refusal, nothing left behind."""
    ended = await programs.run("demo", settings={}, seconds=110)

    assert ended.code == 0, ended.out + ended.err
    assert ended.err == ""
    assert "starting Kafka" in ended.out
    assert "24/24" in ended.out
    assert "24 documents published, results: 1 partial, 23 succeeded" in ended.out
    assert "1 dead letter" in ended.out
    assert "mended and replayed" in ended.out
    await nothing_left(programs)


async def test_a_script_reads_one_line(programs: Programs, kafka: LocalKafka) -> None:
    """`--json` says the same for machines; on a Kafka of somebody's nothing stays behind.

    A demo in a shell that is set up for production does not go there.
    """
    production = {
        "KAFKA_BOOTSTRAP_SERVERS": "production.example:9092",
        "KAFKA_DOCUMENTS_TOPIC": "production",
        "ANYTHINGLLM_ENDPOINT": "http://production.example",
        "ANYTHINGLLM_API_KEY": CANARY,
        "ROUTING_WORKSPACE": "production",
    }
    words = ["--json", "--kafka", kafka.bootstrap_servers]
    ended = await programs.run("demo", *words, settings=production)

    shown = summary(ended)
    assert shown["results"] == {"succeeded": 23, "partial": 1}
    assert (shown["dead_letters"], shown["replayed"]) == (1, 1)
    assert await names_of_the_demo(kafka) == []
    await nothing_left(programs)


@pytest.mark.slow
async def test_an_anythingllm_of_somebody_is_left_as_it_was(
    programs: Programs, kafka: LocalKafka, simulated: Simulator
) -> None:
    """With --anythingllm the demo's workspaces are removed again; the key is shown to nobody.

    --keep ends where standard input ends, as it does here.
    """
    simulated.state.create_workspace("mine", {})
    words = ["demo", "--kafka", kafka.bootstrap_servers, "--anythingllm", simulated.endpoint]
    key = {"ANYTHINGLLM_TEST_API_KEY": CANARY}
    without_key = await programs.run(*words, settings={})
    ended = await programs.run(*words, "--keep", settings=key)

    assert without_key.code == 2
    assert "--api-key" in without_key.err
    assert ended.code == 0, ended.err
    assert "24 documents published, results: 24 succeeded" in ended.out
    assert "export ANYTHINGLLM_API_KEY='...'" in ended.err
    assert list(simulated.state.workspaces) == ["mine"]
    assert simulated.state.files == {}


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
async def test_an_interrupted_demo_cleans_up(
    programs: Programs, kafka: LocalKafka, number: signal.Signals
) -> None:
    """Ended at any time, also while it is kept up, it takes everything down and exits 130."""
    words = ["demo", "--keep", "--kafka", kafka.bootstrap_servers]
    process = await programs.start(*words, settings={})
    await until(lambda: "ends it" in process.err or not process.running, "it is kept up")
    assert "export KAFKA_RESULTS_TOPIC=" in process.err
    process.signal(number)

    assert await process.ended() == 130
    assert "Traceback" not in process.err
    assert await names_of_the_demo(kafka) == []
    await nothing_left(programs)


async def test_a_service_that_dies_ends_the_demo_at_once(
    programs: Programs, kafka: LocalKafka
) -> None:
    """Not after minutes of waiting for results; with the service's last words; all removed."""
    process = await programs.start("demo", "--kafka", kafka.bootstrap_servers, settings={})
    await until(lambda: "consuming" in process.out, "the service is started")

    def service() -> list[int]:
        others = set(processes_in(programs.folder)) - {process.pid}
        return [pid for pid in others if b"run" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    (victim,) = await until(service, "the service runs")
    os.kill(victim, signal.SIGKILL)
    assert await process.ended() == 1
    assert "the service ended too early" in process.err
    assert await names_of_the_demo(kafka) == []
    await nothing_left(programs)


async def test_a_kafka_that_is_not_there_is_told(programs: Programs) -> None:
    """Exit 2 with the address; nothing else is started in its place."""
    ended = await programs.run("demo", "--kafka", "127.0.0.1:1", settings={})

    assert ended.code == 2
    assert "127.0.0.1:1" in ended.err
    assert len(ended.err.splitlines()) == 1
