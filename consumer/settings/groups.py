"""Every setting: its name, default, what is allowed, and what larger or smaller values do.

One class is one group, one field one setting. The environment's name is the group's name, an
underscore and the field's name in upper case (``kafka.group_id`` is ``KAFKA_GROUP_ID``), the
file's ``[kafka] group_id``. The README's table is made from this one, and a default is written
here as a person would write it, so that neither can disagree with what the service does.
"""

# ruff: noqa: RUF009  (a field's default and its row of the table are one expression)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import SecretStr

from consumer.model.identity import IdentityTemplate
from consumer.model.names import ServerName, Slug
from consumer.model.packing import MOST_CHUNKS
from consumer.model.routing import Routing
from consumer.settings.endpoints import Endpoint, endpoints, pins
from consumer.settings.kinds import (
    SettingKind,
    choice,
    count,
    count_or_auto,
    extensions,
    flag,
    header_secret,
    host_names,
    parsed,
    port,
    readable_file,
    seconds,
    secret,
    servers,
    share,
    size,
    slug_patterns,
    text,
    token_url,
    topic,
    url,
)

# One packed record batch may unfold to this many times the largest document.
BATCH_FACTOR = 8

# As AnythingLLM 1.16 names them; what each is like stands in `anythingllm/vector_databases.py`.
VECTOR_DATABASES = (
    "astra",
    "chroma",
    "chromacloud",
    "lancedb",
    "milvus",
    "pgvector",
    "pinecone",
    "qdrant",
    "weaviate",
    "zilliz",
)

KIB, MIB, GIB = 2**10, 2**20, 2**30
LEAST_BATCH = 32 * MIB
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """What the table knows about one setting.

    Args:
        kind: how its text is read.
        meaning: what it is, and what happens when it is larger or smaller.
        default: as a person writes it; None where there is none.
        required: the service can't start without it.
    """

    kind: SettingKind[Any]
    meaning: str
    default: str | None = None
    required: bool = False


def setting(default: str | None, kind: SettingKind[Any], meaning: str) -> Any:
    """A field of a group, with its row of the table."""
    value = None if default is None else kind.parse(default)
    return field(default=value, metadata={"spec": SettingSpec(kind, meaning, default)})


