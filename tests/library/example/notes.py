"""A project that uses the client alone: it stores a note, finds it and removes it.

It is type-checked and run against the built wheel in an environment without the service.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConfig,
    AnythingLLMError,
    Chunk,
    CircuitBreakerConfig,
    CircuitOpenError,
    DocumentUploadResult,
    ProcessedDocument,
    RetryPolicy,
    SearchHit,
)

WORKSPACE = "notes"


def note(text: str) -> ProcessedDocument:
    """A document of one chunk."""
    return ProcessedDocument(
        id="note-1",
        title="A note",
        technology="notes",
        source_url="https://example.com/notes/1",
        chunks=(Chunk(id="note-1-0", content=text, index=0),),
        updated_at=datetime.now(UTC),
    )


async def store(client: AnythingLLMClient, text: str) -> DocumentUploadResult:
    """The note, stored so that it can be searched."""
    await client.get_or_create_workspace(WORKSPACE, name="Notes")
    result = await client.upload_document(WORKSPACE, note(text))
    for failed in result.failed_chunks:
        print(failed.chunk_id, failed.message)
    return result


async def nearest(client: AnythingLLMClient, query: str) -> str | None:
    """The text of the nearest note; None where there is none."""
    hits: list[SearchHit] = await client.search_workspace(WORKSPACE, query, limit=1)
    distance: float | None = hits[0].distance if hits else None
    return hits[0].text if distance is not None else None


async def main(endpoint: str, api_key: str) -> int:
    """Run it; 1 where AnythingLLM is not to be had."""
    config = AnythingLLMConfig(
        endpoint,
        api_key,
        circuit_breaker=CircuitBreakerConfig(failure_threshold=3),
        retry=RetryPolicy(attempts=3),
        sentinel_pause=0.05,
    )
    try:
        async with AnythingLLMClient(config) as client:
            result = await store(client, "Oil the hinges in spring.")
            found = await nearest(client, "Oil the hinges in spring.")
            print(result.status, found)
            print("removed:", await client.delete_document(WORKSPACE, result.document_id))
    except CircuitOpenError as error:
        print(f"again in {error.retry_after} s")
        return 1
    except AnythingLLMError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:3])))
