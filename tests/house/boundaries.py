"""Who alone may know a library, the environment, an event's bytes; and imports that hide."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from tests.house.modules import House, Module, resolve

ENVIRONMENT_OF_SANDBOX = re.compile(r"(ANYTHINGLLM_)?TEST_[A-Z_]+|XDG_CACHE_HOME")

# The one file beside AnythingLLM's client that asks something by HTTP: our own status page.
ASKS_OURSELVES = "consumer.admin.asking"

# Rooms that see records, and who may parse JSON there, of what.
ROOMS_OF_RECORDS = ("contract", "pipeline", "results", "operations", "cli")
PARSERS = {
    "consumer.contract.envelope.json_text": "events",
    "consumer.contract.exported_letter": "lines of exported files",
    "consumer.contract.received_letter": "the header of failed chunks",
    "consumer.contract.received_result": "results",
    "consumer.contract.reference": "values of by-reference letters",
    "consumer.pipeline.index_rows": "rows of the index",
    "consumer.operations.audit.register": "rows of the register",
    "consumer.operations.replay.run": "what a run has committed",
    "consumer.cli.results": "results, shown as they are",
}

# What opens Kafka; operations are handed it (`consumer.operations.ports`).
OPENERS = re.compile(
    r"consumer\.(wiring\.kafka|kafka\.(clients|source)|kafka\.connection\.KafkaConnection"
    r"|kafka\.\w+\.(open_\w+|read_topic|group_lock|Publisher))\b"
)


def strange_libraries(modules: House) -> Iterator[str]:
    """Libraries outside of the one room that knows them."""
    for module in modules.values():
        for each in module.imports():
            if not _library_allowed(each.module, module):
                yield f"{module.name}:{each.line} imports {each.module}"


def _library_allowed(imported: str, module: Module) -> bool:
    library, room = imported.split(".")[0], module.room
    if library == "aiokafka":
        return room == "kafka"
    if library == "aiohttp":
        is_server = imported == "aiohttp.web" or imported.startswith("aiohttp.web.")
        is_client = room == "anythingllm" or module.name == ASKS_OURSELVES
        return is_client or (is_server and room in {"admin", "sandbox"})
    if library == "opentelemetry":
        return room == "telemetry"
    return True


def strange_environment(modules: House) -> Iterator[str]:
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


def strange_parsers(modules: House) -> Iterator[str]:
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


def opened_kafkas(modules: House) -> Iterator[str]:
    """Operations that open a Kafka of their own: they could not be proven without a broker."""
    for module in modules.values():
        for each in module.imports():
            if module.room == "operations" and OPENERS.match(each.module):
                yield f"{module.name}:{each.line} imports {each.module}"


def late_imports(modules: House) -> Iterator[str]:
    """Imports inside functions: `cli` starts faster by them, elsewhere they only hide cycles."""
    for module in modules.values():
        for each in module.imports():
            if each.in_function and module.room != "cli":
                yield f"{module.name}:{each.line} imports {each.module} inside a function"


def cycles(modules: House) -> Iterator[str]:
    """A chain of imports that comes back to its beginning, if there is one."""
    graph = {
        module.name: {
            target
            for each in module.imports()
            if (target := resolve(each.module, modules)) and target != module.name
        }
        for module in modules.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " <- ".join(error.args[1])
