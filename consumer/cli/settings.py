"""``settings``: what is in force, and what there is to set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, settings_for
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.settings.shown import ShownSetting

_COLUMNS = (
    Column("setting", Meaning.NAME, 9),
    Column("value", Meaning.TEXT, 8),
    Column("from", Meaning.TEXT, 7),
)


def show(
    config: ConfigOption = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only those that differ from their default.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the settings as they are in force, and where each comes from.

    From: default, environment, file (--config), or an option of this call. Of a
    secret it is told whether it is set, and the file that it was read from.
    Wrong settings are listed as `run` lists them, with exit code 2.

    With --json each setting is a line.

    Example: anythingllm-consumer settings show --changed
    """
    from consumer.settings.shown import shown_map, shown_settings

    settings = settings_for(config)
    every = (*shown_settings(settings), shown_map(settings))
    shown = [each for each in every if not (changed and each.is_default)]
    if as_json:
        for each in shown:
            output.json_line(_object(each))
    elif shown:
        output.table(_COLUMNS, [(each.name, each.value, _origin(each)) for each in shown])
    else:
        output.note("every setting has its default")


def example(as_json: JsonOption = False) -> None:
    """Write a file for --config that has every setting, its default and its meaning.

    All of it is commented out, so as it is it changes nothing. Reads no settings.

    With --json each setting is a line.

    Example: anythingllm-consumer settings example > settings.toml
    """
    from consumer.settings.example import example_file
    from consumer.settings.table import TABLE

    if not as_json:
        output.whole(example_file().removesuffix("\n"))
        return
    for row in TABLE.values():
        output.json_line(
            {
                "name": row.name,
                "group": row.group,
                "key": row.key,
                "default": row.spec.default,
                "required": row.spec.required,
                "secret": row.spec.kind.secret,
                "allowed": row.spec.kind.allowed,
                "meaning": row.spec.meaning,
            }
        )


def _origin(each: ShownSetting) -> str:
    where = f", {each.given_as}" if each.origin == "option" else ""
    return each.origin + (f", {each.read_from}" if each.read_from else where)


def _object(each: ShownSetting) -> dict[str, object]:
    from consumer.settings.shown import NOT_SET, SECRET

    return {
        "name": each.name,
        "value": None if each.value in {NOT_SET, SECRET} else each.value,
        "set": each.value != NOT_SET,
        "secret": each.value == SECRET,
        "default": each.is_default,
        "origin": each.origin,
        "given_as": each.given_as,
        "read_from": None if each.read_from is None else str(each.read_from),
    }