def required(kind: SettingKind[Any], meaning: str) -> Any:
    """A field without which nothing works."""
    return field(metadata={"spec": SettingSpec(kind, meaning, required=True)})


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where Kafka is, who we are there, and how patient we are with it."""

    bootstrap_servers: str = setting(
        "localhost:9092",
        servers(),
        "Brokers to ask first; naming more of them lets the service start while one is down.",
    )
    group_id: str = setting(
        "anythingllm-consumer",
        text("1 to 249 printable characters", r"[\x21-\x7e](?:[\x20-\x7e]{0,247}[\x21-\x7e])?"),
        "Consumer group; instances with the same one share the work, a new one starts from"
        " `KAFKA_AUTO_OFFSET_RESET`.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = setting(
        "PLAINTEXT",
        choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "How to speak to the brokers; without `SSL` documents and passwords travel readable.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = setting(
        "PLAIN",
        choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
        "How to prove who we are, where the protocol is one of `SASL_…`.",
    )
    sasl_username: str | None = setting(
        None, text("any text", r"[^\x00\r\n]+"), "User name for `SASL_…`."
    )
    sasl_password: SecretStr | None = setting(None, secret(), "Password for `SASL_…`.")
    sasl_oauth_token_endpoint: str | None = setting(
        None,
        token_url(),
        "For `OAUTHBEARER`: where tokens are asked for (client credentials).",
    )
    sasl_oauth_client_id: str | None = setting(
        None, text("any text", r"[^\x00\r\n]+"), "Our name at the token endpoint."
    )
    sasl_oauth_client_secret: SecretStr | None = setting(
        None, secret(), "Our secret at the token endpoint."
    )
    sasl_oauth_scope: str | None = setting(
        None,
        text("scopes with blanks between", r"[!#-\[\]-~]+( [!#-\[\]-~]+)*"),
        "What the token shall be good for; none: what the token endpoint decides.",
    )
    sasl_oauth_extensions: tuple[tuple[str, str], ...] | None = setting(
        None,
        extensions(),
        "What the brokers want to hear beside the token (Confluent Cloud:"
        " `logicalCluster=lkc-…,identityPoolId=pool-…`).",
    )
    sasl_oauth_client_auth: Literal["basic", "post"] = setting(
        "basic",
        choice("basic", "post"),
        "How id and secret travel: as HTTP Basic, or in the request's body.",
    )
    sasl_oauth_cafile: Path | None = setting(
        None, readable_file(), "Certificates to trust for the token endpoint; none: the system's."
    )
    ssl_cafile: Path | None = setting(
        None, readable_file(), "Certificates to trust; none: those of the system."
    )
    ssl_certfile: Path | None = setting(
        None, readable_file(), "Our certificate, where the brokers ask for one."
    )
    ssl_keyfile: Path | None = setting(
        None, readable_file(), "Its private key; none: it is in the certificate's file."
    )
    ssl_key_password: SecretStr | None = setting(None, secret(), "Password of the private key.")
    documents_topic: str = setting(
        "documents.processed", topic(), "Topic that documents are read from."
    )
    replay_topic: str = setting(
        "documents.processed.replay", topic(), "Topic that replayed dead letters are read from."
    )
    results_topic: str = setting(
        "documents.upload-results", topic(), "Topic that gets one result per event."
    )
    dead_letters_topic: str = setting(
        "documents.processed.dlq", topic(), "Topic that gets what can't be stored."
    )
    parked_topic: str = setting(
        "documents.processed.parked", topic(), "Topic for dead letters that are not to be replayed."
    )
    auto_offset_reset: Literal["earliest", "latest"] = setting(
        "earliest",
        choice("earliest", "latest"),
        "Where a group without committed offsets starts; `latest` skips what is there already.",
    )
    compression: Literal["none", "gzip", "lz4", "snappy", "zstd"] = setting(
        "lz4",
        choice("none", "gzip", "lz4", "snappy", "zstd"),
        "How results and dead letters are compressed; a broker that refuses one (some clouds take"
        " `gzip` only) acknowledges nothing. `gzip` is the slowest, `none` needs the most room.",
    )
    commit_interval_seconds: float = setting(
        "1",
        seconds(0.05, 60),
        "How often settled offsets are committed; larger: more is looked at again after a crash.",
    )
    session_timeout_seconds: float = setting(
        "45",
        seconds(1, 1800),
        "After this silence the group counts us as dead; smaller: crashes are noticed sooner, but"
        " a pause of the machine may count as one.",
    )
    delivery_timeout_seconds: float = setting(
        "120",
        seconds(1, HOUR),
        "How long one try to publish a result or dead letter may take before the producer is made"
        " anew; nothing is given up.",
    )


@dataclass(frozen=True, slots=True)
class AnythingLLMSettings:
    """Where AnythingLLM is and how long its answers may take."""

    api_key: SecretStr = required(
        header_secret(), "Developer API key (AnythingLLM: Settings, Developer API)."
    )
    endpoint: str = setting(
        "http://localhost:3001",
        url(),
        "Base URL, with or without `/api` or `/api/v1` at its end.",
    )
    endpoints: tuple[Endpoint, ...] | None = setting(
        None,
        endpoints(),
        "Several AnythingLLMs instead of one (README, Several servers); each key is read from its"
        " file.",
    )
    endpoints_trial: bool = setting(
        "false",
        flag(),
        "Whether several servers may be used: that is on trial, and can store texts twice (README,"
        " Several servers).",
    )
    pins: Mapping[Slug, ServerName] | None = setting(
        None,
        pins(),
        "Which of several servers a workspace lives on, where it shall not be found out.",
    )
    timeout_seconds: float = setting(
        "30",
        seconds(0.1, HOUR),
        "Total time of one request that is neither an upload nor a removal; smaller: a slow"
        " server looks like an outage.",
    )
    cafile: Path | None = setting(
        None, readable_file(), "Certificates to trust for https; none: those of the system."
    )
    vector_db: str = setting(
        "auto",
        choice("auto", *VECTOR_DATABASES),
        "AnythingLLM's vector database, where a proxy hides `/api/utils/metrics`; `auto`: asked"
        " there. A wrong one: chunks count as stored that are not.",
    )
    ambiguity_seconds: float = setting(
        "600",
        seconds(0, 24 * HOUR),
        "How long an unanswered upload may still take effect on the server; smaller than what the"
        " server really takes: chunks can be stored twice for a while.",
    )


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When to leave an ailing AnythingLLM alone."""

    failure_threshold: int = setting(
        "3",
        count(1, 1000, "failures"),
        "So many failures in a row stop all uploads for a while; larger: more requests go to a"
        " server that is down.",
    )
    recovery_seconds: float = setting(
        "60",
        seconds(0.1, HOUR),
        "Time between two looks at a server that is down; smaller: work resumes sooner, and a text"
        " that fails is judged over a shorter time (three of it), which short outages may mislead.",
    )


