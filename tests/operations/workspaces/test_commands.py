"""``workspaces list | verify | repair`` as an operator runs them: exit codes and output."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.operations.workspaces import verify
from consumer.sandbox.simulator import Damage, Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from tests.client.support import client_for, document, texts_of, unused_port
from tests.commands import CANARY, Commands, Ended
from tests.e2e.support import Json, Programs, until

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
pytestmark = pytest.mark.network("kernel")

SETTINGS = {
    "ANYTHINGLLM_API_KEY": CANARY,
    "ANYTHINGLLM_AMBIGUITY_SECONDS": "1",
    "UPLOAD_TIMEOUT_SECONDS": "1",
}
COUNTS = {"workspace", "name", "documents", "chunks", "foreign_documents", "sentinels"}
FINDING = {
    "kind", "note", "workspace", "document_id", "chunk_ids", "location", "keeps", "finding",
    "remedy", "what_to_do",
}  # fmt: skip
TOTALS = {
    "workspaces", "documents", "chunks", "foreign_documents", "chunks_too_young", "found", "notes",
}  # fmt: skip


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks commands in this process pause for a moment only."""
    monkeypatch.setattr(verify, "PAUSE", 0.01)


@pytest.fixture
async def server(brief: None) -> AsyncIterator[Simulator]:
    """Two workspaces with a document each, long ago."""
    async with running_simulator(api_key=CANARY) as simulated:
        async with client_for(simulated, sentinel_pause=0.01) as client:
            for slug in ("docs", "other"):
                await client.get_or_create_workspace(slug, name=slug.title())
                uploaded = document("one", "two", id=slug, url=f"https://example.com/{slug}")
                await client.upload_document(slug, uploaded)
        for slug in ("docs", "other"):
            simulated.damage(Damage.AGED, slug, seconds=1_000)
        yield simulated


async def run(
    programs: Commands | Programs, server: Simulator, *words: str, **settings: str
) -> Ended:
    """A `workspaces` command against that server; further settings win."""
    ours = {**SETTINGS, "ANYTHINGLLM_ENDPOINT": server.endpoint, **settings}
    return await programs.run("workspaces", *words, settings=ours)


def read(ended: Ended) -> tuple[list[Json], Json]:
    """The findings and the totals of ``--json``."""
    *findings, totals = [json.loads(line) for line in ended.lines]
    return findings, totals


def double(server: Simulator) -> str:
    """Damage: a file that is listed twice, of which one row has no vectors."""
    workspace = server.state.workspaces["docs"]
    (row, *_) = workspace.rows.values()
    server.state.add_row(workspace, "another", row.file, 1)
    server.damage(Damage.AGED, "docs", seconds=1_000)
    return row.file.location


async def orphan(server: Simulator) -> str:
    """Damage: a file of ours in no workspace."""
    file = next(iter(server.state.files.values()))
    return (await server.model.store("x", dict(file.metadata), file.text, [], ())).location


# -- list and verify -------------------------------------------------------------------------------


async def test_list_counts_every_workspace(commands: Commands, server: Simulator) -> None:
    """One line of JSON a workspace; a table for people; nothing is changed."""
    server.state.create_workspace("Empty one", {})
    listed = await run(commands, server, "list", "--json")
    shown = await run(commands, server, "list")

    lines = [json.loads(line) for line in listed.lines]
    assert (listed.code, shown.code, listed.err, shown.err) == (0, 0, "", "")
    assert all(set(line) == COUNTS for line in lines)
    assert [tuple(line.values()) for line in lines] == [
        ("docs", "Docs", 1, 2, 0, 0),
        ("other", "Other", 1, 2, 0, 0),
        ("empty-one", "Empty one", 0, 0, 0, 0),
    ]
    assert shown.lines[1].split("\t") == ["docs", "Docs", "1", "2", "0", "0"]


