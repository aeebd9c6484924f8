"""What `audit` and `where` say where only files stayed of what was removed."""

from __future__ import annotations

import pytest

from consumer.operations.audit.searching import SearchScope
from tests.commands import Commands
from tests.operations.auditing import look
from tests.operations.conftest import MakeStage, Operator
from tests.staging import document


@pytest.mark.parametrize("vector_db", ["lancedb", "pgvector", "chroma"])
async def test_no_false_alarm_and_nothing_called_stored(
    make_stage: MakeStage, commands: Commands, vector_db: str
) -> None:
    """A file in no workspace is neither stored nor left over; `workspaces verify` names it."""
    stage = await make_stage(vector_db=vector_db)
    server = stage.simulator
    server.faults.add("status", status=405, method="DELETE", path="*/remove-documents")
    await stage.worked(document("a", ["one", "two"]), document("b", ["three"]))
    await stage.worked(document("a", ["one", "new"], day=1))
    stage.publish(None, key="b")
    await stage.worked()
    seen = await look(stage, scope=SearchScope.ALL)
    operator = Operator(stage, commands)
    gone = await operator.run("where", "b", "--json")
    there = await operator.run("where", "a", "--json")

    assert {"two", "three"} < {file.text for file in server.state.files.values()}
    assert seen.named == []
    assert gone.json["stored"] == []
    assert "deleted" in gone.json["verdict"][0]
    (held,) = there.json["stored"]
    assert (held["chunks"], held["found_by_search"], held["complete"]) == (2, 2, True)
