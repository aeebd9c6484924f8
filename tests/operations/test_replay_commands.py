"""``dlq replay | runs``, ``check``: exit codes and what is told. Kafka is in memory."""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import Commands, Ended
from tests.conftest import REPOSITORY
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import Operator
from tests.operations.letters import failing, refused
from tests.operations.replaying import letters_of, replays
from tests.staging import Json

RUN = re.compile(r"^run (\d{8}-\d{6}-[0-9a-f]{4}): ", re.MULTILINE)


async def dead_lettered(stage: MemoryStage, count: int) -> None:
    """So many dead letters, and their cause mended."""
    await refused(stage, count)
    stage.simulator.faults.clear()
    await stage.stop()


def log_lines(ended: Ended, event: str = "replay.published") -> list[Json]:
    """The lines of the log on standard error."""
    lines = [line for line in ended.err.splitlines() if line.startswith("{")]
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]


async def test_a_plan_then_the_deed_then_nothing(operator: Operator) -> None:
    """Exit 3 with what would be done, 0 with what was, 3 where nothing was; scripts get JSON."""
    stage = operator.stage
    await dead_lettered(stage, 4)
    shown = await operator.dlq("replay", "--reason", "rejected")
    planned = await operator.dlq("replay", "--json")
    untouched = await replays(stage)
    other = await operator.dlq("replay", "--reason", "oversized", "--yes")
    done = await operator.dlq("replay", "--yes", "--json")
    await stage.worked()
    again = await operator.dlq("replay", "--yes", "--json")
    runs = await operator.dlq("runs", "--json")
    table = await operator.dlq("runs")

    assert (shown.code, planned.code, other.code, done.code, again.code) == (3, 3, 3, 0, 3)
    assert "to replay\t4" in shown.out
    assert "--yes does it" in shown.err
    assert planned.json["state"] == "planned"
    assert planned.json["plan"]["replay"] == 4
    assert planned.json["plan"]["reasons"] == {"rejected": 4}
    assert untouched == []
    assert (done.json["state"], done.json["published"], done.json["skipped"]) == ("done", 4, 0)
    assert (again.json["state"], again.json["plan"]["resolved"]) == ("nothing to do", 4)
    lines = log_lines(done)
    assert len({(line["letter"], line["event_id"]) for line in lines}) == 4
    assert {(line["run"], "@" in line["operator"]) for line in lines} == {(done.json["run"], True)}
    assert runs.json["run"] == done.json["run"]
    assert (runs.json["state"], runs.json["results"]) == ("done", {"succeeded": 4})
    assert runs.json["failed_again"] == 0
    assert done.json["run"] in table.out


async def test_a_plan_of_letters_by_others_alone(operator: Operator) -> None:
    """They are open, as `dlq list` has it: exit 3, and how they would be replayed."""
    stage = operator.stage
    stage.publish(b"theirs", key=None, topic=stage.settings.kafka.dead_letters_topic)
    await stage.wait_dead_letters(1)
    planned = await operator.dlq("replay")

    assert (planned.code, "foreign\t1\n" in planned.out) == (3, True)
    assert "with --force they are replayed as well" in planned.err
    assert "--yes does it" not in planned.err


async def test_what_can_not_be_helped_is_left_and_told_why(operator: Operator) -> None:
    """The plan splits it off; a run of nothing else replays nothing, exit 3, unless told to."""
    stage = operator.stage
    await failing(stage)
    stage.simulator.faults.clear()
    await stage.stop()
    shown = await operator.dlq("replay")
    planned = await operator.dlq("replay", "--json")
    none = await operator.dlq("replay", "--reason", "invalid", "--yes")
    mended = {"ROUTING_WORKSPACE": "docs"}
    routed = await operator.dlq("replay", "--reason", "unroutable", "--json", **mended)
    done = await operator.dlq("replay", "--yes", "--json")
    forced = await operator.dlq("replay", "--reason", "invalid", "--include-hopeless", "--yes")
    await stage.worked()
    runs = await operator.dlq("runs", "--json")
    table = await operator.dlq("runs")

    assert (shown.code, none.code, done.code, forced.code) == (3, 3, 0, 0)
    assert "to replay\t1\n" in shown.out
    assert "can't help\t3\n" in shown.out
    assert "its publisher has to mend it; replaying the same bytes fails again\t2\n" in shown.out
    assert planned.json["plan"]["can_help"] == {"if AnythingLLM's limits were changed": 1}
    assert sum(planned.json["plan"]["can_not_help"].values()) == 3
    assert "nothing was replayed" in none.err
    assert routed.json["plan"]["can_help"] == {"it has a workspace by now": 1}
    assert (done.json["published"], done.json["skipped_because"]) == (1, {"can't help": 3})
    assert {line["because"][:20] for line in log_lines(done, "replay.skipped")} == {
        "its publisher has to", "give its technology "
    }  # fmt: skip
    again, first = map(json.loads, runs.lines)
    assert (again["results"], again["failed_again"]) == ({"invalid": 1}, 1)
    assert (first["results"], first["failed_again"]) == ({"succeeded": 1}, 0)
    assert "1 invalid; dead letters again: 1" in table.out


