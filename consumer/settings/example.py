"""An example of a file of settings: every setting with its meaning, its default commented out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from types import MappingProxyType

from consumer.settings.table import GROUPS, TABLE, SettingRow

_WIDTH = 96
_HEAD = """\
# Settings of anythingllm-consumer, for --config FILE. Made by `settings example`.
#
# Each line that begins with #name has the default: take the # away to set something else. An
# empty value is no value. Environment variables win over this file, name by name: [kafka] group_id
# is KAFKA_GROUP_ID there. `settings show --config FILE` says what is in force, and from where.
"""
# What can be a table of its own, and is easier to read so.
_TABLES = MappingProxyType(
    {
        "ANYTHINGLLM_ENDPOINTS": '# As a table [anythingllm.endpoints]: name = "URL key-file".',
        "ANYTHINGLLM_PINS": '# As a table [anythingllm.pins]: workspace = "server".',
    }
)
_MAP = """\
# Workspaces of raw values of `technology`, before the template is used. In this file only.
#[routing.map]
#"raw value" = "slug"
"""


def example_file() -> str:
    """The file, in TOML; loaded as it is it changes nothing."""
    groups = (_group(group) for group in GROUPS)
    return "\n".join([_HEAD, *groups])


def _group(group: str) -> str:
    rows = [row for row in TABLE.values() if row.group == group]
    parts = [_entry(row) for row in rows]
    if group == "routing":
        parts.append(_MAP)
    purpose = " ".join((GROUPS[group].__doc__ or "").split("\n\n")[0].split())
    return f"# {purpose.partition('``')[0].strip()}\n[{group}]\n\n" + "\n".join(parts)


def _entry(row: SettingRow) -> str:
    return "\n".join(_lines(row)) + "\n"


def _lines(row: SettingRow) -> Iterator[str]:
    yield from _comment(row.spec.meaning)
    yield from _comment(f"{'Required. ' if row.spec.required else ''}Allowed: "
                        f"{row.spec.kind.allowed}.")  # fmt: skip
    if row.name in _TABLES:
        yield _TABLES[row.name]
    yield f"#{row.key} = {_toml(row.spec.default)}"
    if row.spec.kind.secret:
        yield f'#{row.key}_file = ""'


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _toml(default: str | None) -> str:
    """A default as TOML; "" for none."""
    if default in {"true", "false"}:
        return str(default)
    try:
        float(default or "")
    except ValueError:
        quoted = (default or "").replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'
    return str(default)
