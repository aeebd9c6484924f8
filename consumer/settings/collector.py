"""What OpenTelemetry's own variables say of the collector: its address, and what of it is secret.

OpenTelemetry reads them itself; here is what `check` tells of them and the log must not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_BETWEEN = re.compile(r"""[,=:;\s"']+""")
_SHORTEST_PART = 6  # shorter ones would be found in every other word
# Usual words of a header: masked, they would only spoil the log.
_NO_SECRETS = frozenset({"authorization", "bearer", "api-key", "x-api-key"})
_PREFIX = "OTEL_EXPORTER_OTLP_"
_DEFAULT = "http://localhost:4318"
_PATH = "/v1/traces"
_PROTOCOL = "http/protobuf"  # the one that the extra `otel` has an exporter for


def collector_address() -> str:
    """`address_in` of this process's environment.

    Raises:
        ValueError: as `address_in`.
    """
    return address_in(os.environ)


def address_in(environment: Mapping[str, str]) -> str:
    """Where spans go by OTLP over HTTP, without user, password and query: these may be secrets.

    The rules are those of OpenTelemetry's specification of OTLP exporters: a variable for traces
    goes before the one for all signals, and only the latter gets a path.

    Raises:
        ValueError: that is no URL, or another protocol is asked for; names the variable.
    """
    name, protocol = _first_of(environment, "PROTOCOL", _PROTOCOL)
    if protocol.strip().lower() != _PROTOCOL:
        raise ValueError(f"{name} asks for a protocol that is not there: only {_PROTOCOL} is")
    name, given = _first_of(environment, "ENDPOINT", _DEFAULT)
    url = given if name == f"{_PREFIX}TRACES_ENDPOINT" else given.removesuffix("/") + _PATH
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(f"{name} is no URL that begins with http:// or https://")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _first_of(environment: Mapping[str, str], what: str, default: str) -> tuple[str, str]:
    """The variable that counts, and what it says."""
    general = f"{_PREFIX}{what}"
    for name in (f"{_PREFIX}TRACES_{what}", general):
        if given := environment.get(name):
            return name, given
    return general, default


def collector_secrets() -> frozenset[str]:
    """`header_secrets` of this process's environment."""
    return frozenset(header_secrets(os.environ))


def header_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """What may be a secret in the headers for a collector: each whole, and its parts.

    By parts, since a value in a wrong form can't be told from its name.
    """
    for text in filter(None, map(environment.get, _HEADERS)):
        for spelled in {text, unquote(text)}:
            parts = (each for each in _BETWEEN.split(spelled) if len(each) >= _SHORTEST_PART)
            yield from (spelled, *(each for each in parts if each.lower() not in _NO_SECRETS))
