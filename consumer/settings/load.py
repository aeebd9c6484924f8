"""Settings from the environment over a file over defaults, with all problems at once.

Rules:

1. Every source becomes a flat collection of texts under the environment's names; what a text
   means is decided in one place, by the table.
2. The environment wins over the file, name by name. A secret and its ``_FILE`` count as one name.
3. An empty value is an unset one: compose files and charts write ``NAME=`` for "nothing".
4. Nothing is reported twice: rules between settings are only applied to those that are sound.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from consumer.model.slug import is_slug
from consumer.settings.checks import broken_rules, doubts
from consumer.settings.kinds import secret_from
from consumer.settings.names import (
    FILE_SUFFIX,
    MAP_NAME,
    NAMES,
    SECRETS,
    is_service_link,
    meant,
    nearest,
)
from consumer.settings.problems import SettingProblem, SettingsError, shown
from consumer.settings.table import GROUPS, TABLE, SettingRow, Settings

_ENDPOINTS = "ANYTHINGLLM_ENDPOINTS"
# Settings that may be a table in the file, and what stands between its keys and values as a text.
_TABLES = MappingProxyType({_ENDPOINTS: " ", "ANYTHINGLLM_PINS": "="})


@dataclass(frozen=True, slots=True)
class Given:
    """A text that somebody gave, and the name they gave it under."""

    label: str
    text: str
    file: Path | None = None
    """Where a secret was read."""


@dataclass(slots=True)
class SettingSource:
    """What one source says, by the environment's names."""

    given: dict[str, Given] = field(default_factory=dict)
    routing_map: dict[str, str] = field(default_factory=dict)
    problems: list[SettingProblem] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SettingFindings:
    """All problems so far, and the settings that are wrong in themselves."""

    problems: list[SettingProblem]
    wrong: set[str] = field(default_factory=set)

    def add(self, name: str, problem: SettingProblem) -> None:
        """Note a problem that makes a setting's value unusable."""
        self.problems.append(problem)
        self.wrong.add(name)


def load_settings(
    env: Mapping[str, str], config: Path | None = None, *, needs_anythingllm: bool = True
) -> Settings:
    """Make settings, or say everything that is wrong with them.

    Args:
        env: the environment's variables; foreign ones are fine.
        config: a TOML file, one table a group (``[kafka] group_id = …``).
        needs_anythingllm: false for work that never speaks to it: its key may then be missing
            (and is empty).

    Raises:
        SettingsError: with every problem found; the command exits with code 2.
    """
    sources = [_from_env(env)] + ([_from_file(config)] if config is not None else [])
    findings = SettingFindings(
        [problem for source in sources for problem in source.problems],
        {name for source in sources for name in source.wrong},
    )
    given: dict[str, Given] = {}
    for source in reversed(sources):
        given.update(_resolved(source, findings))
    if not needs_anythingllm or _ENDPOINTS in given:
        findings.wrong.add("ANYTHINGLLM_API_KEY")  # that it is missing is not worth a word
    _refuse_one_beside_several(given, findings)
    settings = _parsed(given, MappingProxyType(sources[-1].routing_map), findings)
    _apply_rules(settings, given, findings)
    if findings.problems:
        raise SettingsError(findings.problems)
    warnings = [warning for source in sources for warning in source.warnings]
    files = {name: each.file for name, each in given.items() if each.file is not None}
    return replace(
        settings,
        warnings=(*warnings, *doubts(settings)),
        secret_files=MappingProxyType(files),
        given_as=MappingProxyType(_labels(given, settings)),
    )


def _labels(given: Mapping[str, Given], settings: Settings) -> dict[str, str]:
    labels = {name: each.label for name, each in given.items()}
    return labels | ({MAP_NAME: "[routing.map]"} if settings.routing.map else {})


def _refuse_one_beside_several(given: Mapping[str, Given], findings: SettingFindings) -> None:
    if _ENDPOINTS not in given:
        return
    for name in ("ANYTHINGLLM_ENDPOINT", "ANYTHINGLLM_API_KEY"):
        if name in given:
            message = f"and {given[_ENDPOINTS].label} are both given: leave one away"
            findings.add(name, SettingProblem(given[name].label, message))


