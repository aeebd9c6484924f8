"""What all uploads of a client share: who is asked, and how long anything may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from consumer.anythingllm.api import Api
from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.joint_looks import JointLooks
from consumer.anythingllm.marker_lookup import MarkerLookup
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.readiness import Readiness
from consumer.anythingllm.removal_looks import RemovalLooks
from consumer.anythingllm.restarts import Restarts
from consumer.anythingllm.transport import NewErrand
from consumer.anythingllm.vouching import Vouching


@dataclass(frozen=True, slots=True)
class Ways:
    """What all uploads of a client share.

    Args:
        lookup: looks for uploads that may still finish.
        file_lookup: looks for their files.
        database: says what the vector database is like.
        embedder: says whether the embedder gives vectors that a search can use.
        control: says whether the vector database keeps anything.
        vouching: hears what was found.
        removal: removes documents.
        looks: search for many chunks of a document at once.
        removal_looks: search for what was removed.
        slots: one for each upload at a time.
        clock: monotonic seconds.
        restarts: knows when AnythingLLM was last away, on that clock.
        timeout: seconds for a check.
        upload_timeout: seconds for an upload or an embedding.
        ambiguity: seconds in which an upload without an answer may still take effect.
    """

    api: Api
    readiness: Readiness
    proof: StorageProof
    lookup: MarkerLookup
    file_lookup: MarkerLookup
    database: DatabaseInUse
    embedder: EmbedderInUse
    control: DatabaseControl
    vouching: Vouching
    removal: DocumentRemoval
    looks: JointLooks
    removal_looks: RemovalLooks
    slots: asyncio.Semaphore
    errand: NewErrand
    clock: Callable[[], float]
    restarts: Restarts
    timeout: float
    upload_timeout: float
    ambiguity: float
