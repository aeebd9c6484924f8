"""``status``: what running services do, as somebody at a terminal sees it."""

from __future__ import annotations

import json
import os
import pty
import re
import threading
from dataclasses import replace

import pytest

from consumer.admin.asking import StatusAnswer
from consumer.admin.status import NO_PACE, WAITS, Status, TotalsStatus
from consumer.cli.status import _draw
from consumer.cli.status_shown import fitting_lines, show, span
from consumer.pipeline.documents_in_work import WaitsFor
from tests.commands import Commands
from tests.unit.admin.sample_status import sample_status
from tests.unit.admin.test_asking import saying, served

NOTHING = TotalsStatus(0, 0, 0, 0, 0, 0.0)


def shown(capsys: pytest.CaptureFixture[str], *statuses: Status) -> str:
    show([StatusAnswer(f"host-{n}:8080", each) for n, each in enumerate(statuses, 1)])
    return capsys.readouterr().out


def figure(text: str, name: str) -> str:
    (line,) = re.findall(rf"^{name} +(.+)$", text, re.MULTILINE)
    return str(line)


async def test_everything_that_the_page_shows(commands: Commands) -> None:
    """Lag, pace, when it is done, gates, what waits and why, what is in work, dead letters."""
    async with served() as address:
        ended = await commands.run("status", address, settings={})

    assert (ended.code, ended.err) == (0, "")
    assert ended.lines[0].startswith(f"{address}: degraded; group anythingllm-consumer, ")
    assert ended.lines[1] == (
        "  worry: workspace lanterns is paused: lantern-care: dimension 384, not 768"
    )
    assert figure(ended.out, "lag") == (
        "5,002 records in 4 partitions; done in about 33 min at this rate"
    )
    assert figure(ended.out, "in flight") == (
        "32 of 32 places, 12 aside; the oldest unsettled since 5 min"
    )
    assert figure(ended.out, "rate") == (
        "2.50 documents and 24.0 uploads a second, 0.10 a second of them failed, in the last 60 s"
    )
    assert figure(ended.out, "AnythingLLM") == "breaker closed; fuse whole; 1 workspace paused"
    assert "12\tits workspace, which does not work\tlanterns\tin 27 s" in ended.lines
    assert "lanterns\tlantern-care: dimension 384, not 768\t12\tin 27 s" in ended.lines
    assert "documents.processed-3\t1,261\t8\t5 min\t1" in ended.lines
    assert any("upload 75 of 120, 1 failed, waits for its next round" in e for e in ended.lines)
    assert any(line.startswith("2\trejected 422\tlantern-care: the te") for line in ended.lines)


async def test_for_scripts_it_is_the_json_of_the_page(commands: Commands) -> None:
    """A line a service; one that does not answer has its line as well."""
    async with served() as address, saying(b"") as other:
        ended = await commands.run("status", "--json", address, other, settings={})

    first, second = map(json.loads, ended.lines)
    assert (first["address"], first["version"], first["pace"]["documents"]) == (address, 1, 2.5)
    assert second.keys() == {"address", "error"}
    assert ended.code == 1


async def test_where_no_service_answers_it_says_how_to_name_another(commands: Commands) -> None:
    """The address that was asked, where it comes from, and what to type."""
    async with saying(b"") as address:
        pass
    settings = {"ADMIN_PORT": address.rpartition(":")[2]}
    ended = await commands.run("status", settings=settings)

    assert ended.code == 1
    assert ended.out == f"{address}: no status: nobody listens there (connection refused)\n"
    assert f"ADMIN_HOST and ADMIN_PORT ({address})" in ended.err
    assert "status HOST:PORT" in ended.err


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (["ftp://x"], {}, "HOST:PORT"),
        ([], {"ADMIN_PORT": "0"}, "`admin.listening` in its log says which"),
        (["host"], {"ADMIN_PORT": "0"}, "`admin.listening` in its log says which"),
        (["--watch", "--every", "0.1"], {}, "1 second or more"),
        (["--watch", "--every", "nan"], {}, "1 second or more"),
        (["--every", "5"], {}, "--every is for --watch"),
        (["host:port"], {}, "with a port of 0 to 65535"),
    ],
)
def test_wrong_usage(
    commands: Commands, words: list[str], settings: dict[str, str], said: str
) -> None:
    """Before anything is asked."""
    ended = commands.run_here("status", *words, settings=settings)

    assert ended.code == 2
    assert said in ended.err


