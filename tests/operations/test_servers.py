"""Commands where there are several servers: each says what is where. Kafka is in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.model.marker import decode_marker
from consumer.model.names import ServerName, Slug
from consumer.model.server_marks import Mark, MarkKind, move_mark
from consumer.operations.moving.moving import open_move
from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from consumer.settings import load_settings
from tests.client.support import client_for
from tests.client.support import document as uploadable
from tests.commands import CANARY, Ended
from tests.doubles.kafka_clients import MemoryClients
from tests.operations.auditing import SECOND
from tests.operations.conftest import Operator
from tests.staging import Json, document, texts

pytestmark = pytest.mark.network("kernel")


@pytest.fixture
async def second() -> AsyncIterator[Simulator]:
    """Another server, which has a workspace of its own."""
    async with running_simulator(api_key=CANARY) as simulated:
        async with client_for(simulated, sentinel_pause=0.01) as client:
            await client.upload_document("blog", uploadable("one", id="post"))
        yield simulated


class Servers:
    """An operator with two servers: that of the stage, and another one.

    Args:
        keys: a folder.
    """

    def __init__(self, operator: Operator, second: Simulator, keys: Path) -> None:
        self.operator = operator
        self.first = operator.stage.simulator
        self.second = second
        key = keys / "key"
        key.write_text(operator.stage.env["ANYTHINGLLM_API_KEY"], encoding="utf-8")
        other = keys / "other"
        other.write_text(CANARY, encoding="utf-8")
        self._listed = f"a {self.first.endpoint} {key}, b {second.endpoint} {other}"
        self.only_first = f"a {self.first.endpoint} {key}"

    @property
    def environment(self) -> dict[str, str]:
        """Settings with both servers."""
        return {
            "ANYTHINGLLM_ENDPOINT": "",
            "ANYTHINGLLM_API_KEY": "",
            "ANYTHINGLLM_ENDPOINTS": self._listed,
            "ANYTHINGLLM_ENDPOINTS_TRIAL": "true",
        }

    async def run(self, *words: str, **settings: str) -> Ended:
        """A command, with both servers in its settings."""
        return await self.operator.run(*words, **{**self.environment, **settings})

    @property
    def group(self) -> str:
        """The consumer group."""
        return self.operator.stage.env["KAFKA_GROUP_ID"]

    def mark(self, server: Simulator, mark: Mark) -> None:
        """Have a server keep a mark."""
        server.state.create_workspace(mark.slug(self.group), {})

    def keeps(self, server: Simulator, mark: Mark) -> bool:
        """Whether a server keeps a mark."""
        return mark.slug(self.group) in server.state.workspaces

    async def store_on_both(self) -> None:
        """A workspace with documents of ours on the second server that the first one has, too."""
        async with client_for(self.second, sentinel_pause=0.01) as client:
            await client.upload_document("docs", uploadable("one", id="one"))


@pytest.fixture
def servers(operator: Operator, second: Simulator, tmp_path: Path) -> Servers:
    return Servers(operator, second, tmp_path)


def lines(ended: Ended) -> list[Json]:
    """What a command with ``--json`` says."""
    return [json.loads(line) for line in ended.lines]


async def test_check_looks_at_each_server(servers: Servers) -> None:
    ended = await servers.run("check", "--json")

    assert (ended.code, ended.err) == (0, "")
    subjects = [found["subject"] for found in lines(ended)]
    assert "server a: AnythingLLM" in subjects
    assert "server b: AnythingLLM embedder" in subjects
    assert lines(ended)[-1]["finding"] == "a: docs; b: blog"


async def test_check_names_the_server_that_is_sick(servers: Servers) -> None:
    servers.second.faults.update({"collector": "down"})
    ended = await servers.run("check", "--json")

    wrong = [found["subject"] for found in lines(ended) if not found["ok"]]
    assert wrong == ["server b: AnythingLLM collector"]


async def test_check_names_a_workspace_on_two_servers_and_a_server_that_is_missing(
    servers: Servers,
) -> None:
    await servers.operator.stage.worked(document("one", texts("one", 1)))
    await servers.store_on_both()
    servers.mark(servers.first, Mark(MarkKind.IS, "a", "toka"))
    servers.mark(servers.first, Mark(MarkKind.KNOWS, "c", "tokc"))
    ended = await servers.run("check", "--json")

    missing, both = [found for found in lines(ended) if not found["ok"]]
    assert ended.code == 3
    assert missing["finding"].startswith("c: listed before")
    assert "workspaces forget c" in missing["what_to_do"]
    assert both["finding"] == "workspace docs has no home"
    assert "workspaces move docs" in both["what_to_do"]


async def test_check_names_a_server_that_is_another_one(servers: Servers) -> None:
    servers.mark(servers.first, Mark(MarkKind.IS, "b", "tokb"))
    ended = await servers.run("check", "--json")

    (wrong,) = [found for found in lines(ended) if not found["ok"]]
    assert ended.code == 3
    assert "listed as server a is server b by its own mark" in wrong["what_to_do"]


async def test_workspaces_list_says_which_server_has_each(servers: Servers) -> None:
    both = await servers.run("workspaces", "list", "--json")
    one = await servers.run("workspaces", "list", "--server", "b")
    none = await servers.run("workspaces", "list", "--server", "c")

    assert [(row["server"], row["workspace"]) for row in lines(both)] == [
        ("a", "docs"),
        ("b", "blog"),
    ]
    assert [line.split("\t")[:2] for line in one.lines] == [["server", "workspace"], ["b", "blog"]]
    assert (none.code, none.lines) == (1, [])
    assert "no server c" in none.err


async def test_workspaces_verify_looks_at_all_servers(servers: Servers) -> None:
    every = await servers.run("workspaces", "verify", "--json", **SECOND)
    unclear = await servers.run("workspaces", "verify", "blog")
    shown = await servers.run("workspaces", "verify", "blog", "--server", "b", **SECOND)

    assert [(row["server"], row["workspaces"]) for row in lines(every)] == [("a", 1), ("b", 1)]
    assert "--server where they are: a, b" in unclear.err
    assert shown.lines[0] == "server b:"
    assert shown.lines[1].startswith("1 workspaces, 1 documents")


async def test_where_says_on_which_server_a_document_is(servers: Servers) -> None:
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    asked = await servers.run("where", "one", "--json")
    shown = await servers.run("where", "one")

    assert (asked.code, asked.err) == (0, "")
    assert [(held["server"], held["workspace"]) for held in asked.json["stored"]] == [("a", "docs")]
    assert shown.lines[0].startswith("docs on a: 2 of 2 chunks stored")


async def test_where_tells_what_the_others_have_while_one_is_down(servers: Servers) -> None:
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    await servers.second.stop()
    asked = await servers.run("where", "one", "--json")

    assert [held["server"] for held in asked.json["stored"]] == ["a"]
    (missing,) = asked.json["not_known"]
    assert missing["why"].startswith("server b: ")


async def test_an_audit_looks_at_all_servers(servers: Servers) -> None:
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    ended = await servers.run("audit", "--workspace", "docs", **SECOND)

    assert ended.code == 0
    assert any("server a has docs" in line for line in (*ended.lines, ended.err))


async def test_an_audit_says_that_a_workspace_is_on_two_servers(servers: Servers) -> None:
    """It reads both: what the second one has of the document is newer than its event."""
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    await servers.store_on_both()
    ended = await servers.run("audit", "--workspace", "docs", **SECOND)

    assert any("newer" in line and "docs" in line for line in ended.lines)
    assert "workspace docs is on several servers: a, b" in ended.err


async def test_a_workspace_is_rebuilt_on_the_server_that_has_it(servers: Servers) -> None:
    """Said, and refused where two have it: nobody knows which of them is meant."""
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)))
    words = ("workspaces", "rebuild", "docs", "--delete-workspace", "--json")
    planned = await servers.run(*words, **SECOND)
    await servers.store_on_both()
    refused = await servers.run(*words, "--yes", **SECOND)

    assert (planned.code, planned.json["documents"]) == (3, 1)
    assert [why for why in planned.json["refused"] if "documents of others" not in why] == []
    assert refused.code == 1
    assert "several servers have documents of it (a, b)" in refused.err


# -- move ------------------------------------------------------------------------------------------


def held(server: Simulator, slug: str) -> int:
    """Chunks of ours that a workspace of a server has, and that searches find."""
    if slug not in server.state.workspaces:
        return 0
    return sum(copies for source, _, copies in server.chunks(slug) if decode_marker(source))


async def test_a_move_says_what_it_would_do(servers: Servers) -> None:
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    before = held(servers.first, "docs")
    ended = await servers.run("workspaces", "move", "docs", "--to", "b")

    assert ended.code == 3
    assert ended.lines == [
        "1 of 1 documents would be moved from a to b, 0 would be removed for their tombstones,"
        " 0 would be left"
    ]
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (before, 0)


async def test_a_move_says_before_it_is_done_what_would_stay(servers: Servers) -> None:
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)), document("two", texts("two", 1)))
    async with client_for(servers.first, sentinel_pause=0.01) as client:
        await client.upload_document("docs", uploadable("by hand", id="by-hand"))
    await servers.store_on_both()
    stage.publish(None, key="two")
    shown = await servers.run("workspaces", "move", "docs", "--to", "b")
    asked = await servers.run("workspaces", "move", "docs", "--to", "b", "--json")

    assert (shown.code, asked.code) == (3, 3)
    assert "0 of 3 documents would be moved from a to b, 1 would be removed" in shown.lines[0]
    left = {each["identity"]: each["why"] for each in asked.json["left"]}
    assert "newer than all its events" in left["one"]
    assert "no event of it is left in Kafka" in left["by-hand"]
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (4, 1)


async def test_a_workspace_is_moved_and_the_service_finds_all_of_it_stored(
    servers: Servers,
) -> None:
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)), document("two", texts("two", 3)))
    ended = await servers.run(
        "workspaces", "move", "docs", "--to", "b", "--yes", "--json", **SECOND
    )
    again = await servers.run("workspaces", "move", "docs", "--to", "b", "--yes")
    check = await servers.run("check", "--json")

    assert (ended.code, ended.json["moved"], ended.json["left"]) == (0, 2, [])
    assert ended.json["from"] == ["a"]
    assert (again.code, again.lines) == (
        0,
        ["nothing to move: no other server has documents of ours in it"],
    )
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (0, 5)
    assert check.code == 0
    audit = await servers.run("audit", "--workspace", "docs", **SECOND)
    assert audit.code == 0


@pytest.mark.slow
async def test_a_move_that_ended_in_the_middle_goes_on(servers: Servers) -> None:
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)), document("two", texts("two", 2)))
    rule = servers.second.faults.add("status", status=422, body="{}", contains="two", times=None)
    first = await servers.run(
        "workspaces", "move", "docs", "--to", "b", "--yes", "--json", **SECOND
    )
    stopped = held(servers.first, "docs"), held(servers.second, "docs")
    servers.second.faults.rules.remove(rule)
    second = await servers.run(
        "workspaces", "move", "docs", "--to", "b", "--yes", "--json", **SECOND
    )

    assert (first.code, first.json["moved"]) == (3, 1)
    assert [each["identity"] for each in first.json["left"]] == ["two"]
    assert stopped == (2, 2)
    assert (second.code, second.json["moved"]) == (0, 1)
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (0, 4)


@pytest.mark.slow
async def test_a_workspace_is_marked_until_its_move_has_ended(servers: Servers) -> None:
    """An instance that is started in the middle lets its documents wait."""
    stage, mark = servers.operator.stage, move_mark(Slug("docs"))
    await stage.worked(document("one", texts("one", 2)))
    servers.second.faults.add("status", status=422, body="{}", contains="one", times=1)
    await servers.run("workspaces", "move", "docs", "--to", "b", "--yes", **SECOND)
    check = await servers.run("check", "--json")
    between = [servers.keeps(each, mark) for each in (servers.first, servers.second)]
    ended = await servers.run("workspaces", "move", "docs", "--to", "b", "--yes", **SECOND)
    after = [servers.keeps(each, mark) for each in (servers.first, servers.second)]

    assert between == [True, True]
    assert any("being moved" in str(found["what_to_do"]) for found in lines(check))
    assert (ended.code, after) == (0, [False, False])


async def test_a_move_that_has_moved_all_and_was_stopped_ends(servers: Servers) -> None:
    for each in (servers.first, servers.second):
        servers.mark(each, move_mark(Slug("docs")))
    ended = await servers.run("workspaces", "move", "docs", "--to", "b", "--yes", **SECOND)

    assert ended.code == 0
    assert not servers.keeps(servers.first, move_mark(Slug("docs")))


async def test_a_move_never_puts_an_older_event_in_the_place_of_a_newer_text(
    servers: Servers,
) -> None:
    """The newer event is not in Kafka any more; what is stored of it stays."""
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    await servers.store_on_both()
    ended = await servers.run(
        "workspaces", "move", "docs", "--to", "a", "--yes", "--json", **SECOND
    )

    assert ended.code == 3
    assert "newer than all its events" in ended.json["left"][0]["why"]
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (2, 1)


async def test_a_newer_text_on_the_new_server_is_kept_as_well(servers: Servers) -> None:
    await servers.operator.stage.worked(document("one", texts("one", 2)))
    await servers.store_on_both()
    ended = await servers.run(
        "workspaces", "move", "docs", "--to", "b", "--yes", "--json", **SECOND
    )

    assert (ended.code, ended.json["moved"]) == (3, 0)
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (2, 1)


async def test_an_upload_that_lands_late_is_moved_too(servers: Servers) -> None:
    """The service died with it under way. It may land for the ambiguity time, and no longer."""
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)))
    stage.publish(document("late", ["late"], day=400))
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        if now == 0.0:
            async with client_for(servers.first, sentinel_pause=0.01) as client:
                await client.upload_document("docs", uploadable("late", id="late"))
        now += seconds

    settings = load_settings({**stage.env, **servers.environment})
    kafka = MemoryClients(stage.kafka)
    opened = open_move(
        settings, kafka, Slug("docs"), ServerName("b"), clock=lambda: now, sleep=sleep
    )
    async with opened as moving:
        report = await moving.run(do=True)

    assert now == settings.anythingllm.ambiguity_seconds
    assert (report.moved, report.left) == (2, ())
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (0, 3)


@pytest.mark.slow
async def test_a_move_lists_as_often_for_many_documents_as_for_one(servers: Servers) -> None:
    async def listings() -> int:
        answered = servers.second.journal.of("request.answered", method="GET")
        before = len([each for each in answered if each["path"].endswith("/workspace/docs")])
        await servers.run("workspaces", "move", "docs", "--to", "b", "--yes", **SECOND)
        answered = servers.second.journal.of("request.answered", method="GET")
        after = len([each for each in answered if each["path"].endswith("/workspace/docs")])
        await servers.run("workspaces", "move", "docs", "--to", "a", "--yes", **SECOND)
        return after - before

    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 1)))
    await listings()  # both workspaces are ready afterwards
    few = await listings()
    await stage.worked(*(document(f"d{n}", texts(f"d{n}", 1)) for n in range(6)))
    assert await listings() == few


async def test_what_has_no_event_and_what_is_of_others_stays(servers: Servers) -> None:
    await servers.store_on_both()
    file = next(iter(servers.second.state.files.values()))
    metadata = {**file.metadata, "docSource": "by hand"}
    await servers.second.model.store("theirs", metadata, "text", ["docs"], frozenset())
    ended = await servers.run("workspaces", "move", "docs", "--to", "a", "--yes", **SECOND)

    assert ended.code == 3
    assert "no event of it is left in Kafka" in ended.out
    assert held(servers.second, "docs") == 1
    assert len(servers.second.chunks("docs")) == 2


async def test_a_document_with_a_newer_tombstone_is_only_removed(servers: Servers) -> None:
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)))
    stage.publish(None, key="one")
    ended = await servers.run(
        "workspaces", "move", "docs", "--to", "b", "--yes", "--json", **SECOND
    )

    assert (ended.code, ended.json["moved"], ended.json["removed"]) == (0, 0, 1)
    assert (held(servers.first, "docs"), held(servers.second, "docs")) == (0, 0)


@pytest.mark.parametrize(
    ("to", "settings", "words"),
    [
        ("c", {}, "lists no server c"),
        ("b", {"ANYTHINGLLM_PINS": "docs=a"}, "ANYTHINGLLM_PINS keeps it on server a"),
    ],
)
async def test_a_move_is_refused_where_it_can_t_last(
    servers: Servers, to: str, settings: dict[str, str], words: str
) -> None:
    ended = await servers.run("workspaces", "move", "docs", "--to", to, "--yes", **settings)
    assert ended.code == 1
    assert words in ended.err


async def test_a_move_is_refused_beside_a_running_service(servers: Servers) -> None:
    stage = servers.operator.stage
    await stage.worked(document("one", texts("one", 2)))
    stage.kafka.join(stage.env["KAFKA_GROUP_ID"], "the-service")
    ended = await servers.run("workspaces", "move", "docs", "--to", "b", "--yes")

    assert ended.code == 1
    assert "stop all instances of the service" in ended.err
    assert held(servers.second, "docs") == 0


# -- forget ----------------------------------------------------------------------------------------


async def test_a_server_s_name_is_given_up(servers: Servers) -> None:
    servers.mark(servers.first, Mark(MarkKind.IS, "a", "toka"))
    servers.mark(servers.first, Mark(MarkKind.KNOWS, "b", "tokb"))
    without = {"ANYTHINGLLM_ENDPOINTS": servers.only_first}
    said = await servers.run("workspaces", "forget", "b", **without)
    changed = servers.keeps(servers.first, Mark(MarkKind.WITHOUT, "b"))
    ended = await servers.run("workspaces", "forget", "b", "--yes", **without)
    again = await servers.run("workspaces", "forget", "b", "--yes", "--json", **without)
    check = await servers.run("check", "--json", **without)

    assert (said.code, said.lines, changed) == (3, ["the name b would be given up"], False)
    assert (ended.code, ended.lines) == (0, ["the name b is given up"])
    assert (again.code, again.json) == (0, {"server": "b", "given_up": True})
    assert servers.keeps(servers.first, Mark(MarkKind.WITHOUT, "b"))
    assert check.code == 0


@pytest.mark.parametrize(
    ("name", "is_listed", "words"),
    [("b", True, "leave b out of ANYTHINGLLM_ENDPOINTS"), ("c", False, "knows a server c")],
)
async def test_a_name_that_is_in_use_or_unknown_is_not_given_up(
    servers: Servers, name: str, is_listed: bool, words: str
) -> None:
    without = {} if is_listed else {"ANYTHINGLLM_ENDPOINTS": servers.only_first}
    ended = await servers.run("workspaces", "forget", name, "--yes", **without)
    assert ended.code == 1
    assert words in ended.err


async def test_no_name_is_given_up_beside_a_running_service(servers: Servers) -> None:
    """An instance that lists the server still could make a workspace there."""
    servers.mark(servers.first, Mark(MarkKind.KNOWS, "b", "tokb"))
    servers.operator.stage.kafka.join(servers.group, "the-service")
    ended = await servers.run(
        "workspaces", "forget", "b", "--yes", ANYTHINGLLM_ENDPOINTS=servers.only_first
    )
    assert ended.code == 1
    assert "stop all instances of the service" in ended.err
    assert not servers.keeps(servers.first, Mark(MarkKind.WITHOUT, "b"))


# -- mark ------------------------------------------------------------------------------------------


async def test_a_removed_mark_is_made_again(servers: Servers) -> None:
    own = Mark(MarkKind.IS, "b", "tokb")
    servers.mark(servers.first, Mark(MarkKind.IS, "a", "toka"))
    servers.mark(servers.first, own.as_known())
    servers.mark(servers.second, Mark(MarkKind.KNOWS, "a", "toka"))
    check = await servers.run("check", "--json")
    said = await servers.run("workspaces", "mark", "b")
    changed = servers.keeps(servers.second, own)
    ended = await servers.run("workspaces", "mark", "b", "--yes", "--json")
    again = await servers.run("workspaces", "mark", "b", "--yes")
    after = await servers.run("check", "--json")

    told = next(found["what_to_do"] for found in lines(check) if not found["ok"])
    assert own.slug(servers.group) in told
    assert "workspaces mark b --yes" in told
    assert (said.code, changed) == (3, False)
    assert said.lines == [
        f"server b: the empty workspace {own.slug(servers.group)} would be made",
        "it has 1 workspaces; with documents of ours: blog",
    ]
    assert (ended.code, ended.json["made"], ended.json["ours"]) == (0, True, ["blog"])
    assert servers.keeps(servers.second, own)
    assert again.code == 1
    assert "it has a mark of what it is" in again.err
    assert after.code == 0


async def test_a_mark_of_a_server_that_may_have_lost_all_is_warned_of(servers: Servers) -> None:
    servers.mark(servers.first, Mark(MarkKind.IS, "a", "toka"))
    servers.mark(servers.first, Mark(MarkKind.KNOWS, "b", "tokb"))
    servers.second.state.workspaces.clear()
    said = await servers.run("workspaces", "mark", "b")

    assert said.lines[1] == "it has 0 workspaces; with documents of ours: none"
    assert "it may be another server, or have lost what it had" in said.err


@pytest.mark.parametrize(
    ("name", "words"), [("c", "lists no server c"), ("b", "no other server knows it")]
)
async def test_no_mark_is_made_that_nobody_knows(servers: Servers, name: str, words: str) -> None:
    servers.mark(servers.first, Mark(MarkKind.IS, "a", "toka"))
    ended = await servers.run("workspaces", "mark", name, "--yes")
    assert ended.code == 1
    assert words in ended.err


async def test_no_mark_is_made_where_the_others_know_two(servers: Servers) -> None:
    for token in ("tokb", "tokc"):
        servers.mark(servers.first, Mark(MarkKind.KNOWS, "b", token))
    ended = await servers.run("workspaces", "mark", "b", "--yes")
    assert ended.code == 1
    assert "server b lacks the mark of what it is, and the others know it" in ended.err
