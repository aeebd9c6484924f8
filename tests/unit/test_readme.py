"""What the README promises, as far as it can be tried without running the service."""

from __future__ import annotations

import re
import runpy
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig, RetryPolicy
from consumer.cli.main import build
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.sandbox.simulator import simulator
from consumer.settings import load_settings
from consumer.settings.__main__ import with_table
from consumer.settings.table import TABLE
from consumer.wiring.topics import topic_specs

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_settings_table_is_today_s() -> None:
    """The table is made from the code; `make settings-table` writes it."""
    assert with_table(README) == README


def test_every_setting_that_is_named_exists() -> None:
    """A name in running text that is no setting would send people looking."""
    prefixes = {name.split("_")[0] for name in TABLE}
    named = {name.removesuffix("_FILE") for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)\b", README)}
    ours = {name for name in named if name.split("_")[0] in prefixes}

    assert ours - set(TABLE) == set()


def _commands() -> list[list[str]]:
    text = "\n".join([*_blocks("sh"), *re.findall(r"`(anythingllm-consumer [^`]+)`", README)])
    lines = [line for line in text.splitlines() if line.startswith("anythingllm-consumer")]
    return [shlex.split(line.partition(" > ")[0])[1:] for line in lines]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_every_command_exists_with_its_options(words: list[str]) -> None:
    """A command that is shown can be pasted: the command and each option are known."""
    command: Any = build()
    while hasattr(command, "get_command"):
        found = command.get_command(typer.Context(command), words.pop(0))
        assert found is not None
        command = found

    command.make_context("shown", words, resilient_parsing=False)


def test_make_targets_exist() -> None:
    """The two commands of the README, and the others it names."""
    makefile = (REPOSITORY / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))

    assert {"demo", "test"} <= named
    assert [name for name in named if f"\n{name}:" not in makefile] == []


def test_files_that_are_named_exist() -> None:
    """Paths of this repository that the README sends people to."""
    named = set(re.findall(r"`((?:consumer|deploy|schemas)/[\w./-]+)`", README))
    named |= set(re.findall(r"\]\(([\w./-]+)\)", README))

    assert named
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []


def test_the_event_shown_is_valid() -> None:
    """The least that is needed is enough."""
    (event,) = _blocks("json")
    document = decode(orjson.dumps(orjson.loads(event)), DecodeLimits())

    assert [chunk.index for chunk in document.chunks] == [0, 1]


def _client_examples(folder: Path) -> list[dict[str, Any]]:
    """The names of each program that uses the client."""
    examples: list[dict[str, Any]] = []
    for code in [block for block in _blocks("python") if "AnythingLLMClient" in block]:
        script = folder / f"example_{len(examples)}.py"
        script.write_text(code)
        examples.append(runpy.run_path(str(script)))
    return examples


async def test_the_example_of_storing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is stored, an unknown workspace, a chunk that is refused, and the breaker's states."""
    example = _client_examples(tmp_path)[1]
    main = example["main"]
    quick = partial(AnythingLLMConfig, sentinel_pause=0.0, retry=RetryPolicy(base=0.001, cap=0.001))
    main.__globals__["AnythingLLMConfig"] = quick
    async with simulator() as server:
        await main(server.endpoint, server.api_key)
        stored = sorted(text for _, text, _ in server.chunks("lanterns"))
        assert capsys.readouterr().out == "True\nthere is no such workspace\n"
        assert stored == ["Fill it once a week.", "Trim the wick."]

        server.faults.add("status", path="*/raw-text", contains="week", status=422)
        server.state.delete_workspace(server.state.workspaces["lanterns"])
        await main(server.endpoint, server.api_key)
        assert capsys.readouterr().out.startswith("care-1: rejected, AnythingLLM POST")

        server.faults.rules.clear()
        server.faults.add("status", status=503)
        await main(server.endpoint, server.api_key)
        said = capsys.readouterr().out
        assert "nothing could be tried: AnythingLLM GET" in said
        assert "circuit breaker: closed -> open" in said
        assert "(theirs)" in said


async def test_the_client_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The search service's example finds the document of the event shown."""
    (event,) = _blocks("json")
    search = _client_examples(tmp_path)[0]["search"]

    async with simulator() as server:
        config = AnythingLLMConfig(server.endpoint, server.api_key, sentinel_pause=0.05)
        async with AnythingLLMClient(config) as client:
            document = decode(orjson.dumps(orjson.loads(event)), DecodeLimits())
            await client.get_or_create_workspace("lanterns")
            await client.upload_document("lanterns", document)
        capsys.readouterr()  # what was logged so far
        await search(server.endpoint, server.api_key)

    shown = capsys.readouterr().out
    assert shown.startswith("healthy closed\n")
    assert "lantern-care lantern-care_0 Trim the wick before sunrise." in shown


def test_the_example_for_a_cloud_is_whole(tmp_path: Path) -> None:
    """Every name in it is a setting, and together they are sound; the secret is a file."""
    lines = (REPOSITORY / "deploy" / "cloud.env").read_text(encoding="utf-8").splitlines()
    env = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    secret = tmp_path / "secret"
    secret.write_text("made-up", encoding="utf-8")
    env["KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE"] = str(secret)

    settings = load_settings(env | {"ANYTHINGLLM_API_KEY": "k"})

    assert settings.warnings == ()
    sizes = [int(s.settings.get("max.message.bytes", 0)) for s in topic_specs(settings)]
    assert max(sizes) == 8 * 2**20