async def test_verify_finds_nothing_where_all_is_right(
    commands: Commands, server: Simulator
) -> None:
    """Exit 0, the totals, and no progress bar where nobody looks."""
    shown = await run(commands, server, "verify")
    asked = await run(commands, server, "verify", "docs", "--json")

    assert (shown.code, shown.err) == (0, "")
    assert shown.lines == [
        "2 workspaces, 2 documents, 4 chunks, 0 documents of others: 0 found, 0 notes"
    ]
    assert asked.json == {
        "workspaces": 1, "documents": 1, "chunks": 2, "foreign_documents": 0,
        "chunks_too_young": 0, "found": 0, "notes": 0,
    }  # fmt: skip


async def test_verify_says_how_much_it_could_not_judge_yet(
    commands: Commands, server: Simulator
) -> None:
    """Where all is young it finds nothing, which does not mean that all is right."""
    server.damage(Damage.VECTORS_LOST, "docs")
    young = {"ANYTHINGLLM_AMBIGUITY_SECONDS": "5000"}
    shown = await run(commands, server, "verify", **young)
    asked = await run(commands, server, "verify", "docs", "--json", **young)

    assert (shown.code, asked.json["found"], asked.json["chunks_too_young"]) == (0, 0, 2)
    assert shown.lines == [
        "2 workspaces, 2 documents, 4 chunks, 0 documents of others: 0 found, 0 notes",
        "4 chunks were too young to judge: an upload may still be at work on what is younger than "
        "ANYTHINGLLM_AMBIGUITY_SECONDS (5000)",
    ]


async def test_verify_says_what_it_is_and_what_to_do(commands: Commands, server: Simulator) -> None:
    """Exit 3; each finding is a line of JSON, or a row of the table."""
    location = double(server)
    server.damage(Damage.VECTORS_LOST, "other")
    ended, shown = await asyncio.gather(
        run(commands, server, "verify", "--json"), run(commands, server, "verify")
    )

    findings, totals = read(ended)
    assert (ended.code, shown.code, ended.err) == (3, 3, "")
    assert all(set(each) == FINDING for each in findings)
    assert set(totals) == TOTALS
    assert totals["found"] == 4
    assert sorted(each["kind"] for each in findings) == ["listed-twice"] + ["vectors-gone"] * 3
    assert location in {each["location"] for each in findings}
    assert shown.out.count("`workspaces repair --yes`") == 4
    assert shown.lines[-1].endswith("4 found, 0 notes")


# -- repair ----------------------------------------------------------------------------------------


async def test_repair_changes_nothing_unless_told(commands: Commands, server: Simulator) -> None:
    """Exit 3 with the plan; with --yes exit 0, and the second time there is nothing to do."""
    server.damage(Damage.VECTORS_LOST, "docs")
    left = await orphan(server)
    seen = len(server.journal.since(0))
    plan, planned = await asyncio.gather(
        run(commands, server, "repair"), run(commands, server, "repair", "--json")
    )
    changes = {e["action"] for e in server.journal.since(seen)} - {"request.answered"}
    done = await run(commands, server, "repair", "--yes", "--json")
    again = await run(commands, server, "repair", "--yes")

    assert (plan.code, planned.code, done.code, again.code) == (3, 3, 0, 0)
    assert changes == set()
    assert plan.lines[-1] == "3 to do, 0 done, 3 found in all"
    assert "--yes does it" in plan.err
    assert {each["outcome"] for each in read(planned)[0]} == {"planned"}
    findings, totals = read(done)
    assert {each["outcome"] for each in findings} == {"done"}
    assert (totals["planned"], totals["done"], totals["found"]) == (3, 3, 0)
    assert texts_of(server, "docs") == ["one", "two"]
    assert left not in server.state.files
    assert again.out == "0 to do, 0 done, 0 found afterwards\n"


