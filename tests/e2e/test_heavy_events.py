"""Events that take seconds to read, at half a processor: nobody loses a partition over them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.crew import publishing
from tests.e2e.support import Json, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

_PERIOD = 0.1  # seconds, as in a container
_ENDED = {"assignment.revoked", "assignment.expired", "assignment.lost", "document.dropped"}


def _family(pid: int) -> list[int]:
    """A process and all that it has begun."""
    with suppress(OSError):
        begun = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(each for child in begun for each in _family(int(child)))]
    return []


@contextmanager
def half_a_processor(pid: int) -> Iterator[None]:
    """Let a process and its children run for half of the time, as a container's limit does."""
    over = threading.Event()

    def send(number: signal.Signals) -> None:
        for each in _family(pid):
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def throttle() -> None:
        while not over.wait(_PERIOD / 2):
            send(signal.SIGSTOP)
            over.wait(_PERIOD / 2)
            send(signal.SIGCONT)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        send(signal.SIGCONT)


def heavy(number: int) -> Json:
    """An event of one short text and about 8 MiB of tiny values, which nobody uses."""
    id = f"heavy_{number}"
    values: list[object] = (
        [[]] * 2_000_000 if number % 3 == 2 else [["value"], 0.25] * (200_000 + number)
    )
    return {
        "id": id,
        "title": f"The title of {id}",
        "source_url": f"https://docs.example/{id}",
        "technology": "lanterns",
        "chunks": [{"id": f"{id}_0", "content": f"The text of {id}."}],
        "processing_metadata": {"values": values},
    }


def innocent(number: int) -> Json:
    return {**heavy(0), "id": f"innocent_{number}", "processing_metadata": None}


@pytest.mark.parametrize(("count", "session"), [(9, "45"), (3, "6")])
async def test_heavy_events_at_half_a_processor_cost_no_partition(
    stage: Stage, count: int, session: str
) -> None:
    """They are answered, those of too many values by a dead letter, and so is all behind them."""
    service = await stage.run(KAFKA_SESSION_TIMEOUT_SECONDS=session)
    await service.until_ready()
    refused = [number for number in range(count) if number % 3 == 2]
    async with publishing(stage) as publish:
        with half_a_processor(service.pid):
            await publish([(f"heavy_{number}", heavy(number)) for number in range(count)])
            await publish([(f"innocent_{number}", innocent(number)) for number in range(20)])
            answered = count - len(refused) + 20
            results = await stage.until_results(answered, seconds=120)
            await stage.until_committed()

    assert {result.status for result in results} == {"succeeded"}
    letters = [each for each in service.logged("document.settled") if each["dead_letter"]]
    assert [letter["dead_letter"] for letter in letters] == ["oversized"] * len(refused)
    assert not {line["event"] for line in service.logged()} & _ENDED
    assert len(service.logged("assignment.received")) == 1
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
