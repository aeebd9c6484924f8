from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from consumer.contract.dead_letter import ADDED_HEADERS, Cause, DeadLetter
from consumer.contract.envelope import Places
from consumer.contract.open_schema import opened
from consumer.contract.reference import Reference, reference_to
from consumer.contract.schemas import DRAFT_7, EVENT, HEADERS, REFERENCE, RESULT, files
from consumer.contract.upload_result import UploadResult
from consumer.model.names import TraceId
from consumer.model.origin import instant_of, origin_of
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record
from consumer.pipeline.decode import DecodeLimits, Malformed, decode
from consumer.sandbox.samples import sample_documents, sample_events
from tests.generators.installs import DATAMODEL_CODEGEN, NPM
from tests.published import (
    STATUSES,
    later,
    recorded_results,
    strict_result_schema,
    validated,
)

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
Json = dict[str, Any]
Edit = Callable[[Json], object]


def validator(name: str) -> Draft202012Validator:
    schema = orjson.loads(files()[f"{name}.schema.json"])
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def decodes(raw: Json) -> bool:
    try:
        decode(orjson.dumps(raw), DecodeLimits())
    except Malformed:
        return False
    return True


@pytest.mark.parametrize("name", list(files()))
def test_committed_schemas_are_those_of_the_models(name: str) -> None:
    """The models are the only place to change; `schemas export` writes the rest."""
    assert (SCHEMAS / name).read_bytes() == files()[name]


def test_nothing_else_is_committed_beside_them() -> None:
    """A renamed schema must not leave its old file behind."""
    there = {str(path.relative_to(SCHEMAS)) for path in SCHEMAS.rglob("*") if path.is_file()}
    assert there == {*files(), "README.md"}


@pytest.mark.parametrize("shape", ["A", "B", "mixed"])
def test_samples_of_both_shapes_fit(shape: Any) -> None:
    """Schema and decoder take every generated document."""
    schema = validator("processed-document")
    for value in sample_events(30, seed=3, shape=shape):
        schema.validate(orjson.loads(value))
        decode(value, DecodeLimits())


def test_real_documents_fit(corpus_path: Path) -> None:
    """The schema takes what the upstream processor really writes."""
    schema = validator("processed-document")
    with gzip.open(corpus_path / "processed-documents.ndjson.gz") as lines:
        for line in lines:
            schema.validate(orjson.loads(line))


def in_chunk(**fields: Any) -> Edit:
    return lambda raw: raw["chunks"][0].update(fields)


def at_top(**fields: Any) -> Edit:
    return lambda raw: raw.update(fields)


@pytest.mark.parametrize(
    "edit",
    [
        *(lambda raw, name=name: raw.pop(name)
          for name in ("id", "title", "technology", "source_url", "chunks")),
        *(lambda raw, name=name: raw["chunks"][0].pop(name) for name in ("id", "content")),
        *(at_top(**{name: None}) for name in ("id", "title", "technology", "chunks")),
        at_top(id=" "), at_top(title="\n\t"), at_top(id="x" * 1025), at_top(title="a\x00b"),
        at_top(chunks={}), at_top(chunks=["x"]), at_top(word_count=-1), at_top(word_count="1"),
        at_top(quality_score="x"), at_top(created_at="yesterday"), at_top(updated_at=5),
        at_top(metadata=[]), at_top(metadata={"heading_count": True}), at_top(workspace=1),
        in_chunk(content=""), in_chunk(content=" \u2003"), in_chunk(content="\x00"),
        in_chunk(content="\ufeff"), in_chunk(id="\ufeff"),
        in_chunk(content=7), in_chunk(chunk_index=True), in_chunk(chunk_index=-1),
        in_chunk(chunk_index=2**31), in_chunk(chunk_index=0.5), in_chunk(metadata="x"),
        in_chunk(parent_document_id=4), in_chunk(expires_at="never"),
    ],
)  # fmt: skip
def test_schema_and_decoder_refuse_the_same(edit: Edit) -> None:
    """Where JSON Schema can say it, a publisher's own validation agrees with ours."""
    raw = sample_documents(1)[0]
    edit(raw)
    assert not validator("processed-document").is_valid(raw)
    assert not decodes(raw)


