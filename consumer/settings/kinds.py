"""How the text of a setting becomes a value, and what to tell people who got it wrong.

A `SettingKind` is a parser together with the sentence that says what it accepts. Parsers raise
``ValueError``; its text is only used where it adds something to that sentence, and never
contains the value itself, because the value may be a secret.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

T = TypeVar("T")

_SIZE = re.compile(r"(?P<number>\d[\d_]*)\s*(?P<unit>B|KiB|MiB|GiB)?", re.IGNORECASE)
_FACTORS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_SLUG_PATTERN = re.compile(r"[a-z0-9_*?-]{1,255}")
_TRUTH = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class SettingKind(Generic[T]):
    """A way to read a setting.

    Args:
        allowed: what is accepted, as the end of the sentence "allowed: …".
        parse: text without surrounding blanks to value; raises ``ValueError``.
        secret: the value is never shown, and may come from a file (``NAME_FILE``).
        hidden: the value is never shown, because it names secrets' files.
    """

    allowed: str
    parse: Callable[[str], T]
    secret: bool = False
    hidden: bool = False


def text(allowed: str, pattern: str) -> SettingKind[str]:
    """Any text that matches the whole pattern."""
    matcher = re.compile(pattern)

    def parse(raw: str) -> str:
        return _require(raw, matcher.fullmatch(raw) is not None)

    return SettingKind(allowed, parse)


def choice(*values: str) -> SettingKind[str]:
    """One of a few words, whatever its case."""
    by_folded = {value.casefold(): value for value in values}

    def parse(raw: str) -> str:
        if raw.casefold() not in by_folded:
            raise ValueError
        return by_folded[raw.casefold()]

    return SettingKind(", ".join(values[:-1]) + f" or {values[-1]}", parse)


def flag() -> SettingKind[bool]:
    """A yes or no."""

    def parse(raw: str) -> bool:
        if raw.casefold() not in _TRUTH:
            raise ValueError
        return _TRUTH[raw.casefold()]

    return SettingKind("true or false", parse)


def count(least: int, most: int, what: str) -> SettingKind[int]:
    """A whole number of something."""

    def parse(raw: str) -> int:
        return _within(_number(int, raw), least, most)

    return SettingKind(f"a whole number of {what}, {least:,} to {most:,}", parse)


def count_or_auto(least: int, most: int, what: str) -> SettingKind[int | None]:
    """A whole number of something, or None for the word `auto`."""
    number = count(least, most, what)

    def parse(raw: str) -> int | None:
        return None if raw.casefold() == "auto" else number.parse(raw)

    return SettingKind(f"{number.allowed}, or auto", parse)


def port() -> SettingKind[int]:
    """A TCP port; 0 lets the system pick."""
    return SettingKind("a port, 0 to 65535", lambda raw: _within(_number(int, raw), 0, 65535))


def seconds(least: float, most: float) -> SettingKind[float]:
    """A duration in plain seconds."""

    def parse(raw: str) -> float:
        return _within(_number(float, raw), least, most)

    return SettingKind(f"seconds, {least:g} to {most:,g}", parse)


def share() -> SettingKind[float]:
    """A part of a whole."""
    return SettingKind("a share, 0 to 1", lambda raw: _within(_number(float, raw), 0.0, 1.0))


def size(least: int, most: int) -> SettingKind[int]:
    """A number of bytes, plain or with a binary unit."""

    def parse(raw: str) -> int:
        match = _SIZE.fullmatch(raw)
        if match is None:
            raise ValueError
        factor = _FACTORS[(match["unit"] or "").lower()]
        return _within(_number(int, match["number"]) * factor, least, most)

    span = f"{show_size(least)} to {show_size(most)}"
    return SettingKind(f"bytes, plain or as KiB, MiB, GiB, {span}", parse)


def show_size(number: int) -> str:
    """A size as people write it: ``8 MiB``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= factor and number % factor == 0:
            return f"{number // factor} {unit}"
    return f"{number} B"


def secret() -> SettingKind[SecretStr]:
    """A text that nobody gets to see."""
    return SettingKind("any text", SecretStr, secret=True)


def header_secret() -> SettingKind[SecretStr]:
    """A secret that travels in an HTTP header, where blanks and line ends would break out."""

    def parse(raw: str) -> SecretStr:
        return SecretStr(_require(raw, re.fullmatch(r"[!-~]+", raw) is not None))

    return SettingKind("printable ASCII without blanks", parse, secret=True)


def topic() -> SettingKind[str]:
    """A name Kafka accepts for a topic."""

    def parse(raw: str) -> str:
        return _require(raw, _TOPIC.fullmatch(raw) is not None and raw not in {".", ".."})

    return SettingKind("a topic name: 1 to 249 of A-Z a-z 0-9 . _ -", parse)