@dataclass(frozen=True, slots=True)
class FuseSettings:
    """When to stop rather than dead-letter everything."""

    share: float = setting(
        "0.5",
        share(),
        "Stop when this share of the latest documents used up their attempts; 0: never.",
    )
    window: int = setting(
        "200",
        count(1, 100_000, "documents"),
        "How many of the latest documents count; larger: it stops later and for better reason.",
    )
    minimum: int = setting(
        "50",
        count(1, 100_000, "documents"),
        "With fewer documents than this that used up their attempts it never stops.",
    )


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How hard to push AnythingLLM, and how often to try."""

    max_chunks_in_flight: int = setting(
        "5",
        count(1, 1000, "chunks"),
        "Uploads at once in all; larger: faster, until the server's embedder is the limit. A pack"
        " counts once.",
    )
    max_chunks_per_document: int = setting(
        "5",
        count(1, 1000, "chunks"),
        "Uploads at once for one document; smaller: large documents leave more room for others.",
    )
    chunks_per_pack: int | None = setting(
        "1",
        count_or_auto(1, MOST_CHUNKS, "chunks"),
        "Chunks of a document that share one AnythingLLM document; `auto`: 10 while there is a"
        " backlog, else 1. It changes only what is uploaded next; `workspaces repair --repack`"
        " packs the rest anew. Above 1 only with `UPLOAD_PACKS_TRIAL`.",
    )
    packs_trial: bool = setting(
        "false",
        flag(),
        "Whether chunks may be packed: that is on trial, and not proven to lose no text and to"
        " store none twice (README, Packs).",
    )
    attempts: int = setting(
        "3",
        count(1, 100, "attempts"),
        "Attempts of a chunk before anything is concluded from its failures; outages do not count.",
    )
    backoff_base_seconds: float = setting(
        "1",
        seconds(0.01, 600),
        "Upper bound of the random wait before the second attempt; it doubles each time.",
    )
    backoff_cap_seconds: float = setting(
        "60",
        seconds(0.01, HOUR),
        "Longest wait between two attempts; larger: gentler on a sick server, slower afterwards.",
    )
    timeout_seconds: float = setting(
        "120",
        seconds(1, 1800),
        "Total time of one upload; smaller: slow uploads are cut off, and since the server goes on"
        " with them they must be looked for before they are repeated.",
    )


@dataclass(frozen=True, slots=True)
class RemovalSettings:
    """How long removing stale chunks may take."""

    timeout_seconds: float = setting(
        "600",
        seconds(1, 2 * HOUR),
        "Total time of one removal, which takes seconds in a large workspace; smaller: removals"
        " are cut off and repeated.",
    )


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """How much may be under way at once."""

    max_documents_in_flight: int = setting(
        "32",
        count(1, 10_000, "documents"),
        "Documents in work at once; larger: more memory, and more to look at again after a crash.",
    )
    max_bytes_in_flight: int = setting(
        "64 MiB",
        size(64 * KIB, 64 * GIB),
        "Record bytes in work at once; memory in use is a few times this.",
    )
    max_aside_bytes: int = setting(
        "256 MiB",
        size(0, 64 * GIB),
        "Memory of documents that stand aside, about twice a record and 16 KiB each; larger: a sick"
        " workspace, or documents that fail again and again, hold up the others later.",
    )


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What is remembered of AnythingLLM's workspaces."""

    max_age_seconds: float = setting(
        "600",
        seconds(0, 24 * HOUR),
        "How old our picture of a workspace may be when it says nothing need be uploaded; smaller:"
        " more listings.",
    )
    max_bytes: int = setting(
        "256 MiB",
        size(MIB, 64 * GIB),
        "Memory for these pictures; smaller: workspaces are listed more often.",
    )


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """What a document is, and how large it may be."""

    identity: IdentityTemplate = setting(
        "{id}",
        parsed("a template over `{id}`, `{source_url}`, `{technology}`", IdentityTemplate.parse),
        "Which events speak of the same document; `{source_url}` lets a re-crawl with new ids"
        " replace the old state instead of piling up beside it.",
    )
    max_chunks: int = setting(
        "20000",
        count(1, 1_000_000, "chunks"),
        "Documents with more chunks are dead-lettered as `oversized`, and so are events with more"
        " JSON values than 50 for each of these chunks, or than a million if that is more.",
    )
    max_chunk_bytes: int = setting(
        "1 MiB",
        size(1, GIB),
        "Documents with a longer chunk are dead-lettered as `oversized`.",
    )
    max_bytes: int = setting(
        "8 MiB",
        size(KIB, GIB),
        "Larger records are dead-lettered as `oversized`; larger: more memory in the worst case.",
    )
    envelopes: bool = setting(
        "true",
        flag(),
        "Whether events and keys in envelopes are read (CloudEvents, Schema Registry, Kafka"
        " Connect, JSON in a string); false: only plain JSON is, as before this setting was there.",
    )

    @property
    def max_batch_bytes(self) -> int:
        """How large a compressed record batch may become when it is unpacked.

        Never less than what an ordinary producer packs into one batch, however small the documents
        may be: a limit below that would take good records for a bomb.
        """
        return max(BATCH_FACTOR * self.max_bytes, LEAST_BATCH)


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """Which workspace a document goes to. ``map`` comes from ``[routing.map]`` in the file only."""

    workspace: str = setting(
        "{technology}",
        text("a template over `{technology}`, or one slug", r"[\s\S]+"),
        "Where documents go that name no workspace themselves.",
    )
    create_workspaces: bool = setting(
        "true",
        flag(),
        "Whether missing workspaces are created; false: their documents wait until they exist.",
    )
    allowed_workspaces: tuple[str, ...] = setting(
        "*",
        slug_patterns(),
        "Only these are ever written to; others make an event `unroutable`.",
    )
    map: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def rules(self) -> Routing:
        """The rules these settings describe.

        Raises:
            ValueError: they contradict each other; loaded settings never do.
        """
        return Routing(
            workspace_template=self.workspace,
            map={technology: Slug(slug) for technology, slug in self.map.items()},
            allowed=self.allowed_workspaces,
        )


