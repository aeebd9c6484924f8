"""Heavy events hold no loop, come out as if decoded here, and end in an explained way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.contract.envelope import values_in, wrapping_of
from consumer.model.outcome import FailureReason
from consumer.pipeline.decode import DecodeLimits, Malformed, decode, is_heavy
from consumer.pipeline.heavy_events import HeavyEvents
from tests.doubles.turns import watched
from tests.tiers import quick_first

pytestmark = pytest.mark.network("kernel")

LIMITS = DecodeLimits()
FIGURE = 0.1  # seconds of processor time that one turn of the loop may take

_HEAD = (
    b'{"id":"d","title":"T","technology":"t","source_url":"u","chunks":[{"id":"c","content":"x"}]'
)


def _filled(begin: bytes, unit: bytes, end: bytes, size: int) -> bytes:
    count = (size - len(begin) - len(end)) // (len(unit) + 1)
    return begin + b",".join([unit] * count) + end


def _chunks(count: int, size: int, **fields: Any) -> bytes:
    chunk = {"content": "é" * (size // 2), **fields}
    chunks = [{"id": f"c{n}", **chunk} for n in range(count)]
    head = {"id": "d", "title": "T", "technology": "t", "source_url": "u"}
    return orjson.dumps(head | {"chunks": chunks})


_DATES = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01", "expires_at": None}
_MANY = _HEAD + b',"processing_metadata":{"a":['
HEAVY: dict[str, Callable[[], bytes]] = {
    "empty lists": lambda: _filled(_MANY, b"[]", b"]}}", LIMITS.max_bytes),
    "numbers, below the bound": lambda: _filled(_MANY, b"0", b"]}}", 1_900_000),
    "lists, below the bound": lambda: _filled(_MANY, b"[[]]", b"]}}", 1_600_000),
    "no JSON number": lambda: _filled(_HEAD + b',"x":NaN,"y":[', b'""', b"]}", 2_900_000),
    "cut short": lambda: _filled(_MANY, b"[]", b"]}", 1_400_000),
    "long numbers": lambda: _filled(_HEAD + b',"x":[', b"9" * 4000, b"]}", LIMITS.max_bytes),
    "as many chunks as may be": lambda: _chunks(20_000, 350),
    "with all fields": lambda: _chunks(20_000, 150, **_DATES, total_chunks=20_000),
    "all of them wrong": lambda: _chunks(20_000, 0, chunk_index=-1),
    "oversized": lambda: _filled(_MANY, b'"x"', b"]}}", 2 * LIMITS.max_bytes),
}


async def _decoded(value: bytes, events: HeavyEvents | None = None) -> object:
    try:
        return await (events or HeavyEvents(LIMITS)).decode(value)
    except Malformed as malformed:
        return malformed.reason, malformed.problems, malformed.readable


@pytest.mark.parametrize("name", quick_first(HEAVY, quick=5))
async def test_a_heavy_event_is_decoded_as_any_other_and_holds_the_loop_for_no_time(
    name: str,
) -> None:
    """Whatever an event of the allowed size holds, a turn of the loop takes less than 0.1 s."""
    value = HEAVY[name]()

    async def read() -> object:
        assert is_heavy(value, LIMITS)
        return await _decoded(value)

    with watched() as turns:
        there = await asyncio.create_task(read())
    assert turns.longest < FIGURE, turns
    assert turns.count > 10
    try:
        here: object = decode(value, LIMITS)
    except Malformed as malformed:
        here = malformed.reason, malformed.problems, malformed.readable
    assert there == here


async def test_the_process_is_told_what_the_headers_say() -> None:
    """Else a large CloudEvent would be no event there."""
    attributes = b'"specversion":"1.0","type":"t","source":"s","time":"2026-11-22T10:00:00Z"'
    value = b"{" + attributes + b',"data":' + _chunks(2_000, 800) + b"}"
    wrapping = wrapping_of((("content-type", b"application/cloudevents+json"),))
    here = decode(value, LIMITS, wrapping)

    assert is_heavy(value, LIMITS)
    assert here.event_time is not None
    assert await HeavyEvents(LIMITS).decode(value, wrapping) == here


@pytest.mark.parametrize(
    "value",
    [
        _filled(_HEAD + b',"x":[', b"[]", b"]}", 14_000),
        _filled(_HEAD + b',"x":NaN,"y":[', b"0", b"]}", 19_000),
        _filled(b'{"chunks":[', b"0", b"]}", 19_000),
        _chunks(200, 5_000),
        _chunks(1, 1_000_000),
    ],
    ids=["lists", "no JSON number", "wrong chunks", "prose", "one text"],
)
async def test_what_is_not_heavy_is_decoded_at_once(value: bytes) -> None:
    """No process is begun for ordinary events, and they hold no loop either."""

    async def read() -> None:
        assert not is_heavy(value, LIMITS)
        try:
            decode(value, LIMITS)
        except Malformed:
            return

    with watched() as turns:
        await asyncio.create_task(read())
    assert turns.longest < FIGURE, turns


async def test_other_tasks_go_on_meanwhile() -> None:
    """What beats does so again and again while one heavy event is decoded."""
    beaten = 0

    async def beat() -> None:
        nonlocal beaten
        while True:
            await asyncio.sleep(0.001)
            beaten += 1

    task = asyncio.create_task(beat())
    await _decoded(HEAVY["with all fields"]())
    task.cancel()
    assert beaten > 20


async def test_an_event_of_too_many_values_is_refused_by_a_bound_that_is_named() -> None:
    """The dead letter says how many there are, how many may be, and which setting that is."""
    value = HEAVY["empty lists"]()
    values = values_in(value)
    with pytest.raises(Malformed) as refused:
        await HeavyEvents(LIMITS).decode(value)
    assert refused.value.reason is FailureReason.OVERSIZED
    assert str(refused.value) == (
        f"the event holds {values:,} JSON values, at most 1,000,000 are allowed"
        " (50 for each of DOCUMENT_MAX_CHUNKS)"
    )


async def test_an_event_whose_process_dies_each_time_is_refused(tmp_path: Path) -> None:
    """A kernel that ends it for its memory would end it for ever."""
    runs = tmp_path / "runs"
    kill = f"import os; open({str(runs)!r}, 'a').write('x'); os.kill(os.getpid(), 9)"
    events = HeavyEvents(LIMITS, program=(sys.executable, "-I", "-c", kill), pause=0.0)
    with pytest.raises(Malformed) as refused:
        await events.decode(_chunks(20_000, 350))
    assert refused.value.reason is FailureReason.OVERSIZED
    assert "give the service more" in str(refused.value)
    assert "DOCUMENT_MAX_BYTES" in str(refused.value)
    assert runs.read_text() == "xxx"


async def test_an_event_whose_process_died_once_is_decoded_by_the_next(tmp_path: Path) -> None:
    """Somebody ended it: the event is as good as before."""
    before = tmp_path / "before"
    path = f"import sys; sys.path[:] = {sys.path!r}"
    program = (
        f"{path}; import os; from pathlib import Path; b = Path({str(before)!r}); first = not"
        " b.exists(); b.touch(); first and os.kill(os.getpid(), 9);"
        " from consumer.pipeline.heavy_process import main; main()"
    )
    events = HeavyEvents(LIMITS, program=(sys.executable, "-I", "-c", program), pause=0.0)
    value = _chunks(20_000, 350)
    assert await events.decode(value) == decode(value, LIMITS)


@pytest.mark.parametrize(
    "program", [("/no/such/python",), (sys.executable, "-c", "import no_such_thing")]
)
async def test_where_no_process_works_it_is_decoded_here(program: tuple[str, ...]) -> None:
    """Slow is better than a dead letter for an event that is well."""
    events = HeavyEvents(LIMITS, program=program)
    value = _chunks(20_000, 350)
    assert await events.decode(value) == decode(value, LIMITS)


@pytest.mark.parametrize("value", [_chunks(20_000, 350), b"{" + b" " * 2**20 + b"}"])
async def test_a_process_that_has_answered_ends_by_itself(tmp_path: Path, value: bytes) -> None:
    """Killed in that moment, asyncio may lose its exit code and warn of an unknown process."""
    ended = tmp_path / "ended"
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from pathlib import Path; import os, time;"
        " from consumer.pipeline.heavy_process import answer;"
        " answer(sys.stdin.buffer, sys.stdout.buffer); sys.stdout.buffer.flush();"
        f" time.sleep(0.2); Path({str(ended)!r}).touch()"
    )
    events = HeavyEvents(LIMITS, program=(sys.executable, "-I", "-c", program))
    with suppress(Malformed):
        await events.decode(value)
    assert ended.exists()


async def test_the_process_ends_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    """Its partition went, or the service stops: nothing is left behind."""
    told = tmp_path / "pid"
    wait = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    events = HeavyEvents(LIMITS, program=(sys.executable, "-I", "-c", wait))
    task = asyncio.create_task(events.decode(_chunks(20_000, 350)))
    while not (told.exists() and told.read_text()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not Path(f"/proc/{told.read_text()}").exists()
