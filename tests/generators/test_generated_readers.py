"""Models that others make of our schemas: they compile, have the contract's names, and read all.

They read what a run of the service published of every status, what commit cdefe5a published, and
what a version 1.1 may publish (`tests.published.later`); documents, references and headers as well.
Tools are called as schemas/README.md shows.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.contract.dead_letter import ADDED_HEADERS
from consumer.contract.schemas import DRAFT_7, EVENT, HEADERS, REFERENCE, RESULT
from consumer.sandbox.samples import sample_events
from tests.compatibility.forms import Json
from tests.generators.installs import (
    DATAMODEL_CODEGEN,
    NPM,
    PROGRAMS,
    jackson,
    npm,
    pip,
    run,
)
from tests.integration.every_status import results_of_every_status
from tests.integration.service_fixtures import MakeStage
from tests.published import later, recorded_results

# All on one side: what they install takes longer than what they do.
pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.timeout(900)]

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
KINDS = {
    "UploadResult": RESULT,
    "ProcessedDocument": EVENT,
    "DeadLetterReference": REFERENCE,
    "DeadLetterHeaders": HEADERS,
}
INNER = {"FailedChunkEntry", "Source", "ReplayOf", "ChunkEvent", "EventMetadata"}
UNIONS = {"OptionalReplayOf", "OptionalEventMetadata"}  # interfaces, in Java alone
REFERENCE_SHOWN = {
    "schema_version": "1.0", "kind": "reference", "topic": "t", "partition": 2, "offset": 2**40,
    "timestamp_ms": 1_795_000_000_000, "value_bytes": 3_000_000_000, "value_sha256": "ab" * 32,
    "key_bytes": None, "key_sha256": None, "headers_kept": True, "preview_base64": None,
}  # fmt: skip
HEADERS_SHOWN = dict.fromkeys(ADDED_HEADERS, "7") | {"dlq.trace-id": "ab" * 16}
_README = (SCHEMAS / "README.md").read_text()
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where tools are and models are made; one for all tests.

    Attributes:
        node: has ``node_modules``.
        models: has a folder for each tool and language.
        kept: results of the run, once somebody has asked for them.
    """

    node: Path
    models: Path
    kept: list[Json]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("workshop")
    node = npm(folder / "node", *NPM)
    for program in ("modelina.mjs", "asyncapi.mjs"):
        shutil.copy(PROGRAMS / program, node)
    models = folder / "models"
    models.mkdir()
    yield Workshop(node, models, [])
    shutil.rmtree(node)  # 300 MB


@pytest.fixture(scope="session")
def by_modelina(workshop: Workshop) -> dict[str, list[str]]:
    """Modelina's models; their names by language."""
    files = [SCHEMAS / DRAFT_7 / name for name in KINDS.values()]
    told = run("node", "modelina.mjs", workshop.models, *files, cwd=workshop.node)
    names: dict[str, list[str]] = orjson.loads(told)
    return names


@pytest.fixture
async def messages(workshop: Workshop, make_stage: MakeStage) -> list[Json]:
    """Everything that readers have to take, as lines for the programs."""
    if not workshop.kept:
        records = await results_of_every_status(await make_stage())
        workshop.kept.extend(orjson.loads(record.value or b"") for record in records)
    results = [*workshop.kept, *map(orjson.loads, recorded_results())]
    documents = [*sample_events(4, shape="A"), *sample_events(4, shape="B")]
    found = {
        "UploadResult": [*results, *map(later, results)],
        "ProcessedDocument": [orjson.loads(value) for value in documents],
        "DeadLetterReference": [REFERENCE_SHOWN, REFERENCE_SHOWN | {"schema_version": "1.4"}],
        "DeadLetterHeaders": [HEADERS_SHOWN, HEADERS_SHOWN | {"dlq.reason": "quarantined"}],
    }
    return [{"kind": kind, "value": value} for kind, values in found.items() for value in values]