@dataclass(frozen=True, slots=True)
class ShutdownSettings:
    """How to stop."""

    drain_seconds: float = setting(
        "20",
        seconds(0, HOUR),
        "How long a stop waits for work under way; keep it below the grace period of whoever"
        " stops the process (Kubernetes: 30).",
    )


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How often a dead letter may come back."""

    max_replays: int = setting(
        "3",
        count(0, 1000, "replays"),
        "A dead letter that came back this often is parked instead.",
    )


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Where the health and metrics pages are, and who may see the status page."""

    host: str = setting(
        "127.0.0.1",
        text("a host name or address", r"[A-Za-z0-9._:-]{1,253}"),
        "Address to listen on; `0.0.0.0` lets other machines read health and metrics.",
    )
    port: int = setting(
        "8080", port(), "Port to listen on; 0 picks a free one and logs it (`admin.listening`)."
    )
    page: str = setting(
        "loopback",
        choice("loopback", "on", "off"),
        "Who gets the status page and its JSON: `loopback`, who connects over the loopback"
        " interface and not through a proxy; `on`, everybody who reaches the port, there is no"
        " login; `off`, nobody. Others get 404. Probes and metrics are always there.",
    )
    allowed_hosts: tuple[str, ...] | None = setting(
        None,
        host_names(),
        "Host names besides those of the loopback interface by which the status page may be asked"
        " for. Under any other it is refused, so that no web page elsewhere can read it (DNS"
        " rebinding).",
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, and for whom."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        choice("debug", "info", "warning", "error"),
        "Least important level that is written.",
    )
    format: Literal["auto", "json", "console"] = setting(
        "auto",
        choice("auto", "json", "console"),
        "`json`: one object a line, for machines; `console`: for people; `auto`: for people on a"
        " terminal, else JSON.",
    )


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Whether traces are made; where to and how many is set by the ``OTEL_`` variables."""

    enabled: bool = setting(
        "false",
        flag(),
        "Whether each event's way is noted as spans of OpenTelemetry (needs the extra `otel`; see"
        " Traces).",
    )