def from_environment(config: Path | None = None, *, needs_anythingllm: bool = True) -> Settings:
    """`load_settings` of this process's environment; the only place that reads it.

    Raises:
        SettingsError: see `load_settings`.
    """
    return load_settings(os.environ, config, needs_anythingllm=needs_anythingllm)


def _parsed(
    given: Mapping[str, Given], routing_map: Mapping[str, str], findings: SettingFindings
) -> Settings:
    """Settings from texts; where one is wrong, its default (or nothing) stands in for it."""
    groups: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    groups["routing"]["map"] = routing_map
    for row in TABLE.values():
        values = groups[row.group]
        if row.spec.required:
            values[row.key] = SecretStr("")
        if row.name in given:
            try:
                values[row.key] = _value(row, given[row.name])
            except ValueError as error:
                findings.add(row.name, _misfit(row, given[row.name], str(error)))
        elif row.spec.required and row.name not in findings.wrong:
            message = f"is required (or {row.name}{FILE_SUFFIX}): {row.spec.meaning}"
            findings.add(row.name, SettingProblem(row.name, message))
    return Settings(**{name: GROUPS[name](**values) for name, values in groups.items()})


def _value(row: SettingRow, given: Given) -> object:
    kind = row.spec.kind
    return kind.parse(given.text if kind.secret else given.text.strip())


def _misfit(row: SettingRow, given: Given, detail: str) -> SettingProblem:
    kind = row.spec.kind
    message = "; ".join(filter(None, (detail, f"allowed: {kind.allowed}")))
    hidden = kind.secret or kind.hidden
    return SettingProblem(given.label, message, shown(given.text, secret=hidden))


def _apply_rules(settings: Settings, given: Mapping[str, Given], findings: SettingFindings) -> None:
    for broken in broken_rules(settings):
        if not findings.wrong.isdisjoint(broken.names):
            continue
        name = broken.names[0]
        default = TABLE[name].spec.default
        if name in given:
            hidden = name in SECRETS or TABLE[name].spec.kind.hidden
            value = shown(given[name].text, secret=hidden)
            findings.problems.append(SettingProblem(given[name].label, broken.message, value))
        elif default is not None:
            findings.problems.append(
                SettingProblem(name, broken.message, f"{default!r} (the default)")
            )
        else:
            findings.problems.append(SettingProblem(name, broken.message))


def _from_env(env: Mapping[str, str]) -> SettingSource:
    source = SettingSource()
    for name, value in sorted(env.items()):
        if name in NAMES:
            _take_variable(source, name, value=value)
        elif value:
            _look_at_stranger(source, name, value=value)
    return source


def _take_variable(source: SettingSource, name: str, *, value: str) -> None:
    if is_service_link(value) and name not in SECRETS:
        source.warnings.append(
            f"{name}={shown(value, secret=False)} is ignored: it is the address of a Kubernetes"
            " service of that name, not a setting"
        )
    elif value.strip():
        source.given[name] = Given(name, value)


def _look_at_stranger(source: SettingSource, name: str, *, value: str) -> None:
    ours = meant(name)
    if name.endswith(FILE_SUFFIX) and name.removesuffix(FILE_SUFFIX) in TABLE:
        message = f"only secrets can come from a file: {', '.join(sorted(SECRETS))}"
        source.problems.append(SettingProblem(name, message))
    elif name == MAP_NAME:
        source.problems.append(
            SettingProblem(name, "can only be given in the file, as [routing.map]")
        )
    elif ours is not None and is_service_link(value):
        source.warnings.append(f"{name} is ignored: it is the address of a Kubernetes service")
    elif ours is not None:
        message = f"is no setting; did you mean {ours}?"
        source.problems.append(SettingProblem(name, message))


