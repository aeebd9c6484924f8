"""What settings must be true of each other: a list of rules, each a pure function.

A rule gets complete settings and yields what breaks it. Rules about a setting that is itself
wrong are not reported: its default stands in for it and would only confuse.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from urllib.parse import urlsplit

from consumer.settings.kinds import show_size
from consumer.settings.table import REBALANCE_MARGIN_SECONDS, Settings

# The longest a group should be kept waiting for a member that gives its partitions back.
MAX_REBALANCE_SECONDS = 1800.0
_LOCAL = ("localhost", "127.", "::1", "host.docker.internal")


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken rule: the settings it is about, the one to change first, and what to do."""

    names: tuple[str, ...]
    message: str


Rule = Callable[[Settings], Iterator[Broken]]


def topics_differ(settings: Settings) -> Iterator[Broken]:
    """Reading what we write would go round for ever, so no two topics may be the same.

    Kafka itself takes ``.`` and ``_`` for the same in metric names and refuses the second topic.
    """
    kafka = settings.kafka
    named = {
        "KAFKA_DOCUMENTS_TOPIC": kafka.documents_topic,
        "KAFKA_REPLAY_TOPIC": kafka.replay_topic,
        "KAFKA_RESULTS_TOPIC": kafka.results_topic,
        "KAFKA_DEAD_LETTERS_TOPIC": kafka.dead_letters_topic,
        "KAFKA_PARKED_TOPIC": kafka.parked_topic,
    }
    by_topic: defaultdict[str, list[str]] = defaultdict(list)
    for name, topic in named.items():
        by_topic[topic.replace(".", "_")].append(name)
    for names in by_topic.values():
        for first, second in combinations(names, 2):
            yield Broken((second, first), f"must be another topic than {first} ({named[first]!r})")


def sasl_is_whole(settings: Settings) -> Iterator[Broken]:
    """SASL needs a user and a password, or a client at a token endpoint.

    The other ones of these, or any of them without SASL, would be ignored silently.
    """
    kafka = settings.kafka
    passwords: dict[str, object] = {
        "KAFKA_SASL_USERNAME": kafka.sasl_username,
        "KAFKA_SASL_PASSWORD": kafka.sasl_password,
    }
    tokens: dict[str, object] = {
        "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": kafka.sasl_oauth_token_endpoint,
        "KAFKA_SASL_OAUTH_CLIENT_ID": kafka.sasl_oauth_client_id,
        "KAFKA_SASL_OAUTH_CLIENT_SECRET": kafka.sasl_oauth_client_secret,
    }
    optional: dict[str, object] = {
        "KAFKA_SASL_OAUTH_SCOPE": kafka.sasl_oauth_scope,
        "KAFKA_SASL_OAUTH_EXTENSIONS": kafka.sasl_oauth_extensions,
        "KAFKA_SASL_OAUTH_CAFILE": kafka.sasl_oauth_cafile,
        "KAFKA_SASL_OAUTH_CLIENT_AUTH": "post" if kafka.sasl_oauth_client_auth == "post" else None,
    }
    protocol, bearer = kafka.security_protocol, kafka.sasl_mechanism == "OAUTHBEARER"
    needed, others = (tokens, passwords) if bearer else (passwords, tokens | optional)
    if not protocol.startswith("SASL_"):
        for name in _given(passwords | tokens | optional):
            yield Broken((name, "KAFKA_SECURITY_PROTOCOL"), _unused(protocol, needed="SASL_SSL"))
        return
    for name in (name for name, value in needed.items() if value is None):
        yield Broken(
            (name, "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"),
            f"is needed with KAFKA_SECURITY_PROTOCOL={protocol}"
            + (" and KAFKA_SASL_MECHANISM=OAUTHBEARER" if bearer else ""),
        )
    for name in _given(others):
        yield Broken(
            (name, "KAFKA_SASL_MECHANISM"),
            f"has no effect with KAFKA_SASL_MECHANISM={kafka.sasl_mechanism}: leave it away"
            + ("" if bearer else ", or set that to OAUTHBEARER"),
        )


