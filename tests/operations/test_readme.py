"""What the README shows of operators' commands can be pasted. Kafka is in memory."""

from __future__ import annotations

import json
import re
import shlex

from tests.conftest import REPOSITORY
from tests.operations.conftest import Operator

README = (REPOSITORY / "README.md").read_text()


def shown(command: str) -> list[list[str]]:
    """The lines of the README that call a command, as words."""
    found = re.findall(rf"^anythingllm-consumer ({command}\b.*)$", README, re.MULTILINE)
    return [shlex.split(line) for line in found]


async def test_where_and_audit_of_the_readmes_own_event(operator: Operator) -> None:
    """It is found everywhere, and everything is explained."""
    (event,) = re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    document = json.loads(event)
    await operator.stage.worked(document)

    asked = shown("where")
    assert {words[1] for words in asked} == {document["id"]}
    for words in asked:
        ended = await operator.run(*words)
        assert (ended.code, ended.lines[0]) == (
            0,
            "lanterns: 2 of 2 chunks stored; 2 of 2 looked for are found by a search",
        ), words
    for words in shown("audit"):
        ended = await operator.run(*words)
        assert (ended.code, ended.lines[-1]) == (
            0,
            "1 events (0 can't be carried out, 0 not committed), 1 documents, 1 stored: "
            "0 unexplained, 0 notes",
        ), words
