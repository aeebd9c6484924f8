"""``dlq park | export``: letters put aside, brought back, in files. Kafka is in memory."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from consumer.contract.exported_letter import decode_exported
from consumer.contract.received_letter import letter_of
from consumer.operations.letters.parking import Became, park
from consumer.operations.letters.payloads import records_of
from consumer.operations.letters.reading import read_letters
from consumer.operations.replay.verdict import replay_of
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import Operator
from tests.operations.letters import STEERING, failing, foreign, same

# -- park, and back again --------------------------------------------------------------------------


async def test_park_says_what_it_would_do_and_does_it_once(operator: Operator) -> None:
    """Exit 3 while something is left to do; the copy is the letter, byte for byte."""
    await failing(operator.stage)
    letters = {letter_of(each).reason: each for each in operator.stage.dead_letters}
    parked_topic = operator.stage.settings.kafka.parked_topic
    name = letter_of(letters["invalid"]).event
    planned = await operator.dlq("park", name)
    nothing = operator.stage.everything(parked_topic)
    done = await operator.dlq("park", name, "--yes")
    (copy,) = operator.stage.everything(parked_topic)
    again = await operator.dlq("park", name, "--yes")
    still = operator.stage.everything(parked_topic)

    assert planned.code == 3
    assert "1 to park" in planned.out
    assert "--yes does it" in planned.err
    assert nothing == []
    assert (done.code, again.code) == (0, 0)
    assert "1 parked" in done.out
    assert "it is parked" in again.err
    assert same(copy) == same(letters["invalid"])
    assert still == [copy]
    assert {one["reason"] for one in await operator.listed()} == {
        "rejected", "undecodable", "unroutable"
    }  # fmt: skip
    (listed,) = await operator.listed("--parked")
    assert (listed["event"], listed["standing"]) == (name, "parked")
    assert listed["at"]["topic"] == parked_topic
    assert len(await operator.listed("--all")) == 4


async def test_an_unknown_name_is_told_and_the_others_are_parked(operator: Operator) -> None:
    """Exit 1: a typing error must not look like success."""
    await failing(operator.stage)
    name = letter_of(operator.stage.dead_letters[0]).event
    ended = await operator.dlq("park", name, "9@99", "--yes")

    assert ended.code == 1
    assert "there is no dead letter 9@99" in ended.err
    assert len(await operator.listed("--parked")) == 1


async def test_what_was_parked_and_brought_back_is_resolved(operator: Operator) -> None:
    """Its standing follows: parked, in flight until its result is there, then resolved."""
    stage = operator.stage
    await failing(stage)
    (letter,) = [one for one in map(letter_of, stage.dead_letters) if one.reason == "rejected"]
    assert (await operator.dlq("park", letter.event, "--yes")).code == 0
    (record,) = stage.everything(stage.settings.kafka.parked_topic)
    stage.simulator.faults.clear()
    back = replay_of(letter_of(record), record, "run-1")
    stage.publish(
        back.value,
        key=back.key,
        headers=back.headers,
        partition=back.partition,
        topic=stage.settings.kafka.replay_topic,
    )
    (under_way,) = await operator.listed("--document", "guide", "--all")
    await stage.worked()
    (after,) = await operator.listed("--document", "guide", "--all")
    shown = await operator.dlq("show", letter.event)

    assert under_way["standing"] == "in flight"
    assert [one["status"] for one in under_way["replayed"]] == [None]
    assert (after["standing"], after["last_status"]) == ("resolved", "succeeded")
    assert [one["status"] for one in after["replayed"]] == ["succeeded"]
    assert "run-1" in shown.out
    assert "of the 1 that failed 1 are stored" in shown.out
    assert await operator.listed("--parked") == []


async def test_what_was_parked_by_halves_is_parked_whole_the_second_time(
    operator: Operator,
) -> None:
    """Kafka goes away at whatever moment: it is told, no letter is lost, copies count as one."""
    records = foreign(operator.stage)
    moments = 0
    while True:
        process = operator.next_process()
        process.line.break_at(moments + 1, done=moments % 2 == 0)
        ended = await operator.dlq("park", "--reason", "foreign", "--yes")
        if ended.code == 0:
            break
        moments += 1
        assert ended.code == 1
        assert "error: Kafka: " in ended.err

    aside = operator.stage.everything(operator.stage.settings.kafka.parked_topic)
    assert moments > 8
    assert {repr(same(each)) for each in aside} == {repr(same(each)) for each in records}
    assert await operator.listed() == []


async def test_letters_that_are_gone_meanwhile_are_told(stage: MemoryStage) -> None:
    """Retention, or somebody, takes them between the look and the deed: nothing stands for them."""
    await failing(stage)
    letters = (await read_letters(stage.settings, stage.clients)).letters
    (garbage,) = [each for each in letters if each.reason == "undecodable"]
    stage.empty(stage.settings.kafka.dead_letters_topic)
    records = [found async for found in records_of(stage.clients, letters)]
    became = [each async for each in park(stage.settings, stage.clients, [garbage])]

    assert records == []
    assert became == [(garbage, Became.GONE)]
    assert stage.everything(stage.settings.kafka.parked_topic) == []


# -- foreign letters -------------------------------------------------------------------------------


async def test_letters_of_others_are_listed_shown_parked_and_exported(
    operator: Operator, tmp_path: Path
) -> None:
    """Whatever it is: no header, no key, no value, binary garbage, forged ones of ours."""
    records = foreign(operator.stage)
    target = tmp_path / "letters.ndjson"
    red = next(letter_of(each).event for each in records if each.value == STEERING)
    listed = await operator.listed()
    people = await operator.dlq("list")
    shown = await operator.dlq("show", red, "--payload")
    by_place = await operator.dlq("show", f"{records[0].at.partition}@{records[0].at.offset}")
    exported = await operator.dlq("export", "--output", str(target))
    planned = await operator.dlq("park", "--reason", "foreign")
    parking = await operator.dlq("park", "--reason", "foreign", "--yes", "--json")
    again = await operator.dlq("park", "--reason", "foreign", "--yes")

    assert len(listed) == len(records) == 9
    assert {(one["reason"], one["foreign"]) for one in listed} == {("foreign", True)}
    assert {one["event"] for one in listed} == {letter_of(each).event for each in records}
    assert [ended.code for ended in (people, shown, by_place, exported)] == [0] * 4
    assert "\x1b" not in people.out + people.err + shown.out + shown.err
    assert "--force" in by_place.out
    lines = [decode_exported(line) for line in target.read_bytes().splitlines()]
    assert sorted(lines, key=lambda one: one.at) == sorted(records, key=lambda one: one.at)
    assert (planned.code, parking.code, again.code) == (3, 0, 0)
    assert {json.loads(line)["outcome"] for line in parking.lines} == {"parked"}
    aside = operator.stage.everything(operator.stage.settings.kafka.parked_topic)
    assert sorted(map(repr, map(same, aside))) == sorted(map(repr, map(same, records)))
    assert await operator.listed() == []
    assert len(await operator.listed("--parked")) == 9


# -- export ----------------------------------------------------------------------------------------


async def test_an_export_has_every_byte(operator: Operator, tmp_path: Path) -> None:
    """To a file, packed where its name says so, or to standard output; filters as everywhere."""
    await failing(operator.stage)
    packed = tmp_path / "letters.ndjson.gz"
    to_file = await operator.dlq("export", "--output", str(packed))
    to_stdout = await operator.dlq("export", "--reason", "rejected")
    by_name = await operator.dlq("export", letter_of(operator.stage.dead_letters[0]).event)

    assert (to_file.code, to_stdout.code, to_stdout.err) == (0, 0, "1 dead letters\n")
    records = [decode_exported(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
    heard = operator.stage.dead_letters
    assert sorted(records, key=lambda one: one.at) == sorted(heard, key=lambda one: one.at)
    (rejected,) = [decode_exported(line.encode()) for line in to_stdout.lines]
    assert letter_of(rejected).reason == "rejected"
    assert [decode_exported(line.encode()) for line in by_name.lines] == heard[:1]


async def test_an_export_that_fails_leaves_no_half_file(operator: Operator, tmp_path: Path) -> None:
    """Whoever finds a file may trust it: it appears when it is whole, whatever fails before."""
    await failing(operator.stage)
    missing = await operator.dlq("export", "--output", str(tmp_path / "no" / "folder" / "x"))
    kept = tmp_path / "kept"
    moments = 0
    while True:
        kept.write_text("from yesterday")
        process = operator.next_process()
        process.line.break_at(moments + 1)
        failed = await operator.dlq("export", "--output", str(kept))
        if failed.code == 0:
            break
        moments += 1
        assert failed.code == 1
        assert kept.read_text() == "from yesterday"
        assert not list(tmp_path.glob(".kept*"))

    assert missing.code == 1
    assert "No such file or directory" in missing.err
    assert moments > 8
    assert len(kept.read_bytes().splitlines()) == 4


async def test_an_export_without_its_topic_fails(operator: Operator, tmp_path: Path) -> None:
    """What was exported yesterday stays as it is."""
    kept = tmp_path / "kept"
    kept.write_text("from yesterday")
    operator.stage.kafka.delete(operator.stage.settings.kafka.dead_letters_topic)
    failed = await operator.dlq("export", "--output", str(kept))

    assert failed.code == 1
    assert kept.read_text() == "from yesterday"
    assert not list(tmp_path.glob(".kept*"))


# -- nothing to do ---------------------------------------------------------------------------------


async def test_empty_topics_are_done(operator: Operator, tmp_path: Path) -> None:
    """Exit 0: nothing is open."""
    runs = [
        await operator.dlq("list"),
        await operator.dlq("list", "--json"),
        await operator.dlq("stats"),
        await operator.dlq("park", "--yes"),
        await operator.dlq("export", "--output", str(tmp_path / "x")),
    ]

    assert [ended.code for ended in runs] == [0] * 5
    assert "dead letters: none" in runs[0].err
    assert runs[1].out == runs[1].err == ""
    assert (tmp_path / "x").read_bytes() == b""
