"""How every command reaches AnythingLLM, by the settings."""

from __future__ import annotations

from consumer.anythingllm import AnythingLLMConfig, CircuitBreakerConfig
from consumer.settings import Settings
from consumer.wiring.retry import retry_policy


def anythingllm_config(settings: Settings) -> AnythingLLMConfig:
    """How every command reaches AnythingLLM."""
    ours, upload = settings.anythingllm, settings.upload
    return AnythingLLMConfig(
        endpoint=ours.endpoint,
        api_key=ours.api_key.get_secret_value(),
        circuit_breaker=CircuitBreakerConfig(
            failure_threshold=settings.breaker.failure_threshold,
            recovery_timeout=settings.breaker.recovery_seconds,
            timeout_seconds=ours.timeout_seconds,
        ),
        upload_timeout=upload.timeout_seconds,
        removal_timeout=settings.removal.timeout_seconds,
        max_chunks_in_flight=upload.max_chunks_in_flight,
        retry=retry_policy(settings),
        ca_file=str(ours.cafile) if ours.cafile else None,
        create_workspaces=settings.routing.create_workspaces,
        identity=settings.document.identity.text,
        ambiguity_seconds=ours.ambiguity_seconds,
        vector_db="" if ours.vector_db == "auto" else ours.vector_db,
    )