def test_several_members_and_their_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """What all of them do together; each row says whose it is."""
    other = replace(sample_status(), state="ready", worries=())
    text = shown(capsys, sample_status(), other)

    assert figure(text, "lag").startswith("10,004 records in 8 partitions; done in about 33 min")
    assert figure(text, "rate").startswith("5.00 documents and 48.0 uploads")
    assert "host-2:8080\tready\t5,002\t32\t2.50\t12\t5 min\t3" in text
    assert "2\tits next round\tharbours\t-\thost-1:8080" in text
    assert len(re.findall(r"^AnythingLLM +host-\d:8080: breaker", text, re.MULTILINE)) == 2


def test_an_open_breaker_says_why_and_when_it_is_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And which of several servers it is."""
    (server,) = sample_status().servers
    breaker = replace(server.breaker, state="open", trial_in=12.0, last_error="refused", rest=3.0)
    fuse = replace(server.fuse, blown=True, trial_in=0.0)
    down = replace(server, name="a", breaker=breaker, fuse=fuse, paused=0, workspaces=())

    text = shown(capsys, replace(sample_status(), servers=(down,)))
    assert figure(text, "AnythingLLM") == (
        "a: breaker open, next trial in 12 s: refused; it asked for a rest, over in 3.0 s;"
        " fuse blown, next trial now"
    )


@pytest.mark.parametrize(
    ("changes", "lag"),
    [
        ({"totals": NOTHING}, "no partition is assigned"),
        ({"totals": replace(NOTHING, partitions=1)}, "0 records in 1 partition"),
        ({"totals": replace(NOTHING, partitions=2, lag=None)}, "? records in 2 partitions"),
        ({"pace": NO_PACE}, "5,002 records in 4 partitions; nothing was settled of late, so nobody"
         " can say when they are done"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_not_made_up(
    capsys: pytest.CaptureFixture[str], changes: dict[str, TotalsStatus], lag: str
) -> None:
    """No time is told where none can be told."""
    assert figure(shown(capsys, replace(sample_status(), **changes)), "lag") == lag  # type: ignore[arg-type]


def test_what_publishers_say_takes_over_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids and errors come from others."""
    text = shown(capsys, sample_status(title="x\x1b[2J\n", workspace="\u202ey"))

    assert not {"\x1b", "\u202e"} & set(text)


def test_every_wait_has_its_words() -> None:
    """The page and the command say what documents wait for in the same ones."""
    assert WAITS.keys() == {each.value for each in WaitsFor}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (3.04, "3.0 s"), (42.0, "42 s"), (300.0, "5 min"), (7200.0, "2.0 h"),
     (259_200.0, "3 days")],
)  # fmt: skip
def test_how_long_is_told_as_on_the_page(seconds: float, text: str) -> None:
    """In the unit that says most."""
    assert span(seconds) == text


def test_a_screen_shows_its_first_lines() -> None:
    """What is below would push them out; a long line takes the room that it takes."""
    lines = ["a", "b" * 25, "c", "d"]

    assert fitting_lines(lines, width=10, height=8) == lines
    assert fitting_lines(lines, width=10, height=7)[2:] == [
        "c", "(1 more lines; without --watch all are shown)",
    ]  # fmt: skip


def test_watching_draws_a_screen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns and 24 lines, over what was there, without a flicker."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    reading, writing = pty.openpty()
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.extend(iter(lambda: _read(reading), b"")))
    with os.fdopen(writing, "w") as terminal:
        reader.start()
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout", terminal)
            _draw([StatusAnswer("host-1:8080", sample_status())])
            terminal.flush()
    reader.join(5)
    os.close(reading)

    screen = b"".join(taken).decode()
    assert screen.startswith("\x1b[H")
    assert screen.endswith("\x1b[J")
    assert 10 < screen.count("\n") <= 23
    assert "lag           5,002 records" in screen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # nobody has it open any more
        return b""
