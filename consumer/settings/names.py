"""Which names are ours, which only look like ours, and which are somebody else's.

pydantic-settings and most others ignore a mistyped variable, and the service then runs with a
default nobody chose. So a name that looks like one of ours is an error that tells the right
spelling. A shared prefix alone means nothing: ``KAFKA_OPTS`` and ``KAFKA_HEAP_OPTS`` belong to
Kafka's own scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from consumer.settings.table import TABLE

FILE_SUFFIX = "_FILE"
MAP_NAME = "ROUTING_MAP"
SECRETS = frozenset(row.name for row in TABLE.values() if row.spec.kind.secret)
NAMES = frozenset(TABLE) | {name + FILE_SUFFIX for name in SECRETS}

# One wrong letter in ten; two in twenty. Less similar names are taken for somebody else's.
_CLOSE = 0.9
_UNITS = frozenset({"SECONDS", "SECS", "SEC", "S", "MILLIS", "MS", "BYTES", "MB", "MIB"})
_OF_TESTS = ("ANYTHINGLLM_TEST_", "TEST_")
# What Kubernetes injects for every service of a namespace, here for services named like our groups.
_LINK_NAME = re.compile(r"_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


def is_service_link(value: str) -> bool:
    """Whether a value is an address that Kubernetes injected for a service."""
    return _LINK_VALUE.match(value) is not None


def meant(name: str) -> str | None:
    """The setting that a name which is not ours was probably meant to be, or None.

    >>> meant("KAFKA_BOOTSTRAP_SERVER"), meant("UPLOAD_TIMEOUT"), meant("KAFKA_OPTS")
    ('KAFKA_BOOTSTRAP_SERVERS', 'UPLOAD_TIMEOUT_SECONDS', None)
    """
    upper = name.upper().replace("-", "_").replace(".", "_")
    if upper in NAMES:
        return upper
    if _is_link_name(upper) or _is_elsewhere(upper):
        return None
    for alike in (_same_words, _some_words):
        found = [one for one in sorted(NAMES) if alike(upper, one)]
        if len(found) == 1:
            return found[0]
    return next(iter(get_close_matches(upper, sorted(NAMES), n=1, cutoff=_CLOSE)), None)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The most similar of a few names, for a message; None where none is similar."""
    return next(iter(get_close_matches(name, sorted(known), n=1, cutoff=0.6)), None)


def _is_link_name(name: str) -> bool:
    return any(
        _LINK_NAME.fullmatch(name.removeprefix(group))
        for group in {row.group.upper() for row in TABLE.values()}
        if name.startswith(group + "_")
    )


def _is_elsewhere(name: str) -> bool:
    """Names that contain ours on purpose: those of our tests, and somebody's ``MY_KAFKA_…``."""
    return name.startswith(_OF_TESTS) or any(name.endswith(f"_{ours}") for ours in NAMES)


def _same_words(name: str, ours: str) -> bool:
    """The same group and the same words: in another order, glued, or with another unit or none."""
    group, *words = name.split("_")
    our_group, *our_words = ours.split("_")
    if group != our_group or not words:
        return False
    return (
        "".join(words) == "".join(our_words)
        or sorted(words) == sorted(our_words)
        or _stem(words) == _stem(our_words)
    )


def _some_words(name: str, ours: str) -> bool:
    """The same group and at least half of the words (``KAFKA_GROUP``, ``ANYTHINGLLM_KEY``)."""
    group, *words = name.split("_")
    our_group, *our_words = ours.split("_")
    return (
        group == our_group
        and set(words) < set(our_words)
        and 2 * len(words) >= len(our_words)
        and not ours.endswith(FILE_SUFFIX)
    )


def _stem(words: list[str]) -> list[str]:
    return words[:-1] if len(words) > 1 and words[-1] in _UNITS else words
