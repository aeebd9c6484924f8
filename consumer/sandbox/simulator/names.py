"""How AnythingLLM 1.16 turns names into slugs and titles into file names.

Two spellings of one idea: workspace slugs spell punctuation out ("." becomes "dot"), titles keep
it. Both drop what is not Latin, which is why a Japanese title becomes the bare ".txt" and a
Japanese workspace name gets a random slug.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from consumer.sandbox.simulator.text import BLANKS

FILE_NAME_LIMIT = 255
"""Bytes a file name may have: a longer title answers 500 "A processing error occurred."."""

_SPELT: Mapping[str, str] = {
    "&": "and", "|": "or", "$": "dollar", "%": "percent", "<": "less", ">": "greater",
    "/": " ", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O",
    "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "þ": "th", "Þ": "TH", "ð": "d",
    "€": "euro", "£": "pound", "©": "(c)", "™": "tm",
}  # fmt: skip
_SPELT_IN_WORKSPACES: Mapping[str, str] = {
    ".": " dot ", "!": " bang ", "+": " plus ", "@": " at ", "*": " splat ",
    ":": "", "~": "", "(": "", ")": "", "'": "", '"': "", "|": "",
}  # fmt: skip
_DROPPED = re.compile(rf"[^A-Za-z0-9_{BLANKS}$*+~.()'\"!\-:@]+")
_NOT_IN_FILES = re.compile(r"[<>:\"/\\|?*]")
_SPACES = re.compile(f"[{BLANKS}]+")
_TITLES_KEPT = 1_000


def workspace_slug(name: str) -> str:
    """The slug of a workspace name, "" when nothing Latin is left: the server takes a UUID."""
    return _slug(name, {**_SPELT, **_SPELT_IN_WORKSPACES})


@lru_cache(maxsize=_TITLES_KEPT)  # every chunk of a document asks for the same one, twice
def title_slug(title: str) -> str:
    """What a title is called in file names: the text after the last "." is taken for a suffix."""
    stem = "-".join(title.split(".")[:-1]) if "." in title else title
    return _slug(stem, _SPELT)


def file_slug(title: str) -> str:
    """A title as a part of a file name: its slug without what file systems dislike."""
    return _NOT_IN_FILES.sub("", title_slug(title))


def fits_file_system(slug: str) -> bool:
    """Whether ``raw-<slug>-<uuid>.json`` is a possible file name: up to 209 bytes of slug are."""
    return len(f"raw-{slug}-.json".encode()) + 36 <= FILE_NAME_LIMIT


def _slug(text: str, spelt: Mapping[str, str]) -> str:
    letters = (_letter(character, spelt) for character in unicodedata.normalize("NFC", text))
    return _SPACES.sub("-", "".join(letters).strip(BLANKS)).lower()


def _letter(character: str, spelt: Mapping[str, str]) -> str:
    if character == "-":
        return " "
    known = spelt.get(character)
    if known is None:
        known = character if character.isascii() else unicodedata.normalize("NFD", character)[0]
    return _DROPPED.sub("", known)