def servers() -> SettingKind[str]:
    """Kafka's bootstrap list, normalised to ``host:port,host:port``."""

    def parse(raw: str) -> str:
        parts = items(raw)
        matches = [_SERVER.fullmatch(part) for part in parts]
        ports = [int(match["port"]) for match in matches if match is not None]
        sound = bool(parts) and len(ports) == len(parts) and all(0 < p < 65536 for p in ports)
        return _require(",".join(parts), sound)

    return SettingKind("host:port, several with commas between", parse)


def host_names() -> SettingKind[tuple[str, ...]]:
    """Names of hosts as they stand in URLs, without port."""

    def parse(raw: str) -> tuple[str, ...]:
        parts = tuple(_bracketed(part.lower()) for part in items(raw))
        if not parts or not all(_HOST.fullmatch(part) for part in parts):
            raise ValueError
        return parts

    return SettingKind("host names or addresses without port, with commas between", parse)


def _bracketed(host: str) -> str:
    """An IPv6 address as it stands in URLs; anything else as it is."""
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host


def slug_patterns() -> SettingKind[tuple[str, ...]]:
    """Patterns over workspace slugs, or ``*`` for any."""

    def parse(raw: str) -> tuple[str, ...]:
        parts = tuple(items(raw))
        if not parts or not all(_SLUG_PATTERN.fullmatch(part) for part in parts):
            raise ValueError
        return parts

    return SettingKind(
        "workspace slugs with commas between; `*` and `?` stand for any characters", parse
    )


def url() -> SettingKind[str]:
    """An http(s) base URL."""

    def parse(raw: str) -> str:
        sound = _names_a_server(raw, "the key goes into ANYTHINGLLM_API_KEY")
        return _require(raw.rstrip("/"), sound and re.search(r"[\s?#]", raw) is None)

    return SettingKind("an http:// or https:// URL without query and fragment", parse)


def _names_a_server(raw: str, secrets: str) -> bool:
    """Whether an http(s) URL has a host and no impossible port.

    Args:
        raw: the URL.
        secrets: what is said where there are any in it: where they belong.

    Raises:
        ValueError: it is no URL, or there is a user or password in it.
    """
    try:
        parts = urlsplit(raw)
        # Reading .port raises when it is no number or out of range.
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"no user and password in it: {secrets}")
    return sound


def token_url() -> SettingKind[str]:
    """The URL of a token endpoint, which secrets are sent to; it may have a query."""

    def parse(raw: str) -> str:
        sound = _names_a_server(raw, "they have settings of their own")
        return _require(raw, sound and re.search(r"[\s#]", raw) is None)

    return SettingKind("an http:// or https:// URL", parse)


def extensions() -> SettingKind[tuple[tuple[str, str], ...]]:
    """SASL extensions of OAUTHBEARER (RFC 7628, 3.1): names of letters, printable values."""

    def parse(raw: str) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for part in items(raw):
            name, _, value = part.partition("=")
            sound = re.fullmatch(r"[A-Za-z]+", name) and re.fullmatch(r"[!-~]+", value)
            if not sound or name.lower() == "auth" or name in found:
                raise ValueError
            found[name] = value
        return tuple(found.items())

    return SettingKind("name=value, several with commas between; names of letters, not auth", parse)


def readable_file() -> SettingKind[Path]:
    """A file that is there and can be read now: a wrong path would look like an outage later."""

    def parse(raw: str) -> Path:
        path = Path(raw)
        if not path.is_file():
            raise ValueError("there is no such file")
        if not os.access(path, os.R_OK):
            raise ValueError("the file can't be read by this user")
        return path

    return SettingKind("the path of a readable PEM file", parse)


def parsed(allowed: str, parse: Callable[[str], T]) -> SettingKind[T]:
    """What another room knows how to parse; the text of its ``ValueError`` says what is wrong."""
    return SettingKind(allowed, parse)


def items(raw: str) -> Sequence[str]:
    """What stands between commas."""
    return [part.strip() for part in raw.split(",") if part.strip()]


def secret_from(path: Path) -> str:
    """The secret in a file.

    Raises:
        OSError: the file can't be read.
        ValueError: there is no text in it.
    """
    try:
        content = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        # Its own text repeats the bytes.
        raise ValueError("it holds no UTF-8 text") from None
    if not content:
        raise ValueError("it is empty")
    return content


def _require(raw: str, sound: bool) -> str:
    if not sound:
        raise ValueError
    return raw


Number = TypeVar("Number", int, float)


def _number(read: Callable[[str], Number], raw: str) -> Number:
    try:
        return read(raw)
    except ValueError:
        # Python's own text repeats the value.
        raise ValueError from None


def _within(number: Number, least: Number, most: Number) -> Number:
    if not (math.isfinite(number) and least <= number <= most):
        raise ValueError
    return number
