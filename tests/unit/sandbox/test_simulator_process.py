"""The simulator from outside: its control endpoints, and ``simulate`` as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consumer.cli.common import CommandFailed, ExitCode
from consumer.cli.simulate import simulate
from consumer.sandbox.simulator import Simulator

MAIN = """
import typer
from consumer.cli.simulate import simulate
typer.run(simulate)
"""


async def call(session: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    """Status and JSON body."""
    async with session.request(method, path, json=body) as response:
        return response.status, await response.json()


async def test_faults_are_switched_over_http(simulator: Simulator) -> None:
    """Named switches change, others stay; rules tell how often they struck."""
    rule = {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "times": 1}
    async with aiohttp.ClientSession(simulator.endpoint) as session:
        await call(session, "PUT", "/_sim/faults", {"collector": "down"})
        await call(session, "PUT", "/_sim/faults", {"rules": [rule]})
        async with session.get("/api/ping") as response:
            assert response.status == 429
        _, shown = await call(session, "GET", "/_sim/faults")
    assert shown["collector"] == "down"
    assert [each["fired"] for each in shown["rules"]] == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"colector": "down"},
        {"collector": "off"},
        {"embedder_down": "yes"},
        {"embedder_dimension": "wide"},
        {"fetch_failed_every": True},
        {"rules": [{"kind": "nonsense"}]},
        {"rules": [{"kind": "fin", "pth": "x"}]},
        {"rules": "x"},
    ],
    ids=str,
)
async def test_wrong_switches_are_refused_and_change_nothing(
    simulator: Simulator, wrong: dict[str, Any]
) -> None:
    """A misspelt fault must not make a test pass."""
    async with aiohttp.ClientSession(simulator.endpoint) as session:
        _, before = await call(session, "GET", "/_sim/faults")
        status, answer = await call(session, "PUT", "/_sim/faults", {"latency": 9.0, **wrong})
        _, after = await call(session, "GET", "/_sim/faults")
    assert status == 400
    assert answer["error"]
    assert after == before


async def test_state_journal_and_reset_over_http(simulator: Simulator) -> None:
    """A checker elsewhere sees what is stored and what was done, and can start afresh."""
    headers = {"Authorization": f"Bearer {simulator.api_key}"}
    upload = {"textContent": "Whales.", "metadata": {"title": "t", "docSource": "s"}}
    async with aiohttp.ClientSession(simulator.endpoint, headers=headers) as session:
        await call(session, "POST", "/api/v1/workspace/new", {"name": "docs"})
        await call(
            session, "POST", "/api/v1/document/raw-text", {**upload, "addToWorkspaces": "docs"}
        )
        _, state = await call(session, "GET", "/_sim/state")
        _, chunks = await call(session, "GET", "/_sim/chunks/docs")
        _, journal = await call(session, "GET", "/_sim/journal?since=1")
        await call(session, "POST", "/_sim/reset", {"state": True})
        _, emptied = await call(session, "GET", "/_sim/state")
    assert state["files"] == 1
    assert (state["workspaces"]["docs"]["rows"], state["workspaces"]["docs"]["vectors"]) == (1, 1)
    assert chunks == {"chunks": [["s", "Whales.", 1]]}
    assert [entry["action"] for entry in journal["entries"]] == [
        "request.answered",
        "document.stored",
        "document.embedded",
        "request.answered",
    ]
    assert emptied == {"workspaces": {}, "files": 0}
    assert len(simulator.journal) > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_simulate_announces_itself_and_stops_with_zero(
    number: signal.Signals, tmp_path: Path
) -> None:
    """One JSON line says where it listens; a signal ends it properly; the journal is on disk."""
    journal = tmp_path / "journal.ndjson"
    arguments = ["--json", "--api-key", "k", "--journal", str(journal)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            announced = json.loads(await process.stdout.readline())
            headers = {"Authorization": "Bearer k"}
            async with aiohttp.ClientSession(announced["endpoint"], headers=headers) as session:
                answer = await call(session, "GET", "/api/v1/auth")
            process.send_signal(number)
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert announced["api_key"] == "k"
    assert answer == (200, {"authenticated": True})
    assert json.loads(journal.read_text().splitlines()[0])["action"] == "probe.auth"
    assert code == 0


async def test_simulate_takes_a_vector_database() -> None:
    """The choice reaches the server."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MAIN, "--json", "--vector-db", "pgvector"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            announced = json.loads(await process.stdout.readline())
            async with aiohttp.ClientSession(announced["endpoint"]) as session:
                _, metrics = await call(session, "GET", "/api/utils/metrics")
    finally:
        process.kill()
        await process.wait()
    assert metrics["vectorDB"] == "pgvector"


def test_simulate_refuses_an_unknown_vector_database() -> None:
    """Before anything listens, and it says which there are."""
    with pytest.raises(CommandFailed, match="lancedb, pgvector, chroma, milvus") as failed:
        simulate(vector_db="qdrant")
    assert failed.value.code == ExitCode.WRONG_USAGE


async def test_simulate_says_when_the_port_is_taken(simulator: Simulator) -> None:
    """Exit 1 and one line, no stack trace."""
    port = simulator.endpoint.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, "--port", port, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().startswith(
        f"error: can't listen on 127.0.0.1:{port}: the port is in use; "
    )
    assert b"Traceback" not in said
