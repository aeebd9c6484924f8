"""The API key is changed in AnythingLLM and in its file while the service runs."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm import (
    AnythingLLMAuthenticationError,
    AnythingLLMClient,
    AnythingLLMConfig,
)
from consumer.anythingllm.calls import Call
from consumer.anythingllm.transport import Errand
from consumer.telemetry.renewable_secret import RenewableSecret
from tests.client.support import answer, says, scripted
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import MakeStage
from tests.staging import document, eventually

OLD, NEW = "CANARY-old-key", "CANARY-new-key"
GET = Call("GET", "/v1/workspace/x", expect=("workspace",))
POST = Call("POST", "/v1/workspace/new", {"name": "x"}, expect=("workspace",))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "key"


@pytest.fixture
async def stage(make_stage: MakeStage, file: Path) -> MemoryStage:
    """A stage whose key is in a file."""
    stage = await make_stage()
    file.write_text(stage.simulator.api_key, encoding="utf-8")
    del stage.env["ANYTHINGLLM_API_KEY"]
    stage.env["ANYTHINGLLM_API_KEY_FILE"] = str(file)
    return stage


async def _stored(stage: MemoryStage, name: str) -> None:
    stage.publish(document(name, ["one", "two"]))
    await stage.settled()


async def test_a_key_that_was_changed_is_taken_from_its_file(
    stage: MemoryStage, file: Path
) -> None:
    """Without a restart, and without an outage: what was refused is sent again."""
    with capture_logs() as logs:
        stage.start()
        await _stored(stage, "before")
        file.write_text(NEW, encoding="utf-8")
        await _stored(stage, "between")  # the former one still counts
        stage.simulator.change_key(NEW)
        await _stored(stage, "after")
        await stage.stop()

    assert set(stage.stored()) == {"before", "between", "after"}
    assert [result["status"] for result in stage.results] == ["succeeded"] * 3
    assert [line["setting"] for line in logs if line["event"] == "secret.renewed"] == [
        "ANYTHINGLLM_API_KEY_FILE"
    ]
    assert [] == [line for line in logs if line["log_level"] not in {"debug", "info"}]
    assert NEW not in str(logs)


@pytest.mark.parametrize(
    ("call", "headers", "sent"),
    [
        (GET, "", 2),
        (POST, "", 1),
        (POST, "X-Powered-By: Express\r\n", 2),
    ],
    ids=["a-look", "a-change-that-a-proxy-refused", "a-change-that-anythingllm-refused"],
)
@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
async def test_only_what_surely_did_nothing_is_sent_again(
    call: Call, headers: str, sent: int, status: str
) -> None:
    """A proxy may have passed on what it refuses. The new key is used from then on all the same."""
    secret = RenewableSecret("A_FILE", OLD, lambda: NEW)
    script = says(answer("{}", status, headers=headers), answer('{"workspace": {}}'))
    async with scripted(script) as server:
        config = AnythingLLMConfig(server.endpoint, OLD, renewable_key=secret)
        async with AnythingLLMClient(config) as client:
            errands = (Errand(time.monotonic() + 20, time.monotonic) for _ in range(2))
            with suppress(AnythingLLMAuthenticationError):
                await client._transport.call(next(errands), call)
            assert len(server.requests) == sent
            await client._transport.call(next(errands), call)

    keys = [NEW.encode() in request for request in server.requests]
    assert keys == [False, *[True] * sent]


@pytest.mark.slow  # it waits for a file to be read again: two seconds each
@pytest.mark.parametrize("half", ["", NEW[:5], f"{NEW[:5]}\n\n{NEW}"])
async def test_a_file_that_is_half_written_costs_only_time(
    stage: MemoryStage, file: Path, half: str
) -> None:
    """Nothing is dead-lettered; the whole key is found by the probe, a recovery period later."""
    stage.start()
    await _stored(stage, "before")
    stage.simulator.change_key(NEW)
    file.write_text(half, encoding="utf-8")
    stage.publish(document("after", ["one", "two"]))
    with capture_logs() as logs:
        await eventually(lambda: any(line["event"] == "breaker.probe_failed" for line in logs))
        file.write_text(NEW, encoding="utf-8")
        await stage.settled()
        await stage.stop()

    assert set(stage.stored()) == {"before", "after"}
    assert stage.dead_letters == []
    told = [line for line in logs if line["event"] == "secret.unusable"]
    assert len(told) == (half != NEW[:5])
    assert NEW[:5] not in str(told)


async def test_a_key_of_a_variable_stays(make_stage: MakeStage, file: Path) -> None:
    """Nobody reads a file that was not named."""
    stage = await make_stage()
    stage.start()
    await _stored(stage, "before")
    stage.simulator.change_key(NEW)
    stage.publish(document("after", ["one"]))
    with capture_logs() as logs:
        await eventually(lambda: any(line["event"] == "breaker.probe_failed" for line in logs))
    assert "secret.renewed" not in {line["event"] for line in logs}
    assert set(stage.stored()) == {"before"}
