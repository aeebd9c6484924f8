"""Several AnythingLLMs in the settings: each with its name, its address and the file of its key.

Keys come from files only: a variable with several of them would be shown by whoever lists
processes or containers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from consumer.model.names import ServerName, Slug
from consumer.model.server_marks import MOST, NAME
from consumer.model.slug import is_slug
from consumer.settings.kinds import SettingKind, header_secret, items, secret_from, url

_NAME = re.compile(NAME)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One AnythingLLM of several.

    Args:
        name: what it is called, whatever its address.
        url: base URL, as of ``ANYTHINGLLM_ENDPOINT``.
        api_key: read from its file.
        key_file: where that is.
    """

    name: ServerName
    url: str
    api_key: SecretStr
    key_file: Path = field(repr=False)

    def read_key(self) -> str:
        """The key as its file has it now.

        Raises:
            OSError: the file can't be read.
            ValueError: it holds no key; the text does not say what it holds.
        """
        return header_secret().parse(secret_from(self.key_file)).get_secret_value()


def endpoints() -> SettingKind[tuple[Endpoint, ...]]:
    """Servers as ``name URL key-file``, with commas between."""

    def parse(raw: str) -> tuple[Endpoint, ...]:
        found = tuple(map(_endpoint, items(raw)))
        if not 0 < len(found) <= MOST:
            raise ValueError(f"1 to {MOST} servers can be listed")
        for what in ("name", "url"):
            if len({getattr(each, what) for each in found}) < len(found):
                raise ValueError(f"two servers have the same {what}")
        return found

    return SettingKind(
        "`name URL key-file`, several with commas between; names of a-z 0-9 -, up to 16 characters",
        parse,
        hidden=True,
    )


def pins() -> SettingKind[dict[Slug, ServerName]]:
    """Workspaces that live on a certain server, as ``slug=name``."""

    def parse(raw: str) -> dict[Slug, ServerName]:
        found: dict[Slug, ServerName] = {}
        for each in items(raw):
            slug, _, name = (part.strip() for part in each.partition("="))
            if not is_slug(slug) or not _NAME.fullmatch(name) or slug in found:
                raise ValueError
            found[Slug(slug)] = ServerName(name)
        return found

    return SettingKind("slug=name, several with commas between; each slug once", parse)


def _endpoint(raw: str) -> Endpoint:
    parts = raw.split()
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise ValueError("each server needs a name, a URL and the file of its key, in this order")
    name, address, file = parts
    try:
        base = url().parse(address)
    except ValueError as error:
        raise ValueError(f"server {name}: no URL of a server; {error}".rstrip("; ")) from None
    try:
        key = header_secret().parse(secret_from(Path(file)))
    except OSError as error:
        # The path is not repeated: somebody may have put the key in its place.
        raise ValueError(f"server {name}: its key-file can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"server {name}: no key in its key-file: {error}".rstrip(": ")) from None
    return Endpoint(ServerName(name), base, key, Path(file))
