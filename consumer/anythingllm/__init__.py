"""AnythingLLM: a client for its developer API, usable alone (`AnythingLLMClient`)."""

from consumer.anythingllm.client import AnythingLLMClient
from consumer.anythingllm.config import AnythingLLMConfig, CircuitBreakerConfig
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
    DocumentUploadResult,
    SearchHit,
    StoredChunk,
    StoredDocument,
    Workspace,
)
from consumer.anythingllm.servers import AnythingLLMServers
from consumer.anythingllm.unit_store import AnythingLLMStorage

__all__ = [
    "AnythingLLMAuthenticationError",
    "AnythingLLMClient",
    "AnythingLLMConfig",
    "AnythingLLMConnectionError",
    "AnythingLLMError",
    "AnythingLLMForbiddenError",
    "AnythingLLMNotFoundError",
    "AnythingLLMPendingError",
    "AnythingLLMProtocolError",
    "AnythingLLMRateLimitError",
    "AnythingLLMRejectedError",
    "AnythingLLMServerError",
    "AnythingLLMServers",
    "AnythingLLMStorage",
    "AnythingLLMTimeoutError",
    "CircuitBreakerConfig",
    "CircuitOpenError",
    "DocumentUploadResult",
    "NoWorkspaceError",
    "SearchHit",
    "StillFoundError",
    "StoredChunk",
    "StoredDocument",
    "Workspace",
]