@pytest.mark.parametrize(
    "edit",
    [
        at_top(chunks=[]), at_top(unknown=[1]), at_top(technology=""), at_top(metadata=None),
        at_top(created_at="2026-01-01"), at_top(created_at="2026-01-01T10:00:00.123456789+01:00"),
        at_top(workspace=None), at_top(id="x" * 1024), at_top(quality_score=1),
        at_top(title="日本語 🔔 a/b.c"), in_chunk(chunk_index=None), in_chunk(total_chunks=99),
        in_chunk(content="\n x \n"), in_chunk(content="\x85"), in_chunk(content="\x1c"),
        in_chunk(metadata={"deep": [{}]}),
    ],
)  # fmt: skip
def test_schema_and_decoder_take_the_same(edit: Edit) -> None:
    """Oddities that are accepted are accepted by both."""
    raw = sample_documents(1)[0]
    edit(raw)
    assert validator("processed-document").is_valid(raw)
    assert decodes(raw)


def examples(kind: str) -> Iterator[Json]:
    text = (SCHEMAS / "README.md").read_text()
    for found in re.finditer(rf"<!-- example: {kind} -->\n```json\n(.*?)```", text, re.DOTALL):
        yield orjson.loads(found[1])


def test_examples_of_documents_are_valid() -> None:
    """What the README shows can be published."""
    shown = list(examples("document"))
    assert len(shown) == 2
    for raw in shown:
        validator("processed-document").validate(raw)
        assert decode(orjson.dumps(raw), DecodeLimits()).notes == ()


def test_the_example_of_a_bad_document_is_refused_as_shown() -> None:
    """The README's line about it is what `validate` prints."""
    (raw,) = examples("invalid")
    with pytest.raises(Malformed) as caught:
        decode(orjson.dumps(raw), DecodeLimits())
    assert [str(problem) for problem in caught.value.problems] == ["/chunks/0/content: is blank"]
    page = (SCHEMAS / "README.md").read_text()
    shown = page.split("<!-- example: invalid -->\n```json\n")[1].split("```")[0]
    line, column = Places(shown.encode()).of("/chunks/0/content")
    assert f"`FILE:{line}:{column}: /chunks/0/content: is blank`" in page


def test_the_example_of_a_result_is_one() -> None:
    """Model and schema take it, invariants included, and it comes out as it went in."""
    (raw,) = examples("result")
    validator("upload-result").validate(raw)
    assert orjson.loads(UploadResult.model_validate(raw).encode()) == raw


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "superseded"},
        {"status": "succeeded"},
        {"status": "failed"},
        {"failed_uploads": 0},
        {"trace_id": "X"},
        {"source": {}},
        {"errors": None},
    ],
)
def test_the_strict_schema_knows_the_invariants(wrong: Json) -> None:
    """As far as JSON Schema can count; what tests find published is held to it."""
    (raw,) = examples("result")
    strict = Draft202012Validator(strict_result_schema())
    strict.validate(raw)
    assert not strict.is_valid(raw | wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"schema_version": "2.0"}, {"schema_version": 1}, {"trace_id": "X"}, {"source": {}},
     {"errors": None}, {"total_chunks": -1}, {"status": None}, {"duration_ms": "1"},
     {"replay_of": {}}],
)  # fmt: skip
def test_the_published_schema_still_refuses_what_is_no_result(wrong: Json) -> None:
    """Open for what is added, not for anything at all."""
    (raw,) = examples("result")
    assert not validator("upload-result").is_valid(raw | wrong)