async def test_a_run_that_ended_early_says_how_to_resume(operator: Operator) -> None:
    """Exit 1 with the command; the run goes on by its id alone, and nothing is replayed twice."""
    stage = operator.stage
    await dead_lettered(stage, 6)
    operator.next_process().line.break_at(3, "publishing")
    ended = await operator.dlq("replay", "--yes")
    (run,) = RUN.findall(ended.err)
    stage.kafka.lose_members("service-replay")
    listed = await operator.dlq("runs", "--json")
    done = await operator.dlq("replay", "--resume", run, "--rate", "1000", "--json")
    done_again = await operator.dlq("replay", "--resume", run)

    assert ended.code == 1
    assert f"dlq replay --resume {run}" in ended.err
    assert "Traceback" not in ended.err
    assert listed.json["state"] == "interrupted"
    assert (done.code, done.json["published"]) == (0, 6)
    assert done_again.code == 0
    assert Counter(Counter(letters_of(await replays(stage))).values()) == {1: 6}


async def test_exported_packed_and_replayed(operator: Operator, tmp_path: Path) -> None:
    """`dlq export` to `replay --from-file`, packed or by standard input; a run from it resumes."""
    stage = operator.stage
    await dead_lettered(stage, 5)
    path = tmp_path / "letters.ndjson.gz"
    exported = await operator.dlq("export", "--output", str(path), "--json")
    lines = gzip.decompress(path.read_bytes())
    operator.next_process().line.break_at(3, "publishing")
    ended = await operator.dlq("replay", "--from-file", str(path), "--yes")
    (run,) = RUN.findall(ended.err)
    stage.kafka.lose_members("service-replay")
    resumed = await operator.dlq("replay", "--resume", run, "--json")
    path.write_bytes(gzip.compress(lines[:-20]))
    damaged = await operator.dlq("replay", "--from-file", str(path))
    missing = await operator.dlq("replay", "--from-file", str(tmp_path / "none"))

    assert exported.code == 0
    assert exported.json == {"written": 5, "chosen": 5, "file": str(path)}
    assert ended.code == 1
    assert (resumed.code, resumed.json["published"]) == (0, 5), resumed.err
    assert Counter(Counter(letters_of(await replays(stage))).values()) == {1: 5}
    assert (damaged.code, missing.code) == (2, 2)
    assert "letter 5 of the file" in damaged.err


async def test_letters_by_standard_input(operator: Operator, commands: Commands) -> None:
    """A pipe is read once and looked at twice: it is kept meanwhile."""
    stage = operator.stage
    await dead_lettered(stage, 5)
    exported = await operator.dlq("export")
    words = ("dlq", "replay", "--from-file", "-")
    given = exported.out.encode()
    planned = await commands.run(*words, settings=stage.env, stdin=given)
    done = await commands.run(*words, "--yes", "--json", settings=stage.env, stdin=given)

    assert planned.code == 3
    assert (done.code, done.json["published"]) == (0, 5)


async def test_the_readme_can_be_pasted(operator: Operator) -> None:
    """Every command of its section on replaying, one after the other, with open letters there."""
    section = (REPOSITORY / "README.md").read_text().split("### Replaying", 1)[1]
    block = section.split("```sh\n", 1)[1].split("```", 1)[0]
    await dead_lettered(operator.stage, 3)
    ended = [
        await operator.run(*shlex.split(line)[1:]) for line in block.splitlines() if line.strip()
    ]

    assert len(ended) == 7
    assert [(one.code, one.err) for one in ended if one.code not in {0, 3}] == []
    assert ended[0].code == 3
    assert "3 replayed" in ended[1].out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--from elsewhere", "parked"),
        ("--rate 0", "--rate"),
        ("--resume x --reason rejected", "leave filters"),
        ("--resume x", "dlq runs"),
        ("--since yesterday", "no time"),
        ("not-an-event", "neither an event id"),
    ],
)
async def test_wrong_options_are_exit_2(operator: Operator, words: str, told: str) -> None:
    """One line that says what is possible; nothing is asked of Kafka before."""
    process = operator.next_process()
    ended = await operator.dlq("replay", *words.split())

    assert ended.code == 2
    assert told in ended.err
    assert process.line.calls in ([], ["connecting"])  # whether there is such a run is asked


async def test_check_finds_what_replay_would_stumble_over(operator: Operator) -> None:
    """Results kept shorter than dead letters, by time or size; a replay topic without headroom."""
    kafka = operator.stage.kafka
    kafka.create("short", 3, {"retention.ms": "604800000", "retention.bytes": "10000"})
    kafka.create("small", 3, {"max.message.bytes": str(8 * 1024 * 1024)})
    other = {"KAFKA_RESULTS_TOPIC": "short", "KAFKA_REPLAY_TOPIC": "small"}
    ended = await operator.run("check", "--json", **other)

    wrong = [found for found in map(json.loads, ended.lines) if not found["ok"]]
    assert ended.code == 3
    assert [found["finding"].split(" is ")[0] for found in wrong] == [
        "max.message.bytes",
        "retention.ms",
        "retention.bytes",
    ]
    assert "retention.ms=-1" in wrong[1]["what_to_do"]
