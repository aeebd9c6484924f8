"""Makes anything safe to log: short, printable, and without secrets.

Values in log calls come from other trust zones: event fields, header bytes, answers of servers,
texts of exceptions. Rules:

1. Cleaning never raises. A log call that fails would take a worker down with it.
2. A registered secret is replaced wherever it occurs, also inside longer texts and in the forms
   it travels in (URL-encoded, base64); a field with a secret's name is masked whatever it holds.
3. Masking comes before shortening, or half a secret would survive at the cut.
4. Lone surrogates and characters that some viewer takes for a line end or that turn the direction
   of writing are escaped; line feeds are left to the renderer.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

MASK = "***"
MAX_TEXT = 2_000
MAX_TRACEBACK = 8_000
MAX_ITEMS = 50
MAX_DEPTH = 4
# A shorter secret would be found by chance in every other word and make the log unreadable.
MIN_SECRET = 4

_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:api[_-]?key|pass(?:word|wd|phrase)|secret|authorization|cookie|credentials?"
    r"|private[_-]?key|key[_-]?password|(?:access|auth|bearer)[_-]?token)s?$",
    re.IGNORECASE,
)
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_INT64 = 2**63


class Scrubber:
    """Cleans log fields.

    Args:
        secrets: exact values that must never be seen; shorter ones than four characters can only
            be masked by the name of their field.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._secrets: re.Pattern[str] | None = None
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Mask these as well from now on; those that are known stay so."""
        for secret in secrets:
            if len(secret) >= MIN_SECRET:
                self._known |= _forms(secret)
        # Longest first: otherwise a secret that is the start of another would leave its tail.
        ordered = sorted(self._known, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def fields(self, event: Mapping[str, object]) -> dict[str, object]:
        """A whole event, ready for a renderer."""
        return {self.text(str(name), 200): self._field(name, event[name]) for name in event}

    def text(self, value: str, limit: int = MAX_TEXT) -> str:
        """A text without secrets and unsafe characters, at most ``limit`` characters and a mark."""
        masked = self.without_secrets(value)
        if len(masked) > limit:
            masked = f"{masked[:limit]}... ({len(masked) - limit} more)"
        if not masked.isascii():
            masked = masked.encode("utf-8", "backslashreplace").decode()
        return _UNSAFE.sub(_escaped, masked)

    def without_secrets(self, value: str) -> str:
        """The same text with every secret masked."""
        return value if self._secrets is None else self._secrets.sub(MASK, value)

    def tail(self, value: str) -> str:
        """A traceback: when it is too long its end is kept, which says what happened."""
        masked = self.without_secrets(value)
        return self.text(masked[-MAX_TRACEBACK:], MAX_TRACEBACK)

    def _field(self, name: object, value: object) -> object:
        if value is not None and _SECRET_NAME.search(str(name)):
            return MASK
        if name == "exception" and isinstance(value, str):
            return self.tail(value)
        return self._value(value, MAX_DEPTH)

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if type(value) is int:
            return value if -_INT64 <= value < _INT64 else self.text(_safe_str(value))
        if type(value) is float:
            return value if math.isfinite(value) else str(value)
        if type(value) is str:
            return self.text(value)
        if isinstance(value, bytes | bytearray):
            return self.text(bytes(value[: 4 * MAX_TEXT]).decode("utf-8", "backslashreplace"))
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._collection(value, depth)
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {_safe_str(value)}")
        return self.text(_safe_str(value))

    def _collection(
        self,
        value: Mapping[object, object] | Iterable[object],
        depth: int,
    ) -> object:
        if depth == 0:
            return "..."
        if isinstance(value, Mapping):
            pairs = list(value.items())[:MAX_ITEMS]
            return {
                self.text(_safe_str(key), 200): (
                    MASK if _SECRET_NAME.search(_safe_str(key)) else self._value(item, depth - 1)
                )
                for key, item in pairs
            }
        items = list(value)
        kept = [self._value(item, depth - 1) for item in items[:MAX_ITEMS]]
        return kept if len(items) <= MAX_ITEMS else [*kept, f"... ({len(items) - MAX_ITEMS} more)"]


def has_secret_name(name: str) -> bool:
    """Whether what has this name is a secret, whatever it holds."""
    return _SECRET_NAME.search(name) is not None


def _forms(secret: str) -> set[str]:
    """The spellings a secret may travel in."""
    raw = secret.encode("utf-8", "surrogateescape")
    encoded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return {secret, quote(raw, safe=""), quote_plus(raw), *encoded} | {
        one.rstrip("=") for one in encoded
    }


def _safe_str(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} that can't be printed>"


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