def _given(values: Mapping[str, object]) -> Iterator[str]:
    return (name for name, value in values.items() if value is not None)


def tls_is_whole(settings: Settings) -> Iterator[Broken]:
    """TLS files without TLS would be ignored silently; a key belongs to a certificate."""
    kafka = settings.kafka
    given = {
        "KAFKA_SSL_CAFILE": kafka.ssl_cafile,
        "KAFKA_SSL_CERTFILE": kafka.ssl_certfile,
        "KAFKA_SSL_KEYFILE": kafka.ssl_keyfile,
        "KAFKA_SSL_KEY_PASSWORD": kafka.ssl_key_password,
    }
    if not kafka.security_protocol.endswith("SSL"):
        for name in (name for name, value in given.items() if value is not None):
            yield Broken(
                (name, "KAFKA_SECURITY_PROTOCOL"),
                _unused(kafka.security_protocol, needed="SSL or SASL_SSL"),
            )
    for name in ("KAFKA_SSL_KEYFILE", "KAFKA_SSL_KEY_PASSWORD"):
        if given[name] is not None and kafka.ssl_certfile is None:
            yield Broken((name, "KAFKA_SSL_CERTFILE"), "needs KAFKA_SSL_CERTFILE beside it")


def times_fit(settings: Settings) -> Iterator[Broken]:
    """Times that would break a promise when they are in the wrong order."""
    upload = settings.upload
    if settings.rebalance_timeout_seconds > MAX_REBALANCE_SECONDS:
        yield Broken(
            ("UPLOAD_TIMEOUT_SECONDS", "KAFKA_DELIVERY_TIMEOUT_SECONDS"),
            f"with KAFKA_DELIVERY_TIMEOUT_SECONDS and {REBALANCE_MARGIN_SECONDS:g} seconds the"
            f" group would wait {settings.rebalance_timeout_seconds:g} seconds in a rebalance;"
            f" at most {MAX_REBALANCE_SECONDS:g} are allowed",
        )
    if upload.timeout_seconds > settings.anythingllm.ambiguity_seconds:
        yield Broken(
            ("ANYTHINGLLM_AMBIGUITY_SECONDS", "UPLOAD_TIMEOUT_SECONDS"),
            "must be at least UPLOAD_TIMEOUT_SECONDS"
            f" ({upload.timeout_seconds:g}): an upload that still runs would be repeated",
        )
    if upload.backoff_base_seconds > upload.backoff_cap_seconds:
        yield Broken(
            ("UPLOAD_BACKOFF_BASE_SECONDS", "UPLOAD_BACKOFF_CAP_SECONDS"),
            f"must be at most UPLOAD_BACKOFF_CAP_SECONDS ({upload.backoff_cap_seconds:g})",
        )


def sizes_fit(settings: Settings) -> Iterator[Broken]:
    """Bounds that would stop the stream for ever, or never be reached."""
    document, intake, fuse = settings.document, settings.intake, settings.fuse
    if intake.max_bytes_in_flight < document.max_bytes:
        yield Broken(
            ("INTAKE_MAX_BYTES_IN_FLIGHT", "DOCUMENT_MAX_BYTES"),
            f"must be at least DOCUMENT_MAX_BYTES ({show_size(document.max_bytes)}),"
            " or the largest documents never fit",
        )
    if document.max_chunk_bytes > document.max_bytes:
        yield Broken(
            ("DOCUMENT_MAX_CHUNK_BYTES", "DOCUMENT_MAX_BYTES"),
            f"must be at most DOCUMENT_MAX_BYTES ({show_size(document.max_bytes)})",
        )
    if fuse.minimum > fuse.window:
        yield Broken(
            ("FUSE_MINIMUM", "FUSE_WINDOW"),
            f"must be at most FUSE_WINDOW ({fuse.window}), or the fuse never acts;"
            " FUSE_SHARE=0 switches it off",
        )


