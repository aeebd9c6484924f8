"""How to reach an AnythingLLM, and how gently to treat it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from consumer import __version__
from consumer.anythingllm.vector_databases import DATABASES
from consumer.model.identity import IdentityTemplate
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.renewable_secret import RenewableSecret


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """When the client stops asking, and when it asks again.

    Args:
        failure_threshold: failures in a row (connection errors, timeouts, 5xx) that open it.
        recovery_timeout: seconds until one call is let through again as a trial.
        timeout_seconds: total time for one call, uploads and removals excepted.

    Raises:
        ValueError: a number is not above 0.
    """

    failure_threshold: int = 3
    recovery_timeout: float = 60.0
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        _above_zero(self, "failure_threshold", "recovery_timeout", "timeout_seconds")


@dataclass(frozen=True, slots=True)
class AnythingLLMConfig:
    """Everything the client has to know.

    Args:
        endpoint: ``http(s)://host[:port][/prefix]``, with or without a trailing ``/`` or ``/api``.
        api_key: a developer API key; never shown in a repr.
        circuit_breaker: thresholds and the timeout of ordinary calls.
        upload_timeout: seconds for one chunk's upload or embedding. Long, because AnythingLLM goes
            on after a client has given up: a short one makes doubles.
        removal_timeout: seconds for one removal request. Removing takes 0.2 to 5 s a chunk on a
            large workspace (AnythingLLM 1.16, LanceDB).
        document_timeout: seconds for the whole of `upload_document` or `delete_document`, all
            attempts and waits included. At 10 chunks a second it is enough for 9,000 chunks.
        max_chunks_in_flight: uploads at a time in all. More than about 8 only adds waiting: each
            costs the server 52 ms of its only thread.
        retry: attempts and waits of `upload_document`.
        user_agent: the ``User-Agent`` header.
        ca_file: a PEM file with further certificate authorities to trust.
        trust_env: whether proxies named in the environment are used.
        create_workspaces: whether missing workspaces are created.
        group: the consumer group of the stream, where this is its only server: one that keeps marks
            of others for it stores and lists nothing, because another may have it.
        identity: the template of DOCUMENT_IDENTITY, for `delete_document` with an identity.
        ambiguity_seconds: how long an upload without a clear answer is looked for at most before
            it is sent again. The server may go on for 600 s; shorter risks doubles.
        sentinel_pause: seconds between the two looks at a fresh workspace's sentinel; it has to be
            longer than a concurrent first upload needs to create the workspace's table.
        vector_db: the name of AnythingLLM's vector database, where a proxy hides
            ``/api/utils/metrics``; "" asks the server.
        max_response_bytes: larger answers are refused, but for listings that are read row by row.
        renewable_key: where the key is read again when it is refused; None: it stays.

    Raises:
        ValueError: a value is wrong on its face; the message never holds the key.
    """

    endpoint: str
    api_key: str = field(repr=False)
    circuit_breaker: CircuitBreakerConfig = field(default_factory=CircuitBreakerConfig)
    upload_timeout: float = 120.0
    removal_timeout: float = 600.0
    document_timeout: float = 900.0
    max_chunks_in_flight: int = 5
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    user_agent: str = f"anythingllm-consumer/{__version__}"
    ca_file: str | None = None
    trust_env: bool = False
    create_workspaces: bool = True
    group: str = ""
    identity: str = "{id}"
    ambiguity_seconds: float = 600.0
    sentinel_pause: float = 1.0
    vector_db: str = ""
    max_response_bytes: int = 128 * 1024 * 1024
    renewable_key: RenewableSecret | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _base_url(self.endpoint)
        IdentityTemplate.parse(self.identity)
        _header_safe("api_key", value=self.api_key)
        _header_safe("user_agent", value=self.user_agent)
        if self.vector_db and self.vector_db not in DATABASES:
            raise ValueError(f"vector_db must be one of {', '.join(DATABASES)}")
        _above_zero(
            self,
            "upload_timeout",
            "removal_timeout",
            "document_timeout",
            "max_chunks_in_flight",
            "max_response_bytes",
        )
        if self.ambiguity_seconds < 0 or self.sentinel_pause < 0:
            raise ValueError("ambiguity_seconds and sentinel_pause must not be negative")

    @property
    def base_url(self) -> str:
        """The address all paths are appended to, ending in ``/api``."""
        return _base_url(self.endpoint)

    @property
    def timeout(self) -> float:
        """Seconds for an ordinary call."""
        return self.circuit_breaker.timeout_seconds


# People copy it from the pages of the developer API, whose paths begin with /api/v1.
_API = re.compile(r"(/+api(/+v1)?)?/*\Z")


def _base_url(endpoint: str) -> str:
    parts = urlsplit(endpoint.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("endpoint must be http://host[:port] or https://host[:port]")
    if "@" in parts.netloc:
        # It would be printed wherever the endpoint is: the key has its own place.
        raise ValueError("endpoint must not hold a user name or password")
    if parts.query or parts.fragment or parts.port == 0:
        raise ValueError("endpoint must end after host, port and path")
    return f"{parts.scheme}://{parts.netloc}{_API.sub('', parts.path, count=1)}/api"


def _header_safe(name: str, *, value: str) -> None:
    if not value.strip():
        raise ValueError(f"{name} is empty")
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{name} holds characters that can't be sent (a line break, perhaps)")


def _above_zero(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be above 0")
