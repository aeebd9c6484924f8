"""The house keeps to consumer/README.md: its tables, and the rules that syntax trees can show.

The tables themselves are read, so page and code can't drift apart. The rules are in `tests.house`;
here they meet the house, and wrong lines that are planted in a sound one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from consumer.cli.commands import COMMANDS
from tests.house.boundaries import (
    PARSERS,
    cycles,
    late_imports,
    opened_kafkas,
    strange_environment,
    strange_libraries,
    strange_parsers,
)
from tests.house.modules import House, Module, Rule, modules_in, reached
from tests.house.names import shared_names
from tests.house.pure import impure
from tests.house.tables import arrows_up, strange_imports, strange_rows, tables_in

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "consumer" / "README.md"

# Names that two classes may have, each with the reason.
SHARED_NAMES: Mapping[str, str] = {}


@pytest.fixture(scope="module")
def house() -> dict[str, Module]:
    return modules_in(REPOSITORY / "consumer")


def test_rooms_keep_to_their_tables(house: House) -> None:
    """Everybody imports what the tables of consumer/README.md allow, and stands in one of them."""
    for table in tables_in(README.read_text()):
        assert [] == list(strange_imports(house, table))
        assert [] == list(strange_rows(house, table))


def test_arrows_point_down() -> None:
    """The tables are bottom first: whoever reads them from there knows all that a row may use."""
    for table in tables_in(README.read_text()):
        assert [] == list(arrows_up(table))


def test_libraries_stay_in_their_rooms(house: House) -> None:
    """Replacing aiokafka or aiohttp touches one folder."""
    assert [] == list(strange_libraries(house))


def test_settings_is_the_only_reader_of_the_environment(house: House) -> None:
    """What the service obeys stands in one file; the sandbox knows only variables of tests."""
    assert [] == list(strange_environment(house))


def test_only_the_envelope_reads_events(house: House) -> None:
    """Whoever parses values on its own would misread another envelope in silence."""
    assert [] == list(strange_parsers(house))
    assert house.keys() >= PARSERS.keys()


def test_operations_open_no_kafka(house: House) -> None:
    """They are handed one as the protocols of `operations/ports.py`, and so proven in memory."""
    assert [] == list(opened_kafkas(house))


def test_imports_stand_at_the_top(house: House) -> None:
    """Only commands import late, for the time they take to start."""
    assert [] == list(late_imports(house))


@pytest.mark.parametrize(
    "words",
    ["validate", "publish", "results", "dlq list", "dlq stats", "dlq park", "dlq replay",
     "dlq runs", "dlq export", "topics create", "schemas export"],
)  # fmt: skip
def test_commands_import_only_what_they_ask(house: House, words: str) -> None:
    """Commands that ask AnythingLLM nothing start without its client, whatever they go on to do."""
    (command,) = (each for each in COMMANDS if each.words == words)
    modules = reached(house, command.target.partition(":")[0])

    assert "typer" in modules
    assert [] == [each for each in modules if each.startswith(("aiohttp", "consumer.anythingllm"))]


def test_no_import_comes_back_to_itself(house: House) -> None:
    """There is an order in which the house can be read."""
    assert [] == list(cycles(house))


def test_files_that_the_page_names_exist() -> None:
    """Paths of the house, or of the repository around it."""
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.(?:py|md))?|\w+/)`", README.read_text()))
    around = (README.parent, REPOSITORY)

    assert "pipeline/sweep.py" in named
    assert [] == [path for path in sorted(named) if not any((at / path).exists() for at in around)]


def test_words_are_those_of_the_files() -> None:
    """Each word of the table "Words" has one row, and the file it names speaks of it."""
    section = README.read_text().split("\n## Words", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([a-z][^|]+) \| [^|]+ \| (`[^|]+) \|$", section, re.MULTILINE)
    words = [(word, where) for cell, where in rows for word in cell.split(", ") if word != "word"]

    assert len(words) > 50
    assert len({word for word, _ in words}) == len(words)
    assert [] == [word for word, where in words if word not in _spoken(where)]


def _spoken(cell: str) -> str:
    """What the files of a cell say, with the words of their names apart."""
    paths = re.findall(r"`([^`]+)`", cell)
    text = " ".join([*paths, *((README.parent / path).read_text() for path in paths)])
    return " ".join(re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower().replace("_", " ").split())


def test_no_two_classes_share_a_name(house: House) -> None:
    """Whoever searches for a name finds one thing; private and nested classes count, too."""
    assert [] == list(shared_names(house, SHARED_NAMES))


def test_pure_is_meant_strictly(house: House) -> None:
    """What says that it is pure waits for nothing, touches nothing and remembers nothing."""
    assert [] == list(impure(house))


PAGE = """
## The rooms, bottom first
| room | holds | may import |
| --- | --- | --- |
| `model/` | values | nothing of ours |
| `kafka/` | source | `model` |
| `admin/` | probes | `model` |
| `settings.py` | settings | `model`, `kafka` (their policies) |
| `sandbox/` | a simulator | everything but `cli` |
| `cli/` | commands | everything |

