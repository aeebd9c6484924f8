"""A file of faults: what is wrong from the start, for ``simulate --seed-faults``.

One JSON object a line: a rule (it has a ``kind``), or switches (`faults`), as ``PUT /_sim/faults``
takes them, with any ``rules`` among them. So what ``GET /_sim/faults`` answers is such a file.
Blank lines, and lines that begin with ``#``, are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumer.sandbox.simulator.fault_rules import rule_from
from consumer.sandbox.simulator.faults import Faults, to_json
from consumer.sandbox.simulator.jsontext import loads


class FaultsFileError(Exception):
    """The file can't be used; the message names it, the line, and what is wrong with it."""


def read_faults(path: Path, faults: Faults) -> None:
    """Plant what a file says.

    Args:
        path: of the file.
        faults: get the switches and rules, in the order of the lines.

    Raises:
        FaultsFileError: it can't be read, or a line says nothing that is known.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FaultsFileError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise FaultsFileError(f"{path}: no text in UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            _plant(loads(line), faults)
        except ValueError as error:
            raise FaultsFileError(f"{path}:{number}: {error}") from None


def _plant(said: Any, faults: Faults) -> None:
    if not isinstance(said, dict):
        raise ValueError("each line is a JSON object: a rule with its kind, or switches")
    if "kind" in said:
        faults.rules.append(rule_from(said))
        return
    switches: Mapping[str, Any] = {name: each for name, each in said.items() if name != "rules"}
    rules = said.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise ValueError("rules is a list of objects")
    faults.update(switches)
    faults.rules.extend(rule_from(each) for each in rules)


def not_normal(faults: Faults) -> dict[str, Any]:
    """The switches that are not as they are in a server that is well, and the rules, if any."""
    normal = to_json(Faults())
    return {name: value for name, value in to_json(faults).items() if value != normal[name]}


def faults_shown(faults: Faults) -> list[str]:
    """Each of these as a line for people."""
    told = not_normal(faults)
    rules = told.pop("rules", [])
    switches = [f"fault: {name} = {value!r}" for name, value in told.items()]
    return [*switches, *(f"rule {n}: {_rule_shown(each)}" for n, each in enumerate(rules, 1))]


def _rule_shown(flat: Mapping[str, Any]) -> str:
    """What it does, then which requests it strikes; only what is not as usual."""
    usual = _flat_of(str(flat["kind"]))
    odd = {name: value for name, value in flat.items() if value != usual[name] or name == "path"}
    details = ", ".join(f"{name} {value!r}" for name, value in odd.items() if name != "kind")
    return f"{flat['kind']}, {details}"


def _flat_of(kind: str) -> dict[str, Any]:
    of_one = Faults()
    of_one.add(kind)
    (flat,) = to_json(of_one)["rules"]
    return {str(name): value for name, value in flat.items()}
