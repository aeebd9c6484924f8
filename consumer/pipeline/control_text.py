"""Control texts: as long as the text they are compared with, and made of the same characters. Pure.

A short sentence passes where an embedder is out of tokens, or slow with long texts, and every long
document beside it would look like poison. So a control is as heavy as its text: as many characters,
of the same scripts. It never holds any of the text itself. It has letters, digits, common signs and
blanks only, and no two signs side by side: what is odd in a text may be what the embedder can't
take, or what a firewall looks for (``--``, ``../``).

No two variants are the same: a cache before the embedder would let a control pass in an outage.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import shake_128

_STRETCH = 4_096  # characters made one by one; more of them repeat, or 1 MiB would hold the loop
_TENTHS = 10
_PROSE = 0.8  # share of small letters and blanks from which on it is made of words
_POOL = 64  # letters of a script that are used
_WIDE = 0x2000  # from here on scripts are large, and so are the parts that count as one

_ASCII: Mapping[str, str] = {
    "small": "etaoinshrdlucmfwypvbgkjqxz",
    "capital": "ETAOINSHRDLUCMFWYPVBGKJQXZ",
    "digit": "0123456789",
    "sign": ".,;:-()/",
    "blank": " ",
}
_SIGNS_IN_A_ROW = re.compile(f"[{re.escape(_ASCII['sign'])}]{{2,}}")
_SENTENCE = (
    "a plain sentence that every embedder can embed says what it means and ends before long so the"
    " next one may begin where the first left off while nothing in it is new to anybody who reads"
)
_WORDS = tuple(_SENTENCE.split())


@dataclass(frozen=True, slots=True)
class TextKind:
    """What a text is made of.

    Args:
        shares: tenths of its characters by class; a class is a name of ASCII or a part of Unicode.
        is_prose: whether it is made of words of small letters.
    """

    shares: tuple[tuple[str, int], ...]
    is_prose: bool


PLAIN = TextKind((), is_prose=True)
"""English prose, which every embedder takes."""


def kind_of(text: str) -> TextKind:
    """The kind of a text; characters that make up less than a twentieth of it leave no trace."""
    counts: Counter[str] = Counter()
    for ch, count in Counter(text).items():
        counts[_class_of(ch)] += count
    total = max(len(text), 1)
    tenths = {name: round(_TENTHS * count / total) for name, count in counts.items()}
    shares = tuple(sorted((name, each) for name, each in tenths.items() if each))
    is_prose = (counts["small"] + counts["blank"]) / total >= _PROSE and counts["blank"] > 0
    return TextKind(shares, is_prose)


def control_text(length: int, kind: TextKind, variant: int) -> str:
    """A text of so many characters and of that kind, never blank where there are any."""
    noise = shake_128(f"{length} {kind} {variant}".encode()).digest(2 * _STRETCH)
    stretch = _words(noise) if kind.is_prose else _characters(noise, kind)
    repeated = (stretch * (length // len(stretch) + 1))[:length]
    # A text that ended in a blank would be shorter for whoever trims it.
    return repeated[:-1] + "e" if repeated[-1:].isspace() else repeated


def _words(noise: bytes) -> str:
    # Few enough that the stretch stays short, however long the words are.
    return " ".join(_WORDS[byte % len(_WORDS)] for byte in noise[: _STRETCH // 4]) + " "


def _characters(noise: bytes, kind: TextKind) -> str:
    pools = [_pool(name) for name, tenths in kind.shares for _ in range(tenths)]
    pools = pools or [_ASCII["small"]]
    picked = zip(noise[::2], noise[1::2], strict=True)
    characters = (_of(pools[which % len(pools)], byte) for which, byte in picked)
    return "e" + _SIGNS_IN_A_ROW.sub(_parted, "".join(characters))


def _parted(signs: re.Match[str]) -> str:
    """The same number of characters, where every other sign is a letter."""
    return "".join(sign if n % 2 == 0 else "e" for n, sign in enumerate(signs[0]))


def _of(pool: str, byte: int) -> str:
    return pool[byte % len(pool)]


def _class_of(ch: str) -> str:
    if ch.isspace():
        return "blank"
    if not ch.isalnum():
        return "sign"
    if not ch.isascii():
        return _part_of(ord(ch))
    if ch.isdigit():
        return "digit"
    return "small" if ch.islower() else "capital"


def _part_of(code: int) -> str:
    width = 0x80 if code < _WIDE else 0x1000
    return f"{code - code % width:x} {width:x}"


def _pool(name: str) -> str:
    if name in _ASCII:
        return _ASCII[name]
    start, width = (int(part, 16) for part in name.split())
    letters = (chr(code) for code in range(start, start + width))
    pool = "".join(ch for ch in letters if ch.isalpha())
    step = max(len(pool) // _POOL, 1)
    return pool[::step][:_POOL] or _ASCII["small"]
