"""The settings as they may be seen: by name, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from consumer.model.identity import IdentityTemplate
from consumer.settings.endpoints import Endpoint
from consumer.settings.kinds import show_size
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
    """

    name: str
    value: str
    is_default: bool


def shown_settings(settings: Settings) -> Iterator[ShownSetting]:
    """All of them, in the order of the table."""
    for name, row in TABLE.items():
        value = getattr(getattr(settings, row.group), row.key)
        yield ShownSetting(name, _shown(row, value), value == _default(row))


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
