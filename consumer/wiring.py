"""From settings to what the rooms take: the same for `run` and for every other command."""

from __future__ import annotations

from consumer.anythingllm import AnythingLLMConfig, CircuitBreakerConfig
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.source import SourceConfig
from consumer.kafka.topics import TopicSpec
from consumer.pipeline.decode import DecodeLimits
from consumer.resilience.retry import RetryPolicy
from consumer.settings import Settings

# What a dead letter and its replay may be larger than their event: their headers.
DEAD_LETTER_HEADROOM = 64 * 1024


def kafka_connection(settings: Settings) -> KafkaConnection:
    """How every command reaches Kafka."""
    kafka = settings.kafka
    password, key_password = kafka.sasl_password, kafka.ssl_key_password
    return KafkaConnection(
        bootstrap_servers=kafka.bootstrap_servers,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ca_file=kafka.ssl_cafile,
        cert_file=kafka.ssl_certfile,
        key_file=kafka.ssl_keyfile,
        key_password=key_password.get_secret_value() if key_password else None,
    )


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
    )


def topic_specs(settings: Settings, partitions: int = 12) -> tuple[TopicSpec, ...]:
    """What the five topics must be (schemas/README.md, "Topics")."""
    kafka = settings.kafka
    largest = settings.document.max_bytes
    letters = {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(largest + DEAD_LETTER_HEADROOM),
    }
    inputs = {"max.message.bytes": str(largest)}
    replays = {"max.message.bytes": str(largest + DEAD_LETTER_HEADROOM)}
    # As long as dead letters: without a letter's result nobody can tell whether it is stale.
    results = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    return (
        TopicSpec(kafka.documents_topic, "documents in", partitions, inputs),
        TopicSpec(kafka.replay_topic, "replayed dead letters in", partitions, replays),
        TopicSpec(kafka.results_topic, "results out", partitions, results),
        TopicSpec(kafka.dead_letters_topic, "dead letters out", partitions, letters),
        TopicSpec(kafka.parked_topic, "dead letters put aside", partitions, letters),
    )


def decode_limits(settings: Settings) -> DecodeLimits:
    """What is too large for an event."""
    document = settings.document
    return DecodeLimits(
        max_chunks=document.max_chunks,
        max_chunk_bytes=document.max_chunk_bytes,
        max_bytes=document.max_bytes,
    )


def source_config(settings: Settings) -> SourceConfig:
    """How the service takes part in its consumer group."""
    kafka = settings.kafka
    return SourceConfig(
        topics=(kafka.documents_topic, kafka.replay_topic),
        group_id=kafka.group_id,
        auto_offset_reset=kafka.auto_offset_reset,
        session_timeout=kafka.session_timeout_seconds,
        unfold_limit=settings.document.max_batch_bytes,
        drain_timeout=settings.upload.timeout_seconds + kafka.delivery_timeout_seconds,
    )


def retry_policy(settings: Settings) -> RetryPolicy:
    """Attempts and pauses of uploads."""
    upload = settings.upload
    return RetryPolicy(upload.attempts, upload.backoff_base_seconds, upload.backoff_cap_seconds)
