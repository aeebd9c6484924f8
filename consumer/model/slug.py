# ruff: noqa: RUF001 - letters that look alike are what this file is about
"""Workspace slugs, derived from names as AnythingLLM 1.16 derives them.

The server makes a workspace's slug from its name and takes none from us, so a slug that it would
spell differently could never be created. The rules, in their order:

1. signs with a word of their own become it (``+`` plus, ``!`` bang, ``@`` at, ``*`` splat, ``.``
   dot, ``&`` and, ``%`` percent, ...); only those in `_SPACED` stand apart from their neighbours;
2. accents are dropped; ligatures, Greek, Cyrillic are spelt out (``ß`` is ss, ``я`` is ya);
3. what is still not an ASCII letter, digit, ``_`` or space is dropped (``/``, ``#``, 日本語);
4. runs of spaces and hyphens become one hyphen, none at the ends; all lower case.

A name without anything usable gives ``""`` (the server would make up a random UUID).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from consumer.model.names import Slug

MAX_LENGTH = 255
PATTERN = r"^[a-z0-9_]+(-[a-z0-9_]+)*$"
"""What a slug can be that an event, a header or a setting asks for; the schemas have it as well."""

RULE = "1 to 255 of a-z, 0-9, _ and single - between them"
"""The same in words, with the length."""

_WANTED = re.compile(PATTERN)
_SLUG = re.compile(r"[a-z0-9_-]{1,255}")
_DROPPED = re.compile(r"[^a-z0-9_\s]+")
_SPACES = re.compile(r"\s+")

_SPACED: Mapping[str, str] = {"+": "plus", "!": "bang", "@": "at", "*": "splat", ".": "dot"}
_SPELT: Mapping[str, str] = {
    "$": "dollar", "%": "percent", "&": "and", "<": "less", ">": "greater",
    "¢": "cent", "£": "pound", "¤": "currency", "¥": "yen", "€": "euro", "₿": "bitcoin",
    "©": "c", "®": "r", "™": "tm", "℠": "sm", "ª": "a", "º": "o",
    "∂": "d", "∆": "delta", "∑": "sum", "∞": "infinity", "♥": "love", "元": "yuan", "円": "yen",
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "þ": "th", "đ": "dj", "ł": "l",
    "ı": "i", "ə": "e", "ƒ": "f",
}  # fmt: skip
# One letter followed by its spelling.
_GREEK = (
    "αa βb γg δd εe ζz ηh θ8 ιi κk λl μm νn ξ3 οo πp ρr ςs σs τt υy φf χx ψps ωw "
    "ΐi άa έe ήh ίi ΰy ϊi ϋy όo ύy ώw"
)
_CYRILLIC = (
    "аa бb вv гg дd еe жzh зz иi йj кk лl мm нn оo пp рr сs тt уu фf хh цc чch шsh щsh ъu ыy ь "
    "эe юyu яya ёyo ђdj єye іi їyi јj љlj њnj ћc џdz ґg"
)
_TABLE: Mapping[int, str] = str.maketrans(
    {**_SPELT}
    | {pair[0]: pair[1:] for pair in f"{_GREEK} {_CYRILLIC}".split(" ")}
    | {sign: f" {word} " for sign, word in _SPACED.items()}
    | {"-": " ", "–": " "}
)


def slugify(text: str) -> Slug:
    """The slug that AnythingLLM 1.16 gives a workspace of this name (module docstring).

    Returns:
        Characters of ``[a-z0-9_-]`` only; possibly empty, possibly longer than `MAX_LENGTH`.
    """
    spelt = unicodedata.normalize("NFC", text).lower().translate(_TABLE)
    plain = _DROPPED.sub("", unicodedata.normalize("NFD", spelt))
    return Slug(_SPACES.sub("-", plain.strip()))


def can_exist(text: str) -> bool:
    """Whether a workspace can have this slug: the one rule for what events and settings ask for.

    AnythingLLM 1.16 makes ``a-b`` of the name ``a--b`` or ``a-b-``: such a workspace could never
    be created, and its documents would wait for ever. So these are the texts that `slugify` leaves
    as they are.
    """
    return len(text) <= MAX_LENGTH and _WANTED.fullmatch(text) is not None


def is_slug(text: str) -> bool:
    """Whether the text can be put into a URL as a workspace: for slugs that a server lists.

    Anything else is dangerous: a comma would write into two workspaces, ``..`` changes the path.
    What may be asked for is narrower: `can_exist`.
    """
    return _SLUG.fullmatch(text) is not None
