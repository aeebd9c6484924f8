"""The client in other people's programs: silent, typed, easy to give a document to."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConfig,
    AnythingLLMError,
    Chunk,
    NoWorkspaceError,
    ProcessedDocument,
)
from consumer.sandbox.simulator import Simulator
from consumer.telemetry.library_log import library_logger

ROOMS = ("anythingllm", "kafka", "model", "publishing", "resilience", "results", "contract")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AnythingLLMClient]:
    config = AnythingLLMConfig(simulator.endpoint, simulator.api_key, sentinel_pause=0.0)
    async with AnythingLLMClient(config) as client:
        yield client


@pytest.fixture
def fresh() -> Iterator[None]:
    """A program that has set up neither structlog nor logging."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    if before is not None:
        structlog.configure(**before)


async def _warned(simulator: Simulator) -> None:
    """Something that the client has to say: the breaker opens."""
    config = AnythingLLMConfig(simulator.endpoint, simulator.api_key)
    async with AnythingLLMClient(config) as client:
        simulator.faults.add("status", status=503)
        for _ in range(5):
            with pytest.raises(AnythingLLMError):
                await client.list_workspaces()


async def test_it_says_nothing_by_itself(
    simulator: Simulator, fresh: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """No line on a host's standard output, nor on its standard error."""
    await _warned(simulator)

    assert capfd.readouterr() == ("", "")


async def test_whoever_listens_hears_it(
    simulator: Simulator, fresh: None, caplog: pytest.LogCaptureFixture
) -> None:
    """By the standard library, an event a line; by structlog where that is set up."""
    await _warned(simulator)
    with capture_logs() as events:
        await _warned(simulator)

    record = next(each for each in caplog.records if each.name == "consumer.anythingllm.client")
    assert record.levelname == "WARNING"
    assert record.getMessage() == "breaker.changed old='closed' new='open'"
    assert record.filename == "client.py"
    assert {"event": "breaker.changed", "old": "closed", "new": "open", "log_level": "warning"} in (
        events
    )


def test_an_exception_is_told_with_its_trace(fresh: None, caplog: pytest.LogCaptureFixture) -> None:
    log = library_logger("consumer.tried")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("tried.failed", text="two\nlines")

    (record,) = caplog.records
    assert record.getMessage() == "tried.failed text='two\\nlines'"
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError
    assert record.levelno == logging.ERROR


def test_no_room_of_the_library_prints() -> None:
    """Structlog alone prints to standard output where nobody has set it up."""
    files = [file for room in ROOMS for file in (REPOSITORY / "consumer" / room).rglob("*.py")]

    assert len(files) > 100
    assert [each.name for each in files if "structlog.get_logger" in each.read_text()] == []


async def test_what_is_left_out_of_a_document_has_a_sense(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """Only ids and texts are asked for."""
    chunks = (Chunk("a", "first"), Chunk("b", "second"))
    result = await client.upload_document("docs", ProcessedDocument("page", chunks=chunks))
    again = await client.upload_document("docs", ProcessedDocument("page", chunks=chunks))
    (stored,) = await client.list_workspace_documents("docs")

    assert (result.status, len(again.unchanged_chunk_ids)) == ("succeeded", 2)
    assert (stored.title, stored.total_chunks) == ("page", 2)
    assert sorted((chunk.chunk_index, chunk.chunk_id) for chunk in stored.chunks) == [
        (0, "a"),
        (1, "b"),
    ]


async def test_every_method_says_the_same_of_an_unknown_workspace(
    simulator: Simulator, client: AnythingLLMClient
) -> None:
    """The one that makes workspaces as well, where it may not."""
    page = ProcessedDocument("page", chunks=(Chunk("a", "first"),))
    said = []
    for call in (
        client.search_workspace("nowhere", "anything"),
        client.list_workspace_documents("nowhere"),
        client.delete_document("nowhere", "page"),
        client.delete_workspace("nowhere"),
    ):
        with pytest.raises(NoWorkspaceError) as raised:
            await call
        said.append(raised.value.message)
    config = AnythingLLMConfig(simulator.endpoint, simulator.api_key, create_workspaces=False)
    async with AnythingLLMClient(config) as careful:
        with pytest.raises(NoWorkspaceError):
            await careful.upload_document("nowhere", page)
        with pytest.raises(NoWorkspaceError):
            await careful.get_or_create_workspace("nowhere")

    assert set(said) == {"AnythingLLM has no workspace 'nowhere'"}
    assert "nowhere" not in simulator.state.workspaces
