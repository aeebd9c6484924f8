"""Every table at a terminal: one line a row, ids whole. Kafka is in memory."""

from __future__ import annotations

import pytest

from tests.commands import Ended
from tests.operations.conftest import Operator
from tests.operations.letters import failing, refused
from tests.staging import document, texts

async def test_look(operator: Operator) -> None:
    stage = operator.stage
    name = "https_docs_example_com_en_latest_page-29999"
    await failing(stage)
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    stage.publish(document(name, ["REFUSED one", "b"]), partition=0)
    await stage.worked()
    stage.simulator.faults.clear()
    await operator.dlq("replay", "--reason", "rejected", "--yes")
    await stage.worked()
    async def at(*words: str, columns: int = 80) -> None:
        ended = await operator.commands.run(*words, settings=stage.env, columns=columns)
        print("$", *words, columns, "->", ended.code)
        print(ended.out)
        print(ended.err)
    for words in ("check", "topics create", "audit", f"where {name}", "dlq list", "dlq list --all", "dlq list --all --wide", "dlq stats --all", "dlq runs", "dlq show guide","dlq replay", "dlq park", "workspaces list", "workspaces verify", "results"):
        await at(*words.split())
    for columns in (40, 120):
        await at("dlq","list","--all",columns=columns)
    assert 0
