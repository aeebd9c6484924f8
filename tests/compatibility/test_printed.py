"""Commands print to the byte what they printed of the same stream at commit cdefe5a."""

from __future__ import annotations

import secrets

from consumer.sandbox.kafka import LocalKafka
from tests.commands import Commands
from tests.compatibility.forms import FOLDER, recorded
from tests.compatibility.printed import Names, printed
from tests.compatibility.since import CHANGED, is_added, without_added


async def test_commands_print_the_same(kafka: LocalKafka, commands: Commands) -> None:
    """JSON for scripts and tables for people, on both streams, with their exit codes.

    One test for all of them: it is the stream that takes time.
    """
    content = recorded("printed.json")
    names = Names(secrets.token_hex(5))
    found = await printed(content, commands, kafka.bootstrap_servers, names, FOLDER)
    for then, now in zip(content["commands"], found, strict=True):
        if f"printed.json: {' '.join(then['words'])}" not in CHANGED:
            lines = [line for line in now["out"].splitlines() if not is_added(line)]
            out = "".join(without_added(line) + "\n" for line in lines)
            assert {**now, "out": out} == then
