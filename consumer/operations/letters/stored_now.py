"""What AnythingLLM holds at this moment of one dead letter's document."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConfig,
    AnythingLLMError,
    CircuitBreakerConfig,
    NoWorkspaceError,
)
from consumer.anythingllm.models import StoredDocument
from consumer.contract.received_letter import Letter
from consumer.model.slug import is_slug
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

_SECONDS = 5.0  # a person waits; a workspace whose listing takes longer is not looked at


@dataclass(frozen=True, slots=True)
class StoredNow:
    """What is stored of it, or why that is not known.

    Args:
        unknown: why it is not known; None where it is.
        chunks: how many chunks of the document are stored, whatever their version.
        total_chunks: how many chunks the newest stored version has.
        version: the newest stored version, ISO 8601.
        failed_stored: the failed chunks of the letter that are stored now.
    """

    unknown: str | None = None
    chunks: int = 0
    total_chunks: int = 0
    version: str | None = None
    failed_stored: tuple[str, ...] = ()


async def stored_now(settings: Settings, letter: Letter) -> StoredNow:
    """Ask AnythingLLM, for a few seconds at most. Whatever it answers, nothing is raised."""
    several = server_configs(settings)
    if not several and not settings.anythingllm.api_key.get_secret_value():
        return StoredNow(unknown="not asked: ANYTHINGLLM_API_KEY is not set")
    slug = letter.workspace
    if slug is None or not is_slug(slug):
        return StoredNow(unknown="not asked: the letter names no workspace")
    documents: list[StoredDocument] = []
    for config in several.values() if several else (anythingllm_config(settings),):
        found = await _documents(config, slug)
        if isinstance(found, StoredNow):
            return found
        documents += found
    return _found(settings, letter, documents)


async def _documents(config: AnythingLLMConfig, slug: str) -> list[StoredDocument] | StoredNow:
    quick = CircuitBreakerConfig(timeout_seconds=_SECONDS)
    client = AnythingLLMClient(replace(config, circuit_breaker=quick))
    try:
        async with asyncio.timeout(2 * _SECONDS), client:
            return await client.list_workspace_documents(slug)
    except NoWorkspaceError:
        return []
    except AnythingLLMError as error:
        return StoredNow(unknown=f"AnythingLLM does not say: {error.message}")
    except TimeoutError:
        return StoredNow(unknown="AnythingLLM does not answer")


def _found(settings: Settings, letter: Letter, documents: list[StoredDocument]) -> StoredNow:
    own = [each for each in documents if not each.foreign and _is_meant(settings, letter, each)]
    chunks = [chunk.chunk_id for each in own for chunk in each.chunks]
    newest = max(own, key=lambda each: (each.version is not None, each.version), default=None)
    version = newest.version if newest is not None else None
    return StoredNow(
        chunks=len(set(chunks)),
        total_chunks=newest.total_chunks if newest is not None else 0,
        version=version.isoformat().replace("+00:00", "Z") if version is not None else None,
        failed_stored=tuple(each for each in letter.failed_chunk_ids if each in set(chunks)),
    )


def _is_meant(settings: Settings, letter: Letter, stored: StoredDocument) -> bool:
    if letter.identity is None:
        return stored.document_id == letter.document_id
    identity = settings.document.identity.of_readable(
        document_id=stored.document_id, source_url=stored.source_url, technology=stored.technology
    )
    return identity == letter.identity
