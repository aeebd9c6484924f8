"""The files of ``simulate``: what it stores over restarts, and faults from the start."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consumer.cli.common import CommandFailed, ExitCode
from consumer.cli.simulate import simulate
from consumer.sandbox.simulator import Action, FaultKind, Faults, Rule, Simulator, simulator
from consumer.sandbox.simulator.faults_file import (
    FaultsFileError,
    faults_shown,
    not_normal,
    read_faults,
)
from consumer.sandbox.simulator.state_file import (
    StateFile,
    StateFileError,
    held,
    keep,
    put_back,
)
from tests.unit.sandbox.databases import looking
from tests.unit.sandbox.test_simulator_process import MAIN, call

REPOSITORY = Path(__file__).resolve().parents[3]


def all_of(server: Simulator) -> dict[str, Any]:
    return held(server.state, server.tables, server.api_key)


# -- what is stored --------------------------------------------------------------------------------


@pytest.mark.parametrize("vector_db", ["lancedb", "pgvector"])
async def test_a_restart_holds_what_was_held(tmp_path: Path, vector_db: str) -> None:
    """Workspaces, doubles, files in none, vectors without a row, and half an emoji."""
    file = StateFile(tmp_path / "state.json", vector_db)
    async with looking(vector_db, "docs", "other") as before:
        listed = await before.upload("Whales sing in the sea.", "whales")
        await before.upload("half an emoji \ud83d", "odd", "other")
        await before.change(adds=[listed])
        gone = await before.upload("gone without a trace", "orphan")
        before.server.damage("row-lost", "docs", gone)
        await before.remove(gone)
        file.write(all_of(before.server))
        seen = (await before.found("whales"), await before.rows(), before.server.chunks("other"))
    async with looking(vector_db, "elsewhere") as after:
        kept = file.read()
        assert kept is not None
        put_back(kept, after.server.state, after.server.tables)

        assert (await after.found("whales"), await after.rows()) == seen[:2]
        assert after.server.chunks("other") == seen[2]
        assert after.server.orphans("docs")
        assert "elsewhere" not in after.server.state.workspaces
        again = all_of(after.server)
        assert again == {name: kept[name] for name in again}
        new = await after.upload("New text.", "new")
        assert (await after.cached(new), "new" in await after.found("new text")) == (True, True)
        assert await after.remove(listed) == 200
        assert listed not in await after.rows()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("{", "no state of a simulator: "),
        ('{"anythingllm-simulator": 9}', "no state of a simulator of this version"),
        ("[]", "no state of a simulator of this version"),
    ],
)
def test_a_file_of_others_is_refused(tmp_path: Path, raw: str, says: str) -> None:
    """It is left as it is."""
    path = tmp_path / "state.json"
    path.write_text(raw)
    with pytest.raises(CommandFailed) as failed:
        simulate(state=path)

    assert failed.value.code == ExitCode.WRONG_USAGE
    assert str(failed.value).startswith(f"{path}: {says}")
    assert path.read_text() == raw


async def test_vectors_of_another_database_are_refused(tmp_path: Path) -> None:
    async with simulator(vector_db="pgvector") as server:
        StateFile(tmp_path / "s", "pgvector").write(all_of(server))
    with pytest.raises(StateFileError, match="start with --vector-db pgvector"):
        StateFile(tmp_path / "s", "lancedb").read()


def test_one_simulator_keeps_others_off(tmp_path: Path) -> None:
    """Two would each put away what the other one stored; the next one gets in."""
    path = tmp_path / "state.json"
    with StateFile(path, "lancedb").claimed():
        with pytest.raises(CommandFailed, match="another simulator is at work on it") as failed:
            simulate(state=path)
        assert failed.value.code == ExitCode.FAILED
        assert not path.exists()
    with StateFile(path, "lancedb").claimed():
        pass


async def test_what_is_kept_is_written_once_it_changes(tmp_path: Path) -> None:
    """And not again where nothing did; only its owner can read the key in it."""
    path = tmp_path / "state.json"
    file = StateFile(path, "lancedb")
    async with looking("lancedb") as looker:
        server = looker.server
        wrote = asyncio.Event()

        def document() -> dict[str, Any]:
            asyncio.get_running_loop().call_soon(wrote.set)  # once it is written
            return all_of(server)

        task = asyncio.create_task(keep(file, document, server.touched))
        await looker.upload("kept")
        async with asyncio.timeout(10):
            await wrote.wait()
        written = path.stat()
        await looker.rows()
        file.write(all_of(server))
        task.cancel()

    assert len(json.loads(path.read_text())["files"]) == 1
    assert (path.stat().st_mtime_ns, written.st_mode & 0o777) == (written.st_mtime_ns, 0o600)


def test_where_it_can_t_be_written_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody hears of an address."""
    with pytest.raises(CommandFailed, match=r"can't be kept: .*No such file or directory"):
        simulate(state=tmp_path / "none" / "state.json")

    assert capsys.readouterr().out == ""


