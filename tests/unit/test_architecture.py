"""The table "The rooms" of consumer/README.md, held by the syntax trees of every module.

The table itself is read, so page and code can't drift apart. Imports count wherever they stand:
under ``if TYPE_CHECKING`` and in functions as well, because a type is knowledge too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "consumer" / "README.md"

ENTRANCE = "__main__"  # `python -m consumer` is a door of the room `cli`
ENVIRONMENT_OF_SANDBOX = re.compile(r"(ANYTHINGLLM_)?TEST_[A-Z_]+|XDG_CACHE_HOME")

# Rooms that see records, and who may parse JSON there, of what.
ROOMS_OF_RECORDS = ("contract", "pipeline", "operations", "cli")
PARSERS = {
    "consumer.contract.envelope": "events",
    "consumer.contract.exported_letter": "lines of exported files",
    "consumer.contract.received_letter": "the header of failed chunks",
    "consumer.contract.received_result": "results",
    "consumer.contract.reference": "values of by-reference letters",
    "consumer.pipeline.index_rows": "rows of the index",
    "consumer.operations.audit.register": "rows of the register",
    "consumer.operations.replay.run": "what a run has committed",
    "consumer.cli.results": "results, shown as they are",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported thing: `module` is the whole dotted name, a name of a module included."""

    module: str
    line: int
    in_function: bool


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    tree: ast.Module
    is_package: bool

    @property
    def room(self) -> str:
        """The room it stands in; "" for `consumer` itself, which only knows its version."""
        parts = self.name.split(".")
        room = parts[1] if len(parts) > 1 else ""
        return "cli" if room == ENTRANCE else room

    def imports(self) -> Iterator[Import]:
        yield from self._imports(self.tree, in_function=False)

    def _imports(self, node: ast.AST, *, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, in_function)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    yield Import(f"{self._base(child)}.{alias.name}", child.lineno, in_function)
            else:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._imports(child, in_function=in_function or is_function)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


def modules_in(package: Path) -> dict[str, Module]:
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, ast.parse(path.read_text(), str(path)), is_package)
    return found


