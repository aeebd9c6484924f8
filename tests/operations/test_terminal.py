"""Every table at a terminal of 80 columns: one line a row, ids whole. Kafka is in memory."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from consumer.operations.audit import audit
from tests.commands import Ended
from tests.operations.conftest import Operator
from tests.operations.letters import failing
from tests.staging import document, texts

ID = "https_docs_example_com_en_latest_page-29999"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_HEADING = re.compile(r"^(?:\x1b\[1m[^\x1b]*\x1b\[0m *| +)+$")
# Texts beside the tables; a terminal breaks them where its line ends.
_PROSE = re.compile(
    r"searched for chunks of|\d+ events \(|\d+ workspaces, |\d+ chunks were too young|dead letter "
    r"|docs: |  (Kafka|AnythingLLM|topic)"
)


@pytest.fixture
async def terminal(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """A stage with something to show in every table: letters, replays, a lost document."""
    monkeypatch.setattr(audit, "PAUSE", 0.0)
    stage = operator.stage
    await failing(stage)
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    stage.publish(document(ID, ["REFUSED one", *texts("b", 2)]), partition=0)
    stage.publish(document(f"{ID}-lost", texts("lost", 2)), partition=1)
    await stage.worked()
    stage.simulator.faults.clear()
    replayed = await operator.dlq("replay", "--document", ID, "--yes")
    assert replayed.code == 0, replayed.err
    await stage.worked()
    state = stage.simulator.state
    for file in list(state.files.values()):
        if f'"d":"{ID}-lost"' in file.metadata["docSource"]:
            await stage.simulator.model.remove(file.location)
    return operator


async def at_terminal(operator: Operator, *words: str, columns: int = 80) -> Ended:
    return await operator.commands.run(*words, settings=operator.stage.env, columns=columns)


async def test_a_row_is_one_line_and_ids_are_whole(terminal: Operator) -> None:
    """Each command that has tables; what was left out is said, and how to see it."""
    shown = {}
    for words in (
        "check", "audit", f"where {ID} --quick", "dlq list --all", "dlq stats --all",
        "dlq runs", f"dlq show {ID}", "dlq replay", "dlq park", "workspaces list",
        "workspaces verify", "results", "audit --republish",
    ):  # fmt: skip
        ended = await at_terminal(terminal, *words.split())
        assert ended.code in {0, 3}, ended.err
        shown[words] = ended
        lines = [_STYLE.sub("", line) for line in ended.lines]
        too_long = [line for line in lines if cell_len(line) > 80 and not _PROSE.match(line)]
        assert too_long == [], words
        assert any(map(_HEADING.match, ended.lines)) or words == "workspaces verify", words
        assert "\t" not in ended.out

    for words in ("audit", "dlq list --all", f"dlq show {ID}"):
        assert any(ID in line for line in shown[words].lines), words
    lost = [line for line in shown["audit"].lines if f"{ID}-lost" in line]
    assert len(lost) == 1
    assert "missing" in lost[0]
    assert "what to do:" in _STYLE.sub("", shown["audit"].out)
    assert "--wide shows" in shown["dlq list --all"].err

    for columns in (40, 120):
        await _other_width(terminal, columns)
    await _wide(terminal)


async def _other_width(operator: Operator, columns: int) -> None:
    """Less room means fewer columns, never half an id."""
    ended = await at_terminal(operator, "dlq", "list", "--all", columns=columns)
    lines = [_STYLE.sub("", line) for line in ended.lines]

    assert len([line for line in lines if ID in line]) == 1
    assert len(lines) == 1 + 5, "a heading, and a line for each letter"
    assert ("standing" in lines[0]) == (columns == 120)
    assert all(cell_len(line) <= columns or ID in line for line in lines)


async def _wide(operator: Operator) -> None:
    """What a pipe gets: every column and whole texts; only times are a person's."""
    wide = await at_terminal(operator, "dlq", "list", "--all", "--wide")
    piped = await operator.dlq("list", "--all")

    names, *rows = [line.split("\t") for line in piped.lines]
    assert _STYLE.sub("", wide.lines[0]).split() == names
    for row, line in zip(rows, wide.lines[1:], strict=True):
        plain = _STYLE.sub("", line)
        assert all(cell in plain for name, cell in zip(names, row, strict=True) if name != "failed")
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(\w+( ago)?\)", plain)
    assert "--wide" not in wide.err
