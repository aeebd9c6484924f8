"""What of OpenTelemetry's own variables is secret: the headers for a collector may hold a token."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_BETWEEN = re.compile(r"""[,=:;\s"']+""")
_SHORTEST_PART = 6  # shorter ones would be found in every other word
# Usual words of a header: masked, they would only spoil the log.
_NO_SECRETS = frozenset({"authorization", "bearer", "api-key", "x-api-key"})


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
