"""What many and large dead letters cost: measured in processes of their own, on a real Kafka."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record
from tests.commands import clean_environment
from tests.e2e.support import Programs
from tests.integration.service_fixtures import Stage
from tests.staging import document
from tests.terminals import written_to

MIB = 2**20


# Of the letters `invalid` and `unroutable`: these would be refused again.
_BROKEN: dict[int, dict[str, object]] = {2: {"title": 17}, 3: {"technology": "日本語"}}


def _letter(number: int, size: int = 200) -> DeadLetter:
    reasons = [
        FailureReason.REJECTED, FailureReason.EXHAUSTED, FailureReason.INVALID,
        FailureReason.UNROUTABLE, FailureReason.OVERSIZED,
    ]  # fmt: skip
    event = document(f"d-{number}", ["x y z " * (size // 60)] * 10) | _BROKEN.get(number % 5, {})
    place = Coordinates("documents", number % 3, number)
    record = Record(place, 1_790_000_000_000 + number, b"d-%d" % number, orjson.dumps(event))
    messages = [
        f"d-{number}_chunk_3: refused by AnythingLLM (422)",
        f"d-{number}_chunk_3: failed {number} times while others did not",
        "/title: must be a string",
        "no workspace can be made of its technology",
        f"has {number} chunks, at most 20,000 are allowed",
    ]
    cause = Cause(
        reasons[number % 5], messages[number % 5], "upload", "x.Y",
        failed_chunks=(f"d-{number}_chunk_3",),
    )  # fmt: skip
    return DeadLetter(
        record=record,
        origin=Origin(place, record.timestamp_ms),
        cause=cause,
        event_id=f"00000000-0000-5000-8000-{number:012x}",
        trace_id=TraceId("4bf92f3577b34da6a3ce929d0e0e4736"),
        group="group",
        task="task",
        failed_at=datetime(2026, 9, 1, tzinfo=UTC) + timedelta(minutes=5 * number),
        identity=Identity(f"d-{number}"),
        document_id=f"d-{number}",
        workspace=Slug(["docs", "other"][number % 2]),
    )


async def publish_letters(stage: Stage, numbers: Iterable[int], size: int) -> None:
    """Letters with their results."""
    kafka = stage.settings.kafka
    producer = AIOKafkaProducer(
        **stage.connection.client_options(), linger_ms=20, max_batch_size=200_000
    )
    async with producer:
        sent = []
        for number in numbers:
            letter = _letter(number, size)
            result = {
                "event_id": letter.event_id, "status": "failed", "identity": letter.identity,
                "document_id": letter.document_id, "workspace_slug": letter.workspace,
                "source": {"topic": "documents", "partition": number % 3, "offset": number},
                "completed_at": letter.failed_at,
            }  # fmt: skip
            sent.append(
                await producer.send(
                    kafka.dead_letters_topic,
                    key=letter.key,
                    value=letter.value,
                    headers=list(letter.headers),
                )
            )
            sent.append(
                await producer.send(kafka.results_topic, key=letter.key, value=orjson.dumps(result))
            )
        await asyncio.gather(*sent)


async def measured(stage: Stage, programs: Programs, *words: str) -> tuple[str, float, int]:
    """Output, seconds of processor time and peak memory in bytes of a command.

    Not the time on the clock, which other work on the machine makes longer: the command computes
    in one thread and hardly waits.
    """
    script = (
        "import sys, time\n"
        "from consumer.cli.main import run_line\n"
        "code = run_line(sys.argv[1:])\n"
        # Not getrusage's memory: that of who started the process counts in it.
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "peak = status['VmHWM'].split()[0]\n"
        "print(code, time.process_time(), peak, file=sys.stderr)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "dlq", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(programs.folder, stage.env),
        cwd=programs.folder,
    )
    out, err = await process.communicate()
    code, seconds, kibibytes = err.decode().splitlines()[-1].split()
    assert int(code) == 0, err
    return out.decode(), float(seconds), int(kibibytes) * 1024


async def test_ten_thousand_letters_are_counted_at_once(stage: Stage, programs: Programs) -> None:
    """10,000 of 14 kB and five causes, with their results: in 5 s, within 200 MB."""
    await publish_letters(stage, range(10_000), 14_000)
    out, seconds, peak = await measured(stage, programs, "stats", "--json")
    stats = json.loads(out)

    assert stats["letters"] == 10_000
    assert stats["bytes"] > 130_000_000
    assert sorted(stats["reason"].values()) == [2_000] * 5
    assert stats["cause"]["#: refused by AnythingLLM (#)"] == 2_000
    assert len(stats["cause"]) == 5
    assert stats["technology"] == {"docs": 8_000, "日本語": 2_000}
    assert len(stats["day"]) == 35
    assert seconds < 5
    assert peak < 200 * MIB


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command wrote to a terminal of 80 columns.

    Args:
        lines: as they stand there at the end, without colours and what bars have drawn over.
        code: its exit code.
        seconds: of the processor.
        peak: memory in bytes.
    """

    lines: list[str]
    code: int
    seconds: float
    peak: int