async def test_what_nobody_can_repair_is_exit_3(commands: Commands, server: Simulator) -> None:
    """It is told, and stays."""
    (file, *_) = [row.file for row in server.state.workspaces["docs"].rows.values()]
    server.damage(Damage.ROW_LOST, "docs", file.location)
    ended = await run(commands, server, "repair", "docs", "--yes", "--json")

    findings, totals = read(ended)
    assert ended.code == 3
    assert [(each["kind"], each["outcome"]) for each in findings] == [
        ("vectors-without-row", "reported")
    ]
    assert (totals["planned"], totals["done"], totals["found"]) == (0, 0, 1)


@pytest.mark.slow
async def test_repair_may_be_interrupted(programs: Programs, server: Simulator) -> None:
    """Ctrl-C while it waits for files to be old enough: exit 130, and they are all there."""
    left = await orphan(server)
    settings = {
        **SETTINGS,
        "ANYTHINGLLM_ENDPOINT": server.endpoint,
        "ANYTHINGLLM_AMBIGUITY_SECONDS": "600",
    }
    process = await programs.start("workspaces", "repair", "--yes", settings=settings)
    await until(lambda: "waiting" in process.err, "the wait")
    process.signal(signal.SIGINT)

    assert await process.ended() == 130
    assert "Traceback" not in process.err
    assert left in server.state.files


async def test_a_forbidden_removal_is_said(commands: Commands, server: Simulator) -> None:
    """Exit 1; what was not done can be done later."""
    await orphan(server)
    server.faults.add("status", status=403, path="*/remove-documents")
    ended = await run(commands, server, "repair", "--yes")

    assert ended.code == 1
    assert "although the API key is accepted" in ended.err
    assert "running it again goes on" in ended.err


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["verify", "repair"])
@pytest.mark.parametrize(
    ("slug", "code", "told"),
    [("Two, tenants", 2, "no workspace slug"), ("missing", 1, "no workspace missing")],
)
async def test_workspaces_that_are_not_there(
    commands: Commands, server: Simulator, command: str, slug: str, code: int, told: str
) -> None:
    """What is no slug is wrong usage; what is one, but not there, is a failure. One line each."""
    ended = await run(commands, server, command, "docs", slug)

    assert ended.code == code
    assert ended.out == ""
    assert told in ended.err
    assert "`workspaces list`" in ended.err
    assert ended.err.count("\n") == 1


async def test_a_server_that_does_not_answer(commands: Commands, server: Simulator) -> None:
    """Down, another key, a web page: exit 1, one line, nothing concluded."""
    down = f"http://127.0.0.1:{unused_port()}"
    refused = await asyncio.gather(
        *(
            run(commands, server, command, ANYTHINGLLM_ENDPOINT=down)
            for command in ("list", "verify", "repair")
        )
    )
    no_key = await run(commands, server, "repair", "--yes", ANYTHINGLLM_API_KEY=CANARY + "x")
    server.faults.add("html")
    page = await run(commands, server, "repair", "--yes")

    for ended, told in (
        *((each, "no connection") for each in refused),
        (no_key, "ANYTHINGLLM_API_KEY"),
        (page, "ANYTHINGLLM_ENDPOINT"),
    ):
        assert (ended.code, ended.out) == (1, "")
        assert told in ended.err
        assert ended.err.count("\n") == 1


@pytest.mark.slow
async def test_the_commands_of_the_readme_run(programs: Programs, server: Simulator) -> None:
    """Pasted one after the other, on a server with something to mend."""
    server.damage(Damage.VECTORS_LOST, "docs")
    lines = re.findall(r"^anythingllm-consumer workspaces (.+)$", README, re.MULTILINE)
    # These need Kafka: tests/operations/test_repack.py, test_rebuild.py.
    lines = [line for line in lines if "--repack" not in line and "rebuild" not in line]
    codes = [(await run(programs, server, *shlex.split(line))).code for line in lines]

    assert [line.split()[0] for line in lines] == ["list", "verify", "repair", "repair"]
    assert codes == [0, 3, 3, 0]