def test_results_of_every_status_fit_the_strict_schema_and_the_published_ones() -> None:
    """What commit cdefe5a published, and what we publish today: the same bytes."""
    found = [validated(value) for value in recorded_results()]
    assert {result["status"] for result in found} == STATUSES
    assert any(result["replay_of"] for result in found)


@pytest.mark.parametrize("value", recorded_results())
def test_a_result_of_a_later_version_fits_what_is_published(value: bytes) -> None:
    """A reader who validates goes on when 1.1 comes; our own tests would see that it is another."""
    result = later(orjson.loads(value))
    validator("upload-result").validate(result)
    Draft7Validator(orjson.loads(files()[f"{DRAFT_7}/{RESULT}"])).validate(result)
    assert not Draft202012Validator(strict_result_schema()).is_valid(result)


def test_a_dead_letter_of_a_later_version_fits_what_is_published() -> None:
    """The headers with another reason, the reference with another field."""
    (reference,) = examples("reference")
    newer = reference | {"schema_version": "1.3", "broker": 4}
    validator("dead-letter-reference").validate(newer)
    assert not validator("dead-letter-reference").is_valid(newer | {"kind": "document"})
    schema = orjson.loads(files()[HEADERS])
    headers = dict.fromkeys(schema["required"], "1") | {"dlq.trace-id": "a" * 32}
    validator("dead-letter-headers").validate(headers | {"dlq.reason": "quarantined"})


@pytest.mark.parametrize("name", [EVENT, RESULT, HEADERS, REFERENCE])
def test_a_schema_in_draft_7_says_the_same(name: str) -> None:
    """Only the names of the dialect differ, and the id, because two schemas never share one."""
    newer, older = orjson.loads(files()[name]), orjson.loads(files()[f"{DRAFT_7}/{name}"])
    Draft7Validator.check_schema(older)
    assert older.pop("$schema") == "http://json-schema.org/draft-07/schema#"
    assert older.pop("$id") == f"{newer.pop('$id')}:draft-07"
    del newer["$schema"]
    assert orjson.loads(orjson.dumps(older).replace(b"definitions", b"$defs")) == newer


@pytest.mark.parametrize("name", list(files()))
def test_nothing_is_said_that_generators_stumble_over(name: str) -> None:
    """Each object has a title or its models have no name, and nothing closes what is to grow.

    `anyOf` is a union to Modelina, which needs a name of its own in Java; `const` of a string is a
    default in two pairs of quotes.
    """
    document = orjson.loads(files()[name])
    names: list[str] = []
    for node in nodes(document):
        assert not {"const", "enum", "if", "then", "allOf", "oneOf"} & node.keys()
        assert node.get("additionalProperties") in (None, True) or "type" not in node
        if "properties" in node or "anyOf" in node:
            assert node["title"].isidentifier()
            names.append(node["title"])
    assert len(names) == len(set(names))


def test_a_schema_is_opened_wherever_it_is_closed() -> None:
    """Enums that may be null, in lists and alone; a field by the name of a word of JSON Schema."""
    mood = {"enum": ["good", "bad"], "title": "Mood", "type": "string"}
    inner = {"type": "object", "title": "Inner", "additionalProperties": False, "properties": {}}
    made = opened(
        {
            "$defs": {"Mood": mood, "Inner": inner},
            "title": "Outer",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "title": {"title": "Title", "type": "string"},
                "mood": {"anyOf": [{"$ref": "#/$defs/Mood"}, {"type": "null"}], "default": None},
                "moods": {"type": "array", "items": {"$ref": "#/$defs/Mood"}},
                "inner": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}]},
            },
        }
    )
    known = {"examples": ["good", "bad"]}
    assert made == {
        "$defs": {"Inner": {"title": "Inner", "type": "object", "properties": {}}},
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "mood": {"type": ["string", "null"], **known},
            "moods": {"type": "array", "items": {"type": "string", **known}},
            "inner": {
                "title": "OptionalInner",
                "anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}],
            },
        },
    }