def at_a_terminal(stage: Stage, programs: Programs, *words: str) -> Shown:
    """Run a command at a pseudo-terminal of 80 columns and 24 lines."""
    figures = programs.folder / "figures"
    script = (
        "import sys, time\n"
        "from consumer.cli.main import run_line\n"
        "code = int(run_line(sys.argv[2:]))\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "peak = status['VmHWM'].split()[0]\n"
        "open(sys.argv[1], 'w').write(f'{code} {time.process_time()} {peak}')\n"
    )
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(figures), "dlq", *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=programs.folder,
        env=clean_environment(programs.folder, stage.env) | {"TERM": "xterm"},
    )
    os.close(theirs)
    written = written_to(ours)
    assert process.wait(60) == 0
    code, seconds, kibibytes = figures.read_text().split()
    return Shown(_on_paper(written.decode()), int(code), float(seconds), int(kibibytes) * 1024)


def _on_paper(written: str) -> list[str]:
    """The lines that stay: a bar is drawn over and taken away in the end."""
    lines = [line.rsplit("\r", 1)[-1] for line in written.replace("\r\n", "\n").split("\n")]
    plain = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).rstrip() for line in lines]
    return [line for line in plain if line]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_letters_at_a_terminal(stage: Stage, programs: Programs) -> None:
    """Each command says what matters on a page or two, within 80 columns, in seconds; no flood."""
    await publish_letters(stage, range(10_000), 14_000)
    shown = {
        words: await asyncio.to_thread(at_a_terminal, stage, programs, *words.split())
        for words in ("list", "replay", "show d-9999", "runs")
    }
    for words, found in shown.items():
        print(f"dlq {words}: exit {found.code}, {found.seconds:.1f} s, "
              f"{found.peak // MIB} MiB, {len(found.lines)} lines")  # fmt: skip
        print("\n".join(found.lines[:40]))
    piped = [
        await asyncio.to_thread(_to_head, stage, programs, *words.split())
        for words in ("export", "list --json")
    ]

    assert {words: found.code for words, found in shown.items()} == {
        "list": 0, "replay": 3, "show d-9999": 0, "runs": 0,
    }  # fmt: skip
    for words, found in shown.items():
        notes = ("nothing was changed", "not all of it fits")  # the terminal wraps them
        drawn = [line for line in found.lines if not line.startswith(notes)]
        assert max(map(len, drawn), default=0) <= 80, words
        assert len(found.lines) < 260, words
        assert found.peak < 200 * MIB, words
        assert found.seconds < (12 if words == "replay" else 6), words
    plan = "\n".join(shown["replay"].lines)
    assert re.search(r"(?m)^to replay +6,?000$", plan)
    assert re.search(r"(?m)^can't help +4,?000$", plan)
    assert re.search(r"(?m)^.*it keeps to the limits by now +2,?000$", plan)
    assert "its publisher has to mend it" in plan
    assert "give its technology a workspace" in plan
    assert piped == [(1, b""), (1, b"")], "`… | head` ends them in silence"


def _to_head(stage: Stage, programs: Programs, *words: str) -> tuple[int, bytes]:
    """Exit code and standard error of a command whose reader goes after a few bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer", "dlq", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=programs.folder,
        env=clean_environment(programs.folder, stage.env),
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == b"{"
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    return process.returncode, told


@pytest.mark.slow
async def test_large_letters_are_read_one_after_the_other(stage: Stage, programs: Programs) -> None:
    """40 of 7 MiB, as random as text can be: 280 MiB are listed and exported within 200 MB."""
    for number in range(40):
        text = secrets.token_hex(3 * MIB + MIB // 2)
        await stage.publish(
            document(f"d-{number}", [text[:-1] + str(number % 10)]),
            topic=stage.settings.kafka.dead_letters_topic,
        )
    listed, _, peak = await measured(stage, programs, "list", "--json")
    target = programs.folder / "large.ndjson"
    _, _, exporting = await measured(stage, programs, "export", "--output", str(target))

    assert len(listed.splitlines()) == 40
    assert peak < 200 * MIB
    assert exporting < 200 * MIB
    assert target.stat().st_size > 40 * 7 * MIB