def _from_file(path: Path) -> SettingSource:
    source = SettingSource()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        source.problems.append(
            SettingProblem(f"--config {path}", f"can't be read: {error.strerror}")
        )
        return source
    except ValueError as error:
        # TOML's own text names line and column and never repeats a value.
        source.problems.append(SettingProblem(f"--config {path}", f"is no TOML: {error}"))
        return source
    for group, content in tables.items():
        if group in GROUPS and isinstance(content, dict):
            _take_table(source, group, content)
        else:
            source.problems.append(_unknown_table(group))
    return source


def _unknown_table(group: str) -> SettingProblem:
    if group in GROUPS:
        return SettingProblem(group, f"must be a table: [{group}]")
    near = nearest(group, GROUPS) or (meant(group) or "").partition("_")[0].lower()
    hint = f"; did you mean [{near}]?" if near else f"; known: {', '.join(GROUPS)}"
    return SettingProblem(f"[{group}]", f"is no group of settings{hint}")


def _take_table(source: SettingSource, group: str, content: Mapping[str, object]) -> None:
    for key, value in content.items():
        label = f"[{group}] {key}"
        name = f"{group}_{key}".upper()
        if name == MAP_NAME:
            _take_map(source, value)
        elif key != key.lower() or name not in NAMES:
            source.problems.append(_unknown_key(group, key=key, label=label))
        else:
            _take_value(source, name, label=label, value=value)


def _unknown_key(group: str, *, key: str, label: str) -> SettingProblem:
    known = {name: name.lower().partition("_")[2] for name in NAMES if TABLE_GROUP[name] == group}
    ours = meant(f"{group}_{key}")
    near = known.get(ours or "") or nearest(key.lower(), known.values())
    hint = f"did you mean {near}?" if near else f"known: {', '.join(sorted(known.values()))}"
    return SettingProblem(label, f"is no setting; {hint}")


TABLE_GROUP: Mapping[str, str] = MappingProxyType(
    {name: TABLE[name if name in TABLE else name.removesuffix(FILE_SUFFIX)].group for name in NAMES}
)


def _take_value(source: SettingSource, name: str, *, label: str, value: object) -> None:
    try:
        text = _as_text(_rows_of(name, value))
    except TypeError:
        message = "must be a text, a number, true, false or a list of texts"
        source.problems.append(SettingProblem(label, message))
        return
    if text.strip():
        source.given[name] = Given(label, text)


def _rows_of(name: str, value: object) -> object:
    """A table as the list that it stands for, where a setting may be one."""
    if name not in _TABLES or not isinstance(value, dict):
        return value
    return [f"{key}{_TABLES[name]}{row}" for key, row in value.items()]


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    raise TypeError


def _take_map(source: SettingSource, value: object) -> None:
    if not isinstance(value, dict):
        source.problems.append(
            SettingProblem("[routing.map]", 'must be a table: "raw value" = "slug"')
        )
        source.wrong.add(MAP_NAME)
        return
    for raw, slug in value.items():
        if isinstance(slug, str) and is_slug(slug):
            source.routing_map[raw] = slug
        else:
            label = f"[routing.map] {shown(raw, secret=False)}"
            message = "allowed: a workspace slug, 1 to 255 of a-z 0-9 _ -"
            source.problems.append(SettingProblem(label, message, shown(str(slug), secret=False)))
            source.wrong.add(MAP_NAME)


def _resolved(source: SettingSource, findings: SettingFindings) -> Iterator[tuple[str, Given]]:
    """What a source gives, with secrets read from their files."""
    for name, given in source.given.items():
        if name in TABLE:
            yield name, given
    for name in sorted(SECRETS):
        file = source.given.get(name + FILE_SUFFIX)
        if file is None:
            continue
        if name in source.given:
            message = f"and {source.given[name].label} are both given: leave one away"
            findings.add(name, SettingProblem(file.label, message))
        try:
            path = Path(file.text.strip())
            yield name, Given(file.label, secret_from(path), path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            value = shown(file.text, secret=False)
            findings.add(name, SettingProblem(file.label, f"can't be used: {reason}", value))
