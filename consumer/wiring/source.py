"""How the service takes part in its consumer group, by the settings."""

from __future__ import annotations

from consumer.kafka.source import SourceConfig
from consumer.settings import Settings

SEVERAL_SERVERS = "anythingllm-consumer-several"
"""What an instance that lists several AnythingLLMs calls itself in the group."""


def source_config(settings: Settings) -> SourceConfig:
    """How the service takes part in its consumer group."""
    kafka = settings.kafka
    return SourceConfig(
        topics=(kafka.documents_topic, kafka.replay_topic),
        group_id=kafka.group_id,
        client_id=SEVERAL_SERVERS if settings.anythingllm.endpoints else None,
        auto_offset_reset=kafka.auto_offset_reset,
        session_timeout=kafka.session_timeout_seconds,
        unfold_limit=settings.document.max_batch_bytes,
        drain_timeout=settings.revocation_seconds,
        rebalance_timeout=settings.rebalance_timeout_seconds,
    )
