"""How every command reaches AnythingLLM, by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import SecretStr

from consumer.anythingllm import AnythingLLMConfig, CircuitBreakerConfig
from consumer.model.names import ServerName
from consumer.settings import Settings
from consumer.telemetry.renewable_secret import RenewableSecret
from consumer.wiring.retry import retry_policy
from consumer.wiring.secrets import renewable_secret


def server_configs(settings: Settings) -> Mapping[ServerName, AnythingLLMConfig]:
    """How each of several AnythingLLMs is reached; empty where there is one.

    No upload makes a workspace there (`anythingllm.server_register`).
    """
    return {
        each.name: replace(
            _config(settings, each.url, each.api_key),
            create_workspaces=False,
            group="",
            renewable_key=RenewableSecret(
                f"ANYTHINGLLM_ENDPOINTS, server {each.name}",
                each.api_key.get_secret_value(),
                each.read_key,
            ),
        )
        for each in settings.anythingllm.endpoints or ()
    }


def anythingllm_config(settings: Settings) -> AnythingLLMConfig:
    """How every command reaches AnythingLLM, where there is one."""
    key = settings.anythingllm.api_key
    config = _config(settings, settings.anythingllm.endpoint, key)
    return replace(config, renewable_key=renewable_secret(settings, "ANYTHINGLLM_API_KEY", key))


def _config(settings: Settings, endpoint: str, api_key: SecretStr) -> AnythingLLMConfig:
    ours, upload = settings.anythingllm, settings.upload
    return AnythingLLMConfig(
        endpoint=endpoint,
        api_key=api_key.get_secret_value(),
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
        group=settings.kafka.group_id,
        identity=settings.document.identity.text,
        ambiguity_seconds=ours.ambiguity_seconds,
        vector_db="" if ours.vector_db == "auto" else ours.vector_db,
    )
