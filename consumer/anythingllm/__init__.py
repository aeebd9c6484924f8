"""AnythingLLM: a client for its developer API, usable alone (`AnythingLLMClient`)."""

from consumer.anythingllm.client import AnythingLLMClient
from consumer.anythingllm.config import AnythingLLMConfig, CircuitBreakerConfig
from consumer.anythingllm.document_removal import RemovalRefusedError
from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
    AnythingLLMPendingError,
    AnythingLLMProtocolError,
    AnythingLLMRateLimitError,
    AnythingLLMRejectedError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    CircuitOpenError,
    NoWorkspaceError,
    StillFoundError,
)
from consumer.anythingllm.models import (
    AnythingLLMHealth,
    CircuitBreakerHealth,
    ComponentHealth,
    DocumentUploadResult,
    SearchHit,
    StoredChunk,
    StoredDocument,
    Workspace,
)
from consumer.anythingllm.servers import AnythingLLMServers
from consumer.anythingllm.unit_store import AnythingLLMStorage
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.outcome import FailedChunk
from consumer.model.version import DocumentVersion
from consumer.resilience.breaker import BreakerSnapshot
from consumer.resilience.retry import RetryPolicy

__all__ = [
    "AnythingLLMAuthenticationError",
    "AnythingLLMClient",
    "AnythingLLMConfig",
    "AnythingLLMConnectionError",
    "AnythingLLMError",
    "AnythingLLMForbiddenError",
    "AnythingLLMHealth",
    "AnythingLLMNotFoundError",
    "AnythingLLMPendingError",
    "AnythingLLMProtocolError",
    "AnythingLLMRateLimitError",
    "AnythingLLMRejectedError",
    "AnythingLLMServerError",
    "AnythingLLMServers",
    "AnythingLLMStorage",
    "AnythingLLMTimeoutError",
    "BreakerSnapshot",
    "Chunk",
    "CircuitBreakerConfig",
    "CircuitBreakerHealth",
    "CircuitOpenError",
    "ComponentHealth",
    "DocumentUploadResult",
    "DocumentVersion",
    "FailedChunk",
    "NoWorkspaceError",
    "ProcessedDocument",
    "RemovalRefusedError",
    "RetryPolicy",
    "SearchHit",
    "StillFoundError",
    "StoredChunk",
    "StoredDocument",
    "Workspace",
]