def test_every_field_of_a_result_is_required_and_more_are_allowed() -> None:
    """Readers may rely on every field but the one that came later; 1.x may add some."""
    schema = orjson.loads(files()["upload-result.schema.json"])
    assert set(schema["required"]) == set(UploadResult.model_fields) - {"reason"}
    assert schema["properties"]["reason"]["type"] == ["string", "null"]
    (raw,) = examples("result")
    assert validator("upload-result").is_valid(raw | {"later": 1})


@pytest.mark.parametrize("is_reference", [True, False])
def test_dead_letters_fit_their_schemas(is_reference: bool) -> None:
    """Headers as they are sent, and the value of one by reference."""
    record = Record(Coordinates("in", 0, 1), -1, None, b"{}", (("own", b"1"),))
    letter = DeadLetter(
        record=reference_to(record) if is_reference else record,
        origin=origin_of(record),
        cause=Cause(FailureReason.OVERSIZED, "too large", "decode", "c", http_status=413),
        event_id="e", trace_id=TraceId("a" * 32), group="g", task="t",
        failed_at=instant_of(1),
    )  # fmt: skip
    validator("dead-letter-headers").validate(
        {name: value.decode() for name, value in letter.headers}
    )
    if is_reference:
        validator("dead-letter-reference").validate(orjson.loads(letter.value or b""))


def test_references_fit_their_schema() -> None:
    """The README's example, and a record of which nothing but the place is known."""
    (raw,) = examples("reference")
    validator("dead-letter-reference").validate(raw)
    place = Reference(Coordinates("in", 0, 1))
    record = Record(place.at, 1, None, None)
    letter = DeadLetter(
        record=place, origin=origin_of(record), event_id="e", trace_id=TraceId("a" * 32), group="g",
        cause=Cause(FailureReason.UNDECODABLE, "m", "poll", "c"), task="t",
        failed_at=instant_of(1),
    )  # fmt: skip
    validator("dead-letter-reference").validate(orjson.loads(letter.value or b""))


def test_the_readme_names_every_header_field_and_reason() -> None:
    """The words keep up with the models."""
    text = (SCHEMAS / "README.md").read_text()
    for name in ADDED_HEADERS:
        short = name.removeprefix("__connect.errors.").removeprefix("dlq.")
        assert f"`{short}`" in text
    for reason in FailureReason:
        assert f"| `{reason.value}` |" in text
    for status in ("succeeded", "partial", "failed", "superseded", "deleted", "invalid"):
        assert f"| `{status}` |" in text


def test_the_readme_names_the_tools_that_are_tried() -> None:
    """In the versions of the tests, which show that they work."""
    text = (SCHEMAS / "README.md").read_text()
    for pinned in (DATAMODEL_CODEGEN, *NPM):
        name, version = re.split(r"==|(?<=\w)@", pinned)
        if f"`{name}`" in text:
            assert f"`{name}` {version}" in text
        if f"npx {name}" in text:
            assert text.count(f"npx {name}") == text.count(f"npx {pinned} ")


def test_asyncapi_covers_all_topics_and_points_at_what_exists() -> None:
    """Every reference leads to a component: the document is whole by itself."""
    document = orjson.loads(files()["asyncapi.json"])
    assert document["asyncapi"] == "3.1.0"
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {
        "documents.processed", "documents.processed.replay", "documents.upload-results",
        "documents.processed.dlq", "documents.processed.parked",
    }  # fmt: skip
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            name = message["$ref"].rpartition("/")[2]
            assert "key" in document["components"]["messages"][name]["bindings"]["kafka"]


def references(document: Json) -> Iterator[str]:
    for node in nodes(document):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]


def nodes(node: Any) -> Iterator[Json]:
    """Every object of a document."""
    if isinstance(node, dict):
        yield node
    if isinstance(node, dict | list):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from nodes(inner)
