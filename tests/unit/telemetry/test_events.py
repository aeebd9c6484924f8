"""The vocabulary: every log call names a known event, and no call logs what must not be logged."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import consumer
from consumer.telemetry.events import EVENTS, NAMES_OF_DOCUMENTS, OF_DOCUMENTS

PACKAGE = Path(consumer.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
NAME = re.compile(r"[a-z][a-z_]*\.[a-z][a-z_]*")
# The set-up itself writes these, about others that it did not write.
BY_SET_UP = {"log.failed", "log.kept_back"}
NEVER_A_FIELD = {
    *("content", "text", "body", "response", "document", "chunk", "headers", "api_key", "password"),
    *("secret", "settings", "value", "key"),
}

# What is logged in these belongs to the task of a document, whose identity every line of it has
# (`consumer.pipeline.journey`); tests/virtual sees that it does.
IN_THE_TASK_OF_A_DOCUMENT = {
    "anythingllm/removal_looks.py",
    "anythingllm/vouching.py",
    "pipeline/backoff.py",
    "pipeline/deathwatch.py",
    "pipeline/giving_up.py",
    "pipeline/heavy_events.py",  # not read yet: by the place of its record
    "pipeline/journey.py",
    "pipeline/refused_kinds.py",
    "pipeline/removal.py",
    "pipeline/sweep.py",  # it says itself whose chunks it removes
    "pipeline/upload.py",
}
BY_FACTS = {"operations/replay/run_log.py", "operations/republish/republish.py"}  # ``**_facts(…)``


@dataclass(frozen=True)
class LogCall:
    where: str
    event: ast.expr | None
    fields: frozenset[str]

    @property
    def name(self) -> str | None:
        if isinstance(self.event, ast.Constant) and isinstance(self.event.value, str):
            return self.event.value
        return None


def is_logger(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).endswith(("get_logger", ".bind", ".new", ".unbind"))
    return re.fullmatch(r"(\w+\.)*_?(log|logger)", ast.unparse(node)) is not None


def is_log_method(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in LEVELS and is_logger(node.value)


def aliases_in(tree: ast.AST) -> set[str]:
    """Names such as ``tell`` in ``tell = log.info if fine else log.warning``."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(
            is_log_method(part)
            for part in ast.walk(node.value)
            if not any(isinstance(one, ast.Call) and one.func is part for one in ast.walk(node))
        )
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def log_calls(source: str, where: str) -> Iterator[LogCall]:
    tree = ast.parse(source)
    aliases = aliases_in(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        direct = is_log_method(node.func)
        if direct or (isinstance(node.func, ast.Name) and node.func.id in aliases):
            # log.log(level, event)
            first = 1 if isinstance(node.func, ast.Attribute) and node.func.attr == "log" else 0
            event = node.args[first] if len(node.args) > first else None
            fields = frozenset(one.arg for one in node.keywords if one.arg)
            yield LogCall(f"{where}:{node.lineno}", event, fields)


def all_calls() -> list[LogCall]:
    return [
        call
        for path in sorted(PACKAGE.rglob("*.py"))
        for call in log_calls(path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE)))
    ]


def test_every_log_call_names_a_known_event() -> None:
    """Constant and described, so that it can be searched, alerted on and looked up."""
    strangers = [call.where for call in all_calls() if call.name not in EVENTS]

    assert strangers == []


def test_every_described_event_is_logged_somewhere() -> None:
    """An alert on a name that nobody logs any more would never fire."""
    assert set(EVENTS) - {call.name for call in all_calls()} - BY_SET_UP == set()


def test_no_field_is_named_for_what_must_not_be_logged() -> None:
    """Document text, bodies of answers and secrets stay out of the log."""
    wrong = [(call.where, sorted(call.fields & NEVER_A_FIELD)) for call in all_calls()]

    assert [(where, fields) for where, fields in wrong if fields] == []


def test_a_line_about_a_document_names_it() -> None:
    """By its own fields, or because it is written in the task of that document."""
    nameless = [
        call
        for call in all_calls()
        if call.name in OF_DOCUMENTS and not call.fields & set(NAMES_OF_DOCUMENTS)
    ]
    files = {call.where.rpartition(":")[0] for call in nameless}

    assert files - BY_FACTS - IN_THE_TASK_OF_A_DOCUMENT == set()
    assert (BY_FACTS | IN_THE_TASK_OF_A_DOCUMENT) - files == set()
    assert OF_DOCUMENTS <= EVENTS.keys()


def test_what_is_about_documents_is_known_to_be() -> None:
    """A new event of these families is one, or the lines about a document can't all be found."""
    families = ("chunk", "document", "event", "pack", "record", "repack", "version", "identity")
    of_families = {name for name in EVENTS if name.split(".")[0] in families}

    assert of_families - OF_DOCUMENTS == set()


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_names_and_meanings_have_one_form(name: str) -> None:
    """what.happened, and one sentence."""
    assert NAME.fullmatch(name)
    assert EVENTS[name].endswith(".")
    assert len(EVENTS[name]) <= 100


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("log.info('a.b', x=1)", "a.b"),
        ("self._log.warning('a.b')", "a.b"),
        ("structlog.get_logger(__name__).error('a.b')", "a.b"),
        ("log.bind(x=1).info('a.b')", "a.b"),
        ("log.log(20, 'a.b')", "a.b"),
        ("tell = log.info if fine else log.warning\ntell('a.b')", "a.b"),
        ("log.info(f'a.{b}')", None),
        ("log.info('a.' + b)", None),
        ("log.info(event)", None),
    ],
)
def test_the_walk_sees_log_calls_in_all_their_forms(source: str, found: str | None) -> None:
    """A form it did not see could log anything."""
    (call,) = log_calls(source, "x")

    assert call.name == found