### Inside the rooms, bottom first
| part | holds | may import of its room |
| --- | --- | --- |
| `cli/output.py`, `cli/files.py` | how commands speak | nothing |
| `cli/dlq/` | commands | `output` |
| `cli/*.py` | a command | `output`, `files` |
| `cli/main.py` | the line | `output` |
| `cli/__init__.py` | the entrance | everything |
| `cli/dlq/show.py` | a command | nothing |
| `cli/dlq/list.py` | a command | nothing |

## Rules
| `ghost/` | not in the table | everything |
"""
SOUND = {
    "__init__.py": "__version__ = '1'",
    "__main__.py": "from consumer.cli import main",
    "settings.py": "import os\nfrom consumer.kafka import source\nos.environ['KAFKA']",
    "model/__init__.py": "",
    "model/value.py": "import json\nfrom sys import maxsize\nTABLE: Mapping[str, int] = {}",
    "kafka/__init__.py": "",
    "kafka/source.py": "import aiokafka.errors\nfrom consumer.model.value import Thing",
    "kafka/ledger.py": '"""How far. Pure."""\nclass Ledger:\n    def f(self):\n        self.a = []',
    "kafka/topics.py": 'import os\nclass _Thing: ...\ndef f():\n    """A pure one."""\n    os.a()',
    "admin/__init__.py": "from aiohttp import web\nfrom aiohttp.web import Response",
    "sandbox/__init__.py": "import os\nos.environ.get('TEST_KAFKA')\nos.environ['XDG_CACHE_HOME']",
    "cli/__init__.py": "def main():\n    from consumer.sandbox import demo",
    "cli/output.py": "",
    "cli/files.py": "",
    "cli/main.py": "from consumer.cli import output",
    "cli/run.py": "from consumer.cli import output\nfrom consumer.cli.files import lines",
    "cli/dlq/__init__.py": "",
    "cli/dlq/list.py": "from consumer.cli.output import table",
    "cli/dlq/show.py": "",
}


def tables_rule(modules: House) -> Iterable[str]:
    for table in tables_in(PAGE):
        yield from strange_imports(modules, table)
        yield from strange_rows(modules, table)


def names_rule(modules: House) -> Iterable[str]:
    return shared_names(modules, {})


ALL_RULES: list[Rule] = [
    tables_rule, strange_libraries, strange_environment, strange_parsers, opened_kafkas,
    late_imports, cycles, names_rule, impure,
]  # fmt: skip

PURE = '"""What follows. Pure."""\n'
PURE_FUNCTION = 'def f(a):\n    """What follows: pure."""\n    return '


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
        (tables_rule, "model/value.py", "from consumer.kafka.source import poll"),
        (tables_rule, "model/value.py", "from consumer.kafka import source"),
        (tables_rule, "model/value.py", "from consumer import kafka"),
        (tables_rule, "model/value.py", "import consumer.kafka.source as source"),
        (tables_rule, "model/value.py", "from ..kafka import source"),
        (tables_rule, "model/__init__.py", "from ..kafka.source import poll"),
        (tables_rule, "model/value.py", "if TYPE_CHECKING:\n    from consumer.kafka import source"),
        (tables_rule, "kafka/source.py", "def f():\n    from consumer.admin import serve"),
        (tables_rule, "kafka/source.py", "from consumer.settings import Settings"),
        (tables_rule, "sandbox/demo.py", "from consumer.cli import main"),
        (tables_rule, "__init__.py", "from consumer.model.value import Thing"),
        (tables_rule, "attic/things.py", ""),
        (tables_rule, "attic.py", ""),
        (tables_rule, "cli/output.py", "from consumer.cli.files import lines"),
        (tables_rule, "cli/files.py", "from consumer.cli.dlq import show"),
        (tables_rule, "cli/dlq/list.py", "from consumer.cli.run import run"),
        (tables_rule, "cli/dlq/list.py", "from consumer.cli.files import lines"),
        (tables_rule, "cli/dlq/list.py", "from consumer.cli.dlq.show import table"),
        (tables_rule, "cli/dlq/list.py", "def f():\n    from ..files import lines"),
        (tables_rule, "cli/dlq/attic.py", ""),
        (tables_rule, "cli/attic/__init__.py", "from consumer.cli import run"),
        (tables_rule, "cli/check.py", "from consumer.cli import main"),
        (tables_rule, "cli/main.py", "from consumer.cli.run import run"),
        (strange_libraries, "model/value.py", "import aiokafka"),
        (strange_libraries, "sandbox/demo.py", "from aiokafka.errors import KafkaError"),
        (strange_libraries, "kafka/source.py", "import aiohttp"),
        (strange_libraries, "sandbox/demo.py", "from aiohttp import ClientSession"),
        (strange_libraries, "admin/__init__.py", "import aiohttp"),
        (strange_libraries, "model/value.py", "from aiohttp import web"),
        (strange_libraries, "admin/__init__.py", "from aiohttp.web_log import AccessLogger"),
        (strange_libraries, "model/value.py", "from opentelemetry import trace"),
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
        (opened_kafkas, "operations/a.py", "from consumer.wiring.kafka import kafka_clients"),
        (opened_kafkas, "operations/a.py", "from consumer.wiring import kafka"),
        (opened_kafkas, "operations/a.py", "from consumer.kafka.reader import open_reader"),
        (opened_kafkas, "operations/a/b.py", "from consumer.kafka.publisher import Publisher"),
        (late_imports, "model/value.py", "def f():\n    import json"),
        (late_imports, "kafka/source.py", "class A:\n    async def f(self):\n        import json"),
        (cycles, "model/value.py", "from consumer.kafka import source"),
        (cycles, "model/value.py", "if TYPE_CHECKING:\n    from consumer.kafka import source"),
        (names_rule, "model/value.py", "class Ledger: ..."),
        (names_rule, "model/value.py", "class A:\n    class _Ledger: ..."),
        (names_rule, "model/value.py", "class Thing: ..."),
        (names_rule, "model/value.py", "def f():\n    class __Thing: ..."),
        (impure, "model/value.py", "import time"),
        (impure, "kafka/topics.py", f"{PURE}import asyncio"),
        (impure, "kafka/topics.py", f"{PURE}from os import path"),
        (impure, "kafka/topics.py", f"{PURE}from pathlib import Path"),
        (impure, "kafka/topics.py", f"{PURE}from consumer.telemetry.metrics import Metrics"),
        (impure, "kafka/topics.py", f"{PURE}async def f(): ..."),
        (impure, "kafka/topics.py", f"{PURE}def f(path):\n    return open(path)"),
        (impure, "kafka/topics.py", f"{PURE}def f():\n    return datetime.now(UTC)"),
        (impure, "kafka/topics.py", f"{PURE}def f():\n    return dt.datetime.utcnow()"),
        (impure, "kafka/topics.py", f"{PURE}def f():\n    global a\n    a = 1"),
        (impure, "kafka/topics.py", f"{PURE}@lru_cache(maxsize=9)\ndef f(): ..."),
        (impure, "kafka/topics.py", f"{PURE}@functools.cache\ndef f(): ..."),
        (impure, "kafka/topics.py", f"{PURE}known = {{}}"),
        (impure, "kafka/topics.py", f"{PURE}known: dict[str, int] = {{}}"),
        (impure, "kafka/topics.py", f"{PURE}known = collections.defaultdict(int)"),
        (impure, "kafka/topics.py", f"{PURE}known = [each for each in range(3)]"),
        (impure, "kafka/topics.py", f"{PURE}class A:\n    known = set()"),
        (impure, "kafka/topics.py", '"""{"What follows"}? Pure functions."""\nimport io'),
        (impure, "kafka/topics.py", f"import os\n{PURE_FUNCTION}os.path.exists(a)"),
        (impure, "kafka/topics.py", f"from random import random\n{PURE_FUNCTION}random() + a"),
        (impure, "kafka/topics.py", f"import os.path as path\n{PURE_FUNCTION}path.exists(a)"),
        (impure, "kafka/topics.py", f"{PURE_FUNCTION}clock.monotonic() - a"),
        (impure, "kafka/topics.py", f"async {PURE_FUNCTION}a"),
        (impure, "kafka/topics.py", f"async {PURE_FUNCTION}await a"),
    ],
)
def test_planted_violations_are_found(tmp_path: Path, rule: Rule, file: str, text: str) -> None:
    """One wrong line in a sound house is found by its rule."""
    modules = build(tmp_path, SOUND | {file: text})

    assert list(rule(modules))


def test_names_may_be_shared_for_a_reason(tmp_path: Path) -> None:
    """And a reason that nobody needs any more is found, or the next clash would hide behind it."""
    modules = build(tmp_path, SOUND | {"model/value.py": "class Ledger: ..."})

    assert [] == list(shared_names(modules, {"Ledger": "the reason"}))
    assert list(shared_names(modules, {"Ledger": "the reason", "Thing": "none any more"}))


def test_the_tables_are_understood() -> None:
    """Every room of the page has its row, and may import what that names."""
    tables = {table.folder: table.parts for table in tables_in(PAGE)}
    rooms, commands = tables["consumer"], tables["consumer.cli"]

    assert tables.keys() == {"consumer", "consumer.cli", "consumer.cli.dlq"}
    assert rooms["model"] == set()
    assert rooms["settings"] == {"model", "kafka"}
    assert rooms["sandbox"] == {"model", "kafka", "admin", "settings"}
    assert "ghost" not in rooms
    assert commands["files"] == set()
    assert commands["__init__"] == {"output", "files", "dlq", "main", "*"}


@pytest.mark.parametrize("wrong", ["| `kitchen/` | food | nothing |", "| `a.py` | b | `kitchen` |"])
def test_rows_of_what_is_not_there_are_found(tmp_path: Path, wrong: str) -> None:
    """A room that has gone must not stay behind on the page."""
    page = PAGE.replace("| `model/`", f"{wrong}\n| `model/`")
    modules = build(tmp_path, SOUND | {"a.py": ""})

    assert {"the table of consumer names kitchen, which is not there"} == {
        finding for table in tables_in(page) for finding in strange_rows(modules, table)
    }


def test_the_tables_of_the_page_are_all_read() -> None:
    """A row whose form is not understood would hold nobody."""
    section = README.read_text().split("## The rooms", 1)[1].split("\n## ", 1)[0]
    written = [line for line in section.splitlines() if line.startswith("| `")]
    read = tables_in(README.read_text())

    assert len(written) == sum(len(table.rows) for table in read)
    assert {"consumer", "consumer.operations", "consumer.cli"} <= {each.folder for each in read}


@pytest.mark.parametrize(
    "wrong",
    [
        "| `kafka/` | source | `model`, `admin` |",
        "| `kafka/` | source | everything but `cli`, `sandbox`, `settings` |",
        "| `kafka/`, `attic/` | source | `attic` |",
    ],
)
def test_arrows_that_point_up_are_found(wrong: str) -> None:
    """Also where the row says "everything", or names what stands in it beside itself."""
    page = PAGE.replace("| `kafka/` | source | `model` |", wrong)

    assert [] == [finding for table in tables_in(PAGE) for finding in arrows_up(table)]
    assert [finding for table in tables_in(page) for finding in arrows_up(table)]
