"""The settings as they may be seen: by name, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from consumer.model.identity import IdentityTemplate
from consumer.settings.endpoints import Endpoint
from consumer.settings.kinds import show_size
from consumer.settings.names import MAP_NAME
from consumer.settings.table import TABLE, SettingRow, Settings

NOT_SET = "not set"
SECRET = "set, not shown"  # noqa: S105  (what stands in the place of a secret)


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """A setting as it is in force.

    Args:
        name: in the environment.
        value: as people write it; of a secret only whether there is one.
        is_default: whether nobody set it to anything else.
        given_as: the name that somebody gave it under; None where nobody gave it.
        read_from: the file that a secret was read from.
    """

    name: str
    value: str
    is_default: bool
    given_as: str | None = None
    read_from: Path | None = None

    @property
    def origin(self) -> str:
        """Where the value comes from: ``default``, ``environment``, ``file`` or ``option``."""
        if self.given_as is None:
            return "default"
        if self.given_as.startswith("--"):
            return "option"
        return "file" if self.given_as.startswith("[") else "environment"


def shown_settings(settings: Settings) -> Iterator[ShownSetting]:
    """All of them, in the order of the table."""
    for name, row in TABLE.items():
        value = getattr(getattr(settings, row.group), row.key)
        yield ShownSetting(
            name,
            _shown(row, value),
            value == _default(row),
            settings.given_as.get(name),
            settings.secret_files.get(name),
        )


def shown_map(settings: Settings) -> ShownSetting:
    """The map of raw values to workspaces, which stands in the file only and in no table."""
    value = _text(settings.routing.map) or NOT_SET
    is_default = not settings.routing.map
    return ShownSetting("[routing.map]", value, is_default, settings.given_as.get(MAP_NAME))


def _default(row: SettingRow) -> object:
    spec = row.spec
    return None if spec.default is None else spec.kind.parse(spec.default)


def _shown(row: SettingRow, value: Any) -> str:
    if value is None:
        return NOT_SET
    if row.spec.kind.secret or isinstance(value, SecretStr):
        return SECRET
    if row.spec.kind.allowed.startswith("bytes"):
        return show_size(value)
    return _text(value)


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case IdentityTemplate():
            return value.template.text
        case Endpoint():
            return f"{value.name} {value.url}"
        case Mapping():
            return ", ".join(f"{_text(key)}={_text(each)}" for key, each in value.items())
        case tuple():
            # SASL extensions are pairs.
            pairs = (each if isinstance(each, tuple) else (each,) for each in value)
            return ", ".join("=".join(map(_text, each)) for each in pairs)
        case _:
            # A token endpoint's query may hold what is none of the reader's business.
            text = str(value)
            return text.partition("?")[0] if "://" in text else text