def shown(program: str, changes: Mapping[str, str | Path], having: str = "") -> list[str]:
    """The words that the README shows after this program, some of them changed."""
    lines = re.findall(rf"^(?:npx )?{program}(?:@\S+)? (.*)$", _README, re.MULTILINE)
    (words,) = [shlex.split(line) for line in lines if having in line]
    assert changes.keys() <= set(words)
    return [str(changes.get(word, word)) for word in words]


def read_by(
    reader: Callable[[bytes], bytes], messages: Iterable[Json], *, keeps_unknown: bool
) -> None:
    """A reader takes them all, and what comes out is what went in.

    Args:
        reader: takes lines, and gives one for each.
        messages: what it has to take.
        keeps_unknown: whether fields that it does not know have to come out again.
    """
    sent = list(messages)
    read = [orjson.loads(line) for line in reader(b"\n".join(map(orjson.dumps, sent))).splitlines()]
    assert len(read) == len(sent)
    for message, back in zip(sent, read, strict=True):
        given, got = plain(message["value"]), plain(back)
        assert got == (given if keeps_unknown else cut_to(got, given))
        assert keeps_unknown or set(given) - set(got) <= {"priority"}


def plain(value: Any) -> Any:
    """Without nulls, and instants to the millisecond: JavaScript has no finer ones."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        instant = datetime.fromisoformat(value)
        return int(instant.replace(microsecond=0).timestamp()) * 1000 + instant.microsecond // 1000
    return value


def cut_to(form: Any, value: Any) -> Any:
    """What of a value has a place in a form."""
    if isinstance(form, dict) and isinstance(value, dict):
        return {name: cut_to(form[name], each) for name, each in value.items() if name in form}
    if isinstance(form, list) and isinstance(value, list):
        return [cut_to(*pair) for pair in zip(form, value, strict=True)]
    return value


def test_modelina_as_the_readme_shows_it(workshop: Workshop) -> None:
    """The program that is shown runs, and names are the contract's to the letter."""
    (program,) = re.findall(r"^```js\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL)
    (workshop.node / "shown.mjs").write_text(program)
    shutil.copytree(SCHEMAS / DRAFT_7, workshop.node / DRAFT_7)
    run("node", "shown.mjs", cwd=workshop.node)
    made = (workshop.node / "models" / "UploadResult.ts").read_text()
    assert "'status': string;" in made
    assert "'replay_of': ReplayOf | null;" in made


def test_modelina_names_models_as_the_contract_does(by_modelina: dict[str, list[str]]) -> None:
    """No `AnonymousSchema119`, and no model that the contract does not know."""
    assert by_modelina.keys() == {"python", "typescript", "raw", "java"}
    for language, names in by_modelina.items():
        unions = UNIONS if language == "java" else set()
        assert sorted(names) == sorted({*KINDS, *INNER, *unions})


@pytest.mark.usefixtures("by_modelina")
async def test_modelina_to_python(workshop: Workshop, messages: list[Json]) -> None:
    """Pydantic models; unknown fields are kept."""
    read_by(_python("modelina", workshop.models), messages, keeps_unknown=True)


def _python(tool: str, folder: Path) -> Callable[[bytes], bytes]:
    command = (sys.executable, PROGRAMS / "read.py", tool)
    return lambda lines: run(*command, cwd=folder, given=lines, env={"PYTHONPATH": str(folder)})


async def test_datamodel_code_generator(workshop: Workshop, messages: list[Json]) -> None:
    """Pydantic 2 of the schemas in 2020-12; unknown fields are left out."""
    made = workshop.models / "datamodel"
    made.mkdir()
    installed = {"PYTHONPATH": str(pip(workshop.models.parent / "pip", DATAMODEL_CODEGEN))}
    for kind, name in KINDS.items():
        module = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        places: dict[str, str | Path] = {
            "upload-result.schema.json": SCHEMAS / name,
            "upload_result.py": f"{module}.py",
        }
        command = (sys.executable, "-W", "ignore", "-m", "datamodel_code_generator")
        run(*command, *shown("datamodel-codegen", places), cwd=made, env=installed)
    classes = re.findall(
        r"^class (\w+)", "".join(map(Path.read_text, made.iterdir())), re.MULTILINE
    )
    assert sorted(classes) == sorted({*KINDS, *INNER})
    read_by(_python("datamodel", workshop.models), messages, keeps_unknown=False)


@pytest.mark.usefixtures("by_modelina")
async def test_modelina_and_quicktype_to_typescript(
    workshop: Workshop, messages: list[Json]
) -> None:
    """`tsc --strict` takes both; unknown fields are kept by both."""
    made = workshop.models / "quicktype"
    made.mkdir()
    tools = workshop.node / "node_modules" / ".bin"
    for kind, name in KINDS.items():
        places: dict[str, str | Path] = {
            "UploadResult": kind,
            "UploadResult.ts": made / f"{kind}.ts",
            "upload-result.schema.json": SCHEMAS / name,
        }
        words = shown("quicktype", places, "typescript")
        run(tools / "quicktype", *words, cwd=workshop.node)
    shutil.copy(PROGRAMS / "read.ts", workshop.models)
    run(
        *(tools / "tsc", "--strict", "--target", "es2022", "--module", "commonjs"),
        *("--types", "node", "--typeRoots", workshop.node / "node_modules" / "@types"),
        *("--outDir", "js", "read.ts"),
        cwd=workshop.models,
    )

    def reader(tool: str) -> Callable[[bytes], bytes]:
        return lambda lines: run("node", "js/read.js", tool, cwd=workshop.models, given=lines)

    read_by(reader("modelina"), messages, keeps_unknown=True)
    read_by(reader("quicktype"), messages, keeps_unknown=True)


@pytest.mark.usefixtures("by_modelina")
async def test_modelina_and_quicktype_to_java(workshop: Workshop, messages: list[Json]) -> None:
    """`javac` takes both, and Jackson reads with them; offsets of 64 bits fit.

    quicktype's classes leave unknown fields out, Modelina's keep them.
    """
    made = workshop.models / "quick"
    made.mkdir()
    places = {
        "upload-result.schema.json": SCHEMAS / RESULT,
        "Converter.java": made / "Converter.java",
    }
    quicktype = workshop.node / "node_modules" / ".bin" / "quicktype"
    run(quicktype, *shown("quicktype", places, "java"), cwd=workshop.models)
    jars = jackson(workshop.models.parent / "java")
    sources = [*made.glob("*.java"), *(workshop.models / "models").glob("*.java")]
    at = f"classes:{jars}/*"
    run(
        *("javac", "-encoding", "UTF-8", "-cp", at, "-d", "classes"),
        *(PROGRAMS / "Read.java", *sources),
        cwd=workshop.models,
    )

    def reader(tool: str) -> Callable[[bytes], bytes]:
        command = ("java", "-cp", at, "Read", tool)
        return lambda lines: run(*command, cwd=workshop.models, given=lines)

    read_by(reader("modelina"), messages, keeps_unknown=True)
    results = [each for each in messages if each["kind"] == "UploadResult"]
    read_by(reader("quicktype"), results, keeps_unknown=False)


def test_asyncapis_own_parser_has_nothing_to_say(workshop: Workshop) -> None:
    """No error, no warning, no hint; every topic is there."""
    told = orjson.loads(run("node", "asyncapi.mjs", SCHEMAS / "asyncapi.json", cwd=workshop.node))
    assert told["diagnostics"] == []
    assert sorted(told["channels"]) == [
        "documents.processed", "documents.processed.dlq", "documents.processed.parked",
        "documents.processed.replay", "documents.upload-results",
    ]  # fmt: skip
