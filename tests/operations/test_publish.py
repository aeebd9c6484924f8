"""``publish`` on a Kafka in memory: deletions, waiting for results, what is told at the end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from consumer.model.record import Coordinates
from consumer.operations.results.awaiting import AwaitedResults
from tests.operations.conftest import Operator
from tests.staging import Json, document, header, result

DOCUMENTS = [document("a", ["x"]), document("b", ["y"], trace_id="order 7")]


def file_of(operator: Operator, *events: Json) -> str:
    path = Path(operator.commands.folder) / "events.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


# -- the summary -----------------------------------------------------------------------------------


async def test_the_end_says_where_it_went_and_what_to_do_next(operator: Operator) -> None:
    """Topic, trace ids as results will have them, and a command that shows those."""
    stage = operator.stage
    shown = await operator.run("publish", file_of(operator, *DOCUMENTS))
    told = await operator.run("publish", "--json", file_of(operator, document("c", ["z"])))
    stage.start()
    await stage.settled()
    by_trace = {each["trace_id"]: each["document_id"] for each in stage.results}

    lines = shown.out.splitlines()
    assert lines[:2] == ["2 valid, 0 invalid, 2 published", f"topic {stage.documents}"]
    traces = dict(line.removeprefix("trace ").split(" ") for line in lines[2:])
    assert traces.items() <= by_trace.items()
    assert sorted(traces.values()) == ["a", "b"]
    assert re.fullmatch(
        r"next: `results --since 2\S+Z` shows what became of them; with --wait .*\n", shown.err
    )
    assert (told.err, told.json["topic"]) == ("", stage.documents)
    (event,) = told.json["events"]
    assert (event["name"], by_trace[event["trace_id"]]) == ("c", "c")


async def test_of_many_only_some_are_named(operator: Operator) -> None:
    """Five for people and twenty for programs; the rest is counted."""
    path = file_of(operator, *(document(f"d-{n}", ["x"]) for n in range(25)))
    shown = await operator.run("publish", path)
    told = await operator.run("publish", "--json", path)

    assert shown.out.count("trace ") == 5
    assert shown.out.endswith("and 20 more\n")
    assert len(told.json["events"]) == 20


async def test_ctrl_c_says_how_much_was_published(operator: Operator) -> None:
    """What was acknowledged; exit 130."""
    path = file_of(operator, *(document(f"d-{n}", ["x"]) for n in range(200)))
    operator.next_process().line.interrupt_at(100, "publishing to")
    ended = await operator.run("publish", path)

    assert (ended.code, ended.out) == (130, "")
    assert ended.err == (
        "interrupted: 64 of 200 events were published before that, a few more may be; "
        "publishing all of them again is safe\n"
    )


async def test_a_kafka_that_goes_away_says_how_much_was_published(operator: Operator) -> None:
    """Exit 1, and that it may be done again."""
    path = file_of(operator, *(document(f"d-{n}", ["x"]) for n in range(200)))
    operator.next_process().line.break_at(100, "publishing to")
    ended = await operator.run("publish", path)

    assert (ended.code, ended.out) == (1, "")
    assert "64 of 200 events were published before that" in ended.err


# -- waiting ---------------------------------------------------------------------------------------


async def test_waiting_ends_with_the_last_result(operator: Operator) -> None:
    """Exit 0 when everything is stored, or something newer is."""
    operator.stage.start()
    newer = await operator.run("publish", "--wait", file_of(operator, document("a", ["n"], day=2)))
    both = await operator.run("publish", "--wait", "--json", file_of(operator, *DOCUMENTS))

    assert (newer.code, newer.err) == (0, "")
    assert newer.out.endswith("\nresults: 1 succeeded\n")
    assert (both.code, both.err) == (0, "")
    assert both.json["results"] == {"succeeded": 1, "superseded": 1}
    assert (both.json["waiting"], both.json["unfinished"]) == (0, [])


async def test_waiting_tells_what_is_not_stored(operator: Operator) -> None:
    """Exit 3, with the reason and the next step."""
    operator.stage.start(DOCUMENT_MAX_CHUNKS="1")
    path = file_of(operator, document("good", ["x"]), document("large", ["x", "y"]))
    shown = await operator.run("publish", "--wait", path)
    told = await operator.run("publish", "--wait", "--json", path)

    assert (shown.code, told.code) == (3, 3)
    assert "results: 1 invalid, 1 succeeded\n" in shown.out
    assert "large: invalid: " in shown.err
    assert re.search(r"^next: `dlq list --since 2\S+Z` shows why", shown.err, re.MULTILINE)
    (unfinished,) = told.json["unfinished"]
    assert (unfinished["document_id"], unfinished["reason"]) == ("large", "oversized")


async def test_waiting_is_given_up_in_time(operator: Operator) -> None:
    """Nobody runs the service: exit 1, and what to look at. Results of others do not count."""
    waited = ("publish", "--wait", "--timeout", "0.2")
    shown = await operator.run(*waited, file_of(operator, *DOCUMENTS))
    told = await operator.run(*waited, "--json", file_of(operator, *DOCUMENTS))
    wrong = await operator.run("publish", "--timeout", "3", file_of(operator, *DOCUMENTS))

    assert (shown.code, told.code, wrong.code) == (1, 1, 2)
    assert "results: none\n" in shown.out
    assert "without a result after 0.2 s: 2\n" in shown.err
    assert "`check` says whether the service can work" in shown.err
    assert told.json["waiting"] == 2


async def test_ctrl_c_while_waiting_says_what_has_come(operator: Operator) -> None:
    """The events are published all the same."""
    clients = operator.next_process()
    publish = operator.run("publish", "--wait", file_of(operator, *DOCUMENTS))
    # Once before the first event is published, and once where the waiting begins.
    clients.line.interrupt_at(2, "looking at results")
    ended = await publish

    assert ended.code == 130
    assert re.fullmatch(
        r"interrupted: 2 of 2 events are published, 0 have a result; "
        r"`results --since 2\S+Z` shows the others\n",
        ended.err,
    )


# -- deletions -------------------------------------------------------------------------------------


async def test_documents_are_deleted_by_their_ids(operator: Operator) -> None:
    """With the number of chunks that went; an id that nobody has is told."""
    stage = operator.stage
    await stage.worked(document("a", ["x", "y"]), document("b", ["z"]), document("kept", ["k"]))
    stage.start()
    ended = await operator.run("publish", "--delete", "--wait", "a", "b", "misspelt", "a")

    assert ended.code == 0
    assert "3 valid, 0 invalid, 3 published\n" in ended.out
    assert ended.out.endswith("results: 3 deleted; 3 chunks removed\n")
    assert ended.err == "misspelt: deleted, and nothing of it was stored\n"
    assert stage.stored() == {"kept": ["k"]}


async def test_a_document_is_deleted_from_one_workspace(operator: Operator) -> None:
    """As the header of its tombstone says; what is no slug is refused first."""
    stage = operator.stage
    ended = await operator.run("publish", "--delete", "a", "--workspace", "docs", "--json")
    (tombstone,) = stage.everything(stage.documents)
    wrong = [
        await operator.run("publish", "--delete", "a", "--workspace", slug)
        for slug in ("Not a slug", "a--b")
    ]
    refused = await operator.run(
        "publish", "--delete", "a", "--workspace", "docs", ROUTING_ALLOWED_WORKSPACES="other"
    )

    assert (ended.code, ended.json["published"]) == (0, 1)
    assert (tombstone.key, tombstone.value) == (b"a", None)
    assert header(tombstone, "workspace") == "docs"
    assert ([each.code for each in wrong], refused.code) == ([2, 2], 3)
    assert all("is no workspace slug" in each.err for each in wrong)
    assert "slug of an allowed workspace" in refused.err
    assert len(stage.everything(stage.documents)) == 1


@pytest.mark.parametrize(
    ("template", "words", "keys"),
    [
        ("page:{id}", ["a"], ["page:a"]),
        ("{source_url}", ["a"], ["https://docs.example/a", "https://old.example/a"]),
        ("{source_url}", ["https://old.example/a"], ["https://old.example/a"]),
        ("{source_url}", ["--identity", "key", "other"], ["key", "other"]),
        ("{id}", ["-"], ["one", "two words"]),
    ],
)
async def test_an_id_becomes_the_identity(
    operator: Operator, template: str, words: list[str], keys: list[str]
) -> None:
    """Made of it where that can be, else as results tell; or it is one already."""
    stage = operator.stage
    for number, site in enumerate(("docs", "old")):
        told = result(number, document_id="a", identity=f"https://{site}.example/a")
        stage.publish(told, key="k", topic=stage.settings.kafka.results_topic)
    ended = await operator.commands.run(
        "publish", "--delete", *words,
        settings={**stage.env, "DOCUMENT_IDENTITY": template}, stdin=b"one\n\ntwo words\n",
    )  # fmt: skip

    assert ended.code == 0
    published = [(each.key or b"").decode() for each in stage.as_they_came(stage.documents)]
    assert sorted(published) == keys


async def test_a_dry_run_shows_what_would_be_deleted(operator: Operator) -> None:
    """And publishes nothing; words that do not belong together are refused."""
    shown = await operator.run("publish", "--delete", "--dry-run", "a", "b")
    unknown = await operator.run("publish", "--delete", "a", DOCUMENT_IDENTITY="{source_url}")
    wrong = [
        await operator.run("publish", "a", "--workspace", "docs"),
        await operator.run("publish", "a", "--identity"),
        await operator.run("publish", "a", "--delete", "--envelope", "connect"),
        await operator.run("publish", "--delete", " "),
    ]

    assert shown.code == 0
    assert shown.out == (
        "would delete a from every workspace it is in\n"
        "would delete b from every workspace it is in\n"
        "2 valid, 0 invalid, 0 published\n"
    )
    assert unknown.code == 3
    assert "no result tells of: a\nDOCUMENT_IDENTITY is {source_url}" in unknown.err
    assert [each.code for each in wrong] == [2] * 4
    assert operator.stage.everything(operator.stage.documents) == []


async def test_events_whose_place_kafka_did_not_tell_are_not_said_to_be_stored(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs are results that nobody can know: a script must not go on as if all were well."""
    place = AwaitedResults.add

    def untold(awaited: AwaitedResults, at: Coordinates) -> None:
        place(awaited, Coordinates(at.topic, at.partition, -1))

    monkeypatch.setattr(AwaitedResults, "add", untold)
    ended = await operator.run("publish", "--wait", file_of(operator, *DOCUMENTS))

    assert ended.code == 1
    assert "2 not waited for, Kafka did not tell where they lie: `results" in " ".join(
        ended.err.split()
    )