def rooms_in(page: str) -> dict[str, frozenset[str]]:
    """Which rooms each room may import, itself included, as the page's table says."""
    table = page.split("## The rooms", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|[^|]*\|([^|]*)\|$", table, re.MULTILINE)
    everything = frozenset(room for room, _ in rows)
    return {room: _allowed(rule, everything) | {room} for room, rule in rows}


def _allowed(rule: str, everything: frozenset[str]) -> frozenset[str]:
    named = frozenset(re.findall(r"`(\w+)`", rule))
    if named - everything:
        raise ValueError(f"the table names rooms that it does not have: {named - everything}")
    return everything - named if "everything" in rule else named


def _resolve(imported: str, modules: Mapping[str, Module]) -> str | None:
    """The module of ours that is meant: ``consumer.a.b.name`` may be a name in ``consumer.a.b``."""
    while imported and imported not in modules:
        imported = imported.rpartition(".")[0]
    return imported or None


def strange_rooms(
    modules: Mapping[str, Module], rooms: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    """Imports that the table does not allow, and modules in no room of the table."""
    for module in modules.values():
        if module.room and module.room not in rooms:
            yield f"{module.name} stands in no room of the table"
            continue
        allowed = rooms[module.room] if module.room else frozenset()
        for each in module.imports():
            target = _resolve(each.module, modules)
            room = modules[target].room if target else ""
            if room and room not in allowed:
                yield f"{module.name}:{each.line} imports {each.module}"


def strange_libraries(modules: Mapping[str, Module]) -> Iterator[str]:
    """Libraries outside of the one room that knows them."""
    for module in modules.values():
        for each in module.imports():
            if not _library_allowed(each.module, module.room):
                yield f"{module.name}:{each.line} imports {each.module}"


def _library_allowed(imported: str, room: str) -> bool:
    library = imported.split(".")[0]
    if library == "aiokafka":
        return room == "kafka"
    if library == "aiohttp":
        is_server = imported == "aiohttp.web" or imported.startswith("aiohttp.web.")
        return room == "anythingllm" or (is_server and room in {"admin", "sandbox"})
    return True


def strange_environment(modules: Mapping[str, Module]) -> Iterator[str]:
    """Looks at the environment outside of settings; the sandbox may look at names of tests."""
    for module in modules.values():
        if module.room == "settings":
            continue
        harmless = _harmless_looks(module.tree) if module.room == "sandbox" else set()
        for node in ast.walk(module.tree):
            if _is_environment(node) and id(node) not in harmless:
                yield f"{module.name}:{getattr(node, 'lineno', 0)} looks at the environment"


def _is_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    )


def _harmless_looks(tree: ast.Module) -> set[int]:
    """The `os.environ` of every `os.environ.get("TEST_…")` and `os.environ["TEST_…"]`."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=look, attr="get"), args=[ast.Constant(value=str(name)), *_]
            ):
                pass
            case ast.Subscript(value=look, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
                pass
            case _:
                continue
        if _is_environment(look) and ENVIRONMENT_OF_SANDBOX.fullmatch(name):
            found.add(id(look))
    return found


def strange_parsers(modules: Mapping[str, Module]) -> Iterator[str]:
    """Whoever else parses JSON: it may be an event, which only its envelope may be asked for."""
    for module in modules.values():
        if module.room not in ROOMS_OF_RECORDS or module.name in PARSERS:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and "loads" in (_called(node.func), *_given(node)):
                yield f"{module.name}:{node.lineno} parses JSON"


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _given(call: ast.Call) -> Iterator[str]:
    yield from map(_called, call.args)


def late_imports(modules: Mapping[str, Module]) -> Iterator[str]:
    """Imports inside functions: `cli` starts faster by them, elsewhere they only hide cycles."""
    for module in modules.values():
        for each in module.imports():
            if each.in_function and module.room != "cli":
                yield f"{module.name}:{each.line} imports {each.module} inside a function"


def cycles(modules: Mapping[str, Module]) -> Iterator[str]:
    """A chain of imports that comes back to its beginning, if there is one."""
    graph = {
        module.name: {
            target
            for each in module.imports()
            if (target := _resolve(each.module, modules)) and target != module.name
        }
        for module in modules.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " <- ".join(error.args[1])


Rule = Callable[[Mapping[str, Module]], Iterable[str]]


@pytest.fixture(scope="module")
def house() -> dict[str, Module]:
    return modules_in(REPOSITORY / "consumer")


def test_rooms_keep_to_the_table(house: Mapping[str, Module]) -> None:
    """A room imports what the table of consumer/README.md allows, and every module has a room."""
    assert [] == list(strange_rooms(house, rooms_in(README.read_text())))


def test_libraries_stay_in_their_rooms(house: Mapping[str, Module]) -> None:
    """Replacing aiokafka or aiohttp touches one folder."""
    assert [] == list(strange_libraries(house))


def test_settings_is_the_only_reader_of_the_environment(house: Mapping[str, Module]) -> None:
    """What the service obeys stands in one file; the sandbox knows only variables of tests."""
    assert [] == list(strange_environment(house))


def test_only_the_envelope_reads_events(house: Mapping[str, Module]) -> None:
    """Whoever parses values on its own would misread another envelope in silence."""
    assert [] == list(strange_parsers(house))
    assert house.keys() >= PARSERS.keys()


def test_imports_stand_at_the_top(house: Mapping[str, Module]) -> None:
    """Only commands import late, for the time they take to start."""
    assert [] == list(late_imports(house))


def test_no_import_comes_back_to_itself(house: Mapping[str, Module]) -> None:
    """There is an order in which the house can be read."""
    assert [] == list(cycles(house))


PAGE = """
## The rooms, bottom first
| room | holds | may import |
| --- | --- | --- |
| `model/` | values | nothing of ours |
| `kafka/` | source | `model` |
| `admin/` | probes | `model` |
| `sandbox/` | a simulator | everything but `cli` |
| `settings.py` | settings | `model`, `kafka` (their policies) |
| `cli/` | commands | everything |

## Rules
| `ghost/` | not in the table | everything |
"""
SOUND = {
    "__init__.py": "__version__ = '1'",
    "__main__.py": "from consumer.cli import main",
    "settings.py": "import os\nfrom consumer.kafka import source\nos.environ['KAFKA']",
    "model/__init__.py": "",
    "model/value.py": "import json",
    "kafka/__init__.py": "",
    "kafka/source.py": "import aiokafka.errors\nfrom consumer.model.value import Thing",
    "admin/__init__.py": "from aiohttp import web\nfrom aiohttp.web import Response",
    "sandbox/__init__.py": "import os\nos.environ.get('TEST_KAFKA')\nos.environ['XDG_CACHE_HOME']",
    "cli/__init__.py": "def main():\n    from consumer.sandbox import demo",
}


def rooms_rule(modules: Mapping[str, Module]) -> Iterable[str]:
    return strange_rooms(modules, rooms_in(PAGE))


ALL_RULES: list[Rule] = [
    rooms_rule, strange_libraries, strange_environment, strange_parsers, late_imports, cycles,
]  # fmt: skip


def build(folder: Path, files: Mapping[str, str]) -> dict[str, Module]:
    package = folder / "consumer"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return modules_in(package)


def test_a_sound_house_passes(tmp_path: Path) -> None:
    """What the rules allow raises no alarm, or nobody would listen to them."""
    modules = build(tmp_path, SOUND)

    assert [] == [finding for rule in ALL_RULES for finding in rule(modules)]


@pytest.mark.parametrize(
    ("rule", "file", "text"),
    [
        (rooms_rule, "model/value.py", "from consumer.kafka.source import poll"),
        (rooms_rule, "model/value.py", "from consumer.kafka import source"),
        (rooms_rule, "model/value.py", "from consumer import kafka"),
        (rooms_rule, "model/value.py", "import consumer.kafka.source as source"),
        (rooms_rule, "model/value.py", "from ..kafka import source"),
        (rooms_rule, "model/__init__.py", "from ..kafka.source import poll"),
        (rooms_rule, "model/value.py", "if TYPE_CHECKING:\n    from consumer.kafka import source"),
        (rooms_rule, "kafka/source.py", "def f():\n    from consumer.admin import serve"),
        (rooms_rule, "kafka/source.py", "from consumer.settings import Settings"),
        (rooms_rule, "sandbox/demo.py", "from consumer.cli import main"),
        (rooms_rule, "__init__.py", "from consumer.model.value import Thing"),
        (rooms_rule, "attic/things.py", ""),
        (rooms_rule, "attic.py", ""),
        (strange_libraries, "model/value.py", "import aiokafka"),
        (strange_libraries, "sandbox/demo.py", "from aiokafka.errors import KafkaError"),
        (strange_libraries, "kafka/source.py", "import aiohttp"),
        (strange_libraries, "sandbox/demo.py", "from aiohttp import ClientSession"),
        (strange_libraries, "admin/__init__.py", "import aiohttp"),
        (strange_libraries, "model/value.py", "from aiohttp import web"),
        (strange_libraries, "admin/__init__.py", "from aiohttp.web_log import AccessLogger"),
        (strange_environment, "cli/__init__.py", "import os\nos.environ.get('TEST_KAFKA')"),
        (strange_environment, "model/value.py", "import os\nos.getenv('HOME')"),
        (strange_environment, "model/value.py", "from os import environ"),
        (strange_environment, "sandbox/demo.py", "import os\nos.environ['KAFKA_GROUP_ID']"),
        (strange_environment, "sandbox/demo.py", "import os\nos.environ[name]"),
        (strange_environment, "sandbox/demo.py", "import os\nos.environ['TEST_X'] = 'y'"),
        (strange_environment, "sandbox/demo.py", "import os\ndict(os.environ)"),
        (strange_parsers, "cli/__init__.py", "import orjson\norjson.loads(record.value)"),
        (strange_parsers, "cli/__init__.py", "from json import loads\nloads(value)"),
        (strange_parsers, "cli/__init__.py", "import json\nlist(map(json.loads, lines))"),
        (late_imports, "model/value.py", "def f():\n    import json"),
        (late_imports, "kafka/source.py", "class A:\n    async def f(self):\n        import json"),
        (cycles, "model/value.py", "from consumer.kafka import source"),
        (cycles, "model/value.py", "if TYPE_CHECKING:\n    from consumer.kafka import source"),
    ],
)
def test_planted_violations_are_found(tmp_path: Path, rule: Rule, file: str, text: str) -> None:
    """One wrong line in a sound house is found by its rule."""
    modules = build(tmp_path, SOUND | {file: text})

    assert list(rule(modules))


def test_the_table_is_understood() -> None:
    """Every room of the page has its row; a row that names an unknown room is an error."""
    rooms = rooms_in(PAGE)

    assert {"model"} == rooms["model"]
    assert {"model", "kafka", "settings"} == rooms["settings"]
    assert {"model", "kafka", "admin", "sandbox", "settings"} == rooms["sandbox"]
    assert "ghost" not in rooms
    assert {"model", "kafka", "anythingllm", "app", "cli"} < rooms_in(README.read_text()).keys()
    with pytest.raises(ValueError, match="kitchen"):
        rooms_in(PAGE.replace("nothing of ours", "`kitchen`"))
