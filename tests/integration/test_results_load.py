"""100,000 results at a terminal and through a pipe: the first line, memory, and what is seen."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from tests.commands import clean_environment
from tests.e2e.support import Programs
from tests.integration.service_fixtures import Stage
from tests.staging import result

pytestmark = pytest.mark.slow

COUNT = 100_000
WIDTH = 80
MIB = 2**20
_BEGAN_MS = 1_795_000_000_000
# Seconds of the processor, not on the clock, which other work on the machine makes longer.
_FIRST_LINE = 1.0
_SCRIPT = """
import sys, time
from consumer.cli.main import run_line
code = run_line(sys.argv[2:])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
open(sys.argv[1], "w").write(f"{time.process_time()} {status['VmHWM'].split()[0]}")
sys.exit(code)
"""


def _value(number: int) -> bytes:
    completed = datetime.fromtimestamp((_BEGAN_MS + number) / 1_000, UTC)
    chunks = [f"d-{number}_chunk_{chunk}" for chunk in range(5)]
    told = result(
        number,
        document_id=f"d-{number}",
        status="failed" if number % 1_000 == 0 else "succeeded",
        total_chunks=5,
        successful_uploads=5,
        uploaded_chunk_ids=chunks,
        completed_at=completed.isoformat(),
        errors=["chunk c: refused"] if number % 1_000 == 0 else [],
    )
    return orjson.dumps(told)


async def fill(stage: Stage) -> None:
    """100,000 results over all partitions, a millisecond apart; one of them a second time."""
    topic = stage.settings.kafka.results_topic
    options = stage.connection.client_options()
    async with AIOKafkaProducer(**options, enable_idempotence=True) as producer:
        partitions = len(await producer.partitions_for(topic))
        for partition in range(partitions):
            numbers = [*range(partition, COUNT, partitions)]
            if partition == (COUNT - 1) % partitions:
                numbers.insert(-1, COUNT - 1)
            await _fill_partition(producer, topic, partition, numbers)


async def _fill_partition(
    producer: AIOKafkaProducer, topic: str, partition: int, numbers: list[int]
) -> None:
    batch = producer.create_batch()
    for number in numbers:
        given = {"key": b"k", "value": _value(number), "timestamp": _BEGAN_MS + number}
        if batch.append(**given) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(**given)
    await (await producer.send_batch(batch, topic, partition=partition))


@dataclass(slots=True)
class Look:
    """A command that is looked at.

    Attributes:
        out: what it has printed so far.
        first_after: seconds of the processor until the first line.
        seconds: of the processor, in all.
        peak: bytes of memory.
    """

    out: bytes = b""
    first_after: float = 0.0
    seconds: float = 0.0
    peak: int = 0
    process: asyncio.subprocess.Process | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lines(self) -> list[str]:
        """Without colours; as they stand on the screen."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.out.decode())
        return [line.rstrip("\r") for line in plain.split("\n") if line.strip()]

    def took(self, pid: int) -> float:
        spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")

    def take(self, data: bytes) -> None:
        assert self.process is not None
        if b"\n" in data and not self.first_after:
            self.first_after = self.took(self.process.pid)
        self.out += data
        self.came.set()


@asynccontextmanager
async def looked_at(
    stage: Stage, programs: Programs, *words: str, terminal: bool
) -> AsyncIterator[Look]:
    """A command that runs; at the block's end it has ended by itself."""
    mine, theirs = os.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    told = programs.folder / "told"
    look = Look()
    look.process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SCRIPT, str(told), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs if terminal else asyncio.subprocess.DEVNULL,
        env=clean_environment(programs.folder, stage.env | {"TERM": "xterm"}),
        cwd=programs.folder,
    )
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read, mine, look))
    try:
        yield look
        await reading
        await look.process.wait()
        seconds, kibibytes = told.read_text().split()
        look.seconds, look.peak = float(seconds), int(kibibytes) * 1024
    finally:
        if look.process.returncode is None:
            look.process.kill()
            await look.process.wait()
        await reading
        os.close(mine)


def _read(descriptor: int, look: Look) -> None:
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:  # a terminal that nobody writes to any more
            return
        if not data:
            return
        look.take(data)


async def test_a_hundred_thousand_results(stage: Stage, programs: Programs) -> None:
    """At a terminal the newest fifty, in a pipe all: at once, and within 100 MB."""
    await stage.unfollow(stage.settings.kafka.results_topic)
    await fill(stage)
    await _the_newest_at_a_terminal(stage, programs)
    await _all_through_a_pipe(stage, programs)
    await _ctrl_c(stage, programs)


async def _the_newest_at_a_terminal(stage: Stage, programs: Programs) -> None:
    async with looked_at(stage, programs, "results", terminal=True) as newest:
        pass
    async with looked_at(stage, programs, "results", "--failed", "-n", "3", terminal=True) as few:
        pass

    for look in (newest, few):
        assert look.first_after < _FIRST_LINE
        assert look.peak < 100 * MIB
        assert max(map(len, look.lines)) <= WIDTH
    shown = "\n".join(newest.lines)
    # The one that came twice is marked; the others are there once, newest first.
    numbers = [int(each) for each in re.findall(r"\bd-(\d+)", shown)]
    assert numbers == [COUNT - 1, COUNT - 1, *range(COUNT - 2, COUNT - 50, -1)]
    assert any("the newest 50; `--limit N` shows more" in line for line in newest.lines[-3:])
    assert re.findall(r"\bd-(\d+)", "\n".join(few.lines)) == ["99000", "98000", "97000"]


async def _all_through_a_pipe(stage: Stage, programs: Programs) -> None:
    async with looked_at(stage, programs, "results", "--json", terminal=False) as every:
        pass
    told = [json.loads(line) for line in every.out.splitlines()]

    assert every.first_after < _FIRST_LINE
    assert every.peak < 100 * MIB
    assert every.seconds < 20
    times = [each["completed_at"] for each in told]
    assert times == sorted(times, reverse=True)
    assert len({each["event_id"] for each in told}) == COUNT
    assert [each["event_id"] for each in told if "repetition" in each] == [told[0]["event_id"]] * 2


async def _ctrl_c(stage: Stage, programs: Programs) -> None:
    """In the middle of a long search: what was found stays, and how to go on is told."""
    words = ("results", "--document", "d-99000")
    async with looked_at(stage, programs, *words, terminal=True) as look:
        await asyncio.wait_for(look.came.wait(), 60)
        assert look.process is not None
        look.process.send_signal(signal.SIGINT)

    assert look.process.returncode == 130
    assert "d-99000" in "\n".join(look.lines)
    assert re.search(
        r"interrupted: 1 result shown, [\d,]+ of 100,001 read, back to",
        look.lines[-2] + look.lines[-1],
    )