@asynccontextmanager
async def simulating(*words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """``simulate`` as a process, with its first two lines."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MAIN, *words), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            lines = [(await process.stdout.readline()).decode().rstrip() for _ in range(2)]
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.slow
async def test_a_process_goes_on_where_the_former_one_ended(tmp_path: Path) -> None:
    """The same key and the same chunks; what the file of faults says is printed, and holds."""
    faults = tmp_path / "faults.ndjson"
    faults.write_text('{"kind": "status", "path": "*/ping", "status": 418, "times": 1}\n')
    words = ["--state", str(tmp_path / "state"), "--seed-faults", str(faults)]
    upload = {"textContent": "Whales.", "metadata": {"title": "t", "docSource": "s"}}
    async with simulating(*words) as (process, lines):
        endpoint, key = lines[0].split(" at ")[1].split(", API key ")
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(endpoint, headers=headers) as session:
            async with session.get("/api/ping") as answer:
                assert answer.status == 418
            await call(session, "POST", "/api/v1/workspace/new", {"name": "docs"})
            body = {**upload, "addToWorkspaces": "docs"}
            await call(session, "POST", "/api/v1/document/raw-text", body)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert lines[1] == "rule 1: status, status 418, path '*/ping', times 1"
    async with (
        simulating(*words) as (_, again),
        aiohttp.ClientSession(again[0].split(" at ")[1].split(",")[0]) as session,
    ):
        _, chunks = await call(session, "GET", "/_sim/chunks/docs")

    assert again[0].endswith(f"API key {key}")
    assert again[1] == "1 workspaces and 1 files from before"
    assert chunks == {"chunks": [["s", "Whales.", 1]]}


# -- faults ----------------------------------------------------------------------------------------


def read(tmp_path: Path, text: str) -> Faults:
    path = tmp_path / "faults.ndjson"
    path.write_text(text)
    faults = Faults()
    read_faults(path, faults)
    return faults


def test_rules_and_switches_in_the_order_of_the_lines(tmp_path: Path) -> None:
    """Comments and blank lines are passed over; a line may hold what GET /_sim/faults answers."""
    faults = read(
        tmp_path,
        '# why\n\n{"kind": "fin"}\n{"latency": 0.5, "rules": [{"kind": "html", "times": 2}]}\n'
        '{"collector": "down"}\n',
    )

    assert [rule.action.kind for rule in faults.rules] == ["fin", "html"]
    assert (faults.latency, faults.collector, faults.rules[1].times) == (0.5, "down", 2)
    again = read(tmp_path, json.dumps(not_normal(faults)))
    assert not_normal(again) == not_normal(faults)
    assert faults_shown(faults) == [
        "fault: collector = 'down'",
        "fault: latency = 0.5",
        "rule 1: fin, path '*'",
        "rule 2: html, path '*', times 2",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"kind": "fin"', "unexpected end of data"),
        ('"fin"', "each line is a JSON object"),
        ('{"kind": "find"}', "kind is 'find'; known are delay, hold,"),
        ('{"kind": "fin", "pth": "x"}', "unknown field 'pth'; known are kind, status,"),
        ('{"kind": "status", "status": "503"}', "status takes int, not '503'"),
        ('{"kind": "status", "status": 5}', "status is 100 at least, not 5"),
        ('{"kind": "fin", "times": true}', "times takes int or null, not True"),
        ('{"kind": "fin", "every": 0}', "every is 1 at least, not 0"),
        ('{"kind": "status", "headers": {"Retry-After": 2}}', "headers takes texts"),
        ('{"colector": "down"}', "unknown switch 'colector'"),
        ('{"rules": {"kind": "fin"}}', "rules is a list of objects"),
        ('{"rules": [{"kind": 3}]}', "kind is 3"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    """By file and number, and with what is known: exit 2, before anything listens."""
    path = tmp_path / "faults.ndjson"
    path.write_text(f'{{"kind": "fin"}}\n# next\n{line}\n')
    with pytest.raises(FaultsFileError, match=re.escape(f"{path}:3: ")) as wrong:
        read_faults(path, Faults())
    with pytest.raises(CommandFailed) as failed:
        simulate(seed_faults=path)

    assert says in str(wrong.value)
    assert (str(failed.value), failed.value.code) == (str(wrong.value), ExitCode.WRONG_USAGE)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="none: No such file or directory"):
        simulate(seed_faults=tmp_path / "none")


def test_the_help_names_everything() -> None:
    """Every kind, field and switch; and its examples are lines of such a file."""
    said = simulate.__doc__ or ""
    words = set(re.findall(r"[\w-]+", said))
    details = {each.name for each in (*fields(Rule), *fields(Action))}
    details -= {"action", "released", "seen", "fired"}

    assert {kind.value for kind in FaultKind} - words == set()
    assert details - words == set()
    assert {each.name for each in fields(Faults)} - {"rules"} - words == set()


@pytest.mark.parametrize("where", ["help", "README"])
def test_the_examples_are_right(tmp_path: Path, where: str) -> None:
    """They can be pasted into a file."""
    if where == "help":
        lines = [line.strip() for line in (simulate.__doc__ or "").splitlines()]
        text = "\n".join(line for line in lines if line.startswith("{") and line.endswith("}"))
    else:
        readme = (REPOSITORY / "README.md").read_text()
        (text,) = re.findall(r"^```ndjson\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    faults = read(tmp_path, text)

    assert len(faults.rules) >= 3
    assert len(not_normal(faults)) > 1
    assert len({rule.action.kind for rule in faults.rules}) >= 2