def routing_works(settings: Settings) -> Iterator[Broken]:
    """Template, map and allowed workspaces must leave a way for at least some documents."""
    try:
        settings.routing.rules()
    except ValueError as error:
        names = ("ROUTING_WORKSPACE", "ROUTING_ALLOWED_WORKSPACES", "ROUTING_MAP")
        yield Broken(names, str(error).removeprefix("ROUTING_WORKSPACE ") or "can't be used")


def servers_are_listed(settings: Settings) -> Iterator[Broken]:
    """Pins lead to servers of the list."""
    ours = settings.anythingllm
    listed = {each.name for each in ours.endpoints or ()}
    if names := set((ours.pins or {}).values()) - listed:
        yield Broken(
            ("ANYTHINGLLM_PINS", "ANYTHINGLLM_ENDPOINTS"),
            f"servers that are not in ANYTHINGLLM_ENDPOINTS: {', '.join(sorted(names))}",
        )


def several_servers_are_on_trial(settings: Settings) -> Iterator[Broken]:
    """What is known to go wrong there stores texts twice: nobody is to meet it unasked."""
    ours = settings.anythingllm
    if ours.endpoints and not ours.endpoints_trial:
        yield Broken(
            ("ANYTHINGLLM_ENDPOINTS", "ANYTHINGLLM_ENDPOINTS_TRIAL"),
            "several servers are on trial: they can store texts twice (README, Several servers)."
            " Use ANYTHINGLLM_ENDPOINT; to try them where that does no harm, set"
            " ANYTHINGLLM_ENDPOINTS_TRIAL=true",
        )


def packs_are_on_trial(settings: Settings) -> Iterator[Broken]:
    """Packs are not proven to store every text exactly once: nobody is to try them unasked."""
    upload = settings.upload
    if upload.chunks_per_pack != 1 and not upload.packs_trial:
        yield Broken(
            ("UPLOAD_CHUNKS_PER_PACK", "UPLOAD_PACKS_TRIAL"),
            "packs are on trial, and not proven to lose no text and to store none twice (README,"
            " Packs). Leave it at 1; to try them where nothing can be lost, set"
            " UPLOAD_PACKS_TRIAL=true",
        )


RULES: tuple[Rule, ...] = (
    packs_are_on_trial,
    several_servers_are_on_trial,
    servers_are_listed,
    topics_differ,
    sasl_is_whole,
    tls_is_whole,
    times_fit,
    sizes_fit,
    routing_works,
)


def broken_rules(settings: Settings) -> Iterator[Broken]:
    """Everything that breaks a rule."""
    for rule in RULES:
        yield from rule(settings)


def doubts(settings: Settings) -> Iterator[str]:
    """Allowed, but worth a line in the log: secrets that travel readable."""
    kafka = settings.kafka
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "OAUTHBEARER":
        yield (
            "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT: documents and tokens travel readable;"
            " SASL_SSL hides both"
        )
    elif kafka.security_protocol == "SASL_PLAINTEXT":
        yield (
            "KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT: documents travel readable, and with"
            " KAFKA_SASL_MECHANISM=PLAIN the password too; SASL_SSL hides both"
        )
    if (host := _readable_host(kafka.sasl_oauth_token_endpoint or "")) is not None:
        yield (
            f"KAFKA_SASL_OAUTH_TOKEN_ENDPOINT: the client secret travels readable to {host};"
            " https:// hides it"
        )
    for each in settings.anythingllm.endpoints or ():
        if (host := _readable_host(each.url)) is not None:
            yield f"ANYTHINGLLM_ENDPOINTS: a key travels readable to {host}; https:// hides it"
    if (host := _readable_host(settings.anythingllm.endpoint)) is not None:
        yield (f"ANYTHINGLLM_ENDPOINT: the API key travels readable to {host}; https:// hides it")


def _readable_host(url: str) -> str | None:
    """The host that gets what is sent there readable, where it is another machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    away = parts.scheme == "http" and "." in host and not host.startswith(_LOCAL)
    return host if away else None


def _unused(protocol: str, *, needed: str) -> str:
    return (
        f"has no effect with KAFKA_SECURITY_PROTOCOL={protocol}:"
        f" set that to {needed}, or leave this away"
    )
