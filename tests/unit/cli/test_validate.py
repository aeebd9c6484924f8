from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from consumer.cli.files import EventLine, UnreadableError, read_events
from consumer.cli.main import run_line
from consumer.contract.envelope import Envelope
from consumer.contract.schemas import files as schema_files
from consumer.model.outcome import Refused
from consumer.model.record import Coordinates, Record
from consumer.publishing import RecordMaker
from consumer.sandbox.samples import sample_documents, sample_events
from consumer.settings import load_settings
from consumer.wiring.events import event_reader

GOOD = list(sample_events(3))
BAD = orjson.dumps(sample_documents(1)[0] | {"title": 7, "chunks": [{"id": "c", "content": " "}]})


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def test_valid_files_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NDJSON, plain or gzipped whatever the name says, over several files; exit 0."""
    plain = written(tmp_path / "a.ndjson", *GOOD, b"")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(GOOD[0]) + gzip.compress(b"\n" + GOOD[1]))
    assert run_line(["validate", str(plain), str(packed)]) == 0
    assert capsys.readouterr().out.endswith("5 events: 5 valid, 0 invalid; 2 notes\n")


def test_every_problem_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`file:line:column: /pointer: problem`, blank lines counted as lines; exit 3."""
    path = written(tmp_path / "a.ndjson", GOOD[0], b"", BAD, b"\xff", b"[]")
    title, content = BAD.index(b"7,") + 1, BAD.index(b'" "') + 1
    assert run_line(["validate", str(path)]) == 3
    *lines, undecodable, array, summary = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{path}:3:{title}: /title: must be a string",
        f"{path}:3:{content}: /chunks/0/content: is blank",
    ]
    assert undecodable.startswith(f"{path}:4:1: the event is not JSON in UTF-8: ")
    assert array == f"{path}:5:1: the event must be a JSON object, is a list"
    assert summary == "4 events: 1 valid, 3 invalid"


def test_json_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with counts and problems; nothing else on standard output."""
    path = written(tmp_path / "a.ndjson", GOOD[0], BAD)
    assert run_line(["validate", "--json", str(path)]) == 3
    found = orjson.loads(capsys.readouterr().out)
    assert (found["events"], found["valid"], found["invalid"]) == (2, 1, 1)
    assert found["unreadable"] == []
    assert found["problems"][0] == {
        "file": str(path),
        "line": 2,
        "column": BAD.index(b"7,") + 1,
        "document_id": orjson.loads(BAD)["id"],
        "reason": "invalid",
        "pointer": "/title",
        "message": "must be a string",
    }


def test_oddities_are_noted_but_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gaps are accepted by the service, so they are no reason to fail."""
    odd = sample_documents(1)[0] | {"chunks": [{"id": "c", "content": "x", "chunk_index": 4}]}
    path = written(tmp_path / "a.ndjson", orjson.dumps(odd))
    assert run_line(["validate", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{path}:1:1: note: chunk_index has gaps" in said
    assert said.endswith("1 event: 1 valid, 0 invalid; 1 note\n")


@pytest.mark.parametrize("kind", ["missing", "folder", "torn gzip"])
def test_an_unreadable_file_is_exit_2(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named on standard error, and the other files are still checked."""
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "torn gzip":
        path.write_bytes(gzip.compress(GOOD[0])[:-20])
    good = written(tmp_path / "good.ndjson", GOOD[0], BAD)
    assert run_line(["validate", str(path), str(good)]) == 2
    said = capsys.readouterr()
    assert f"{path}: can't be read: " in said.err
    assert said.out.endswith("2 events: 1 valid, 1 invalid; 1 file could not be read\n")


def test_no_file_is_wrong_usage() -> None:
    """Nothing to check is not "all valid"."""
    assert run_line(["validate"]) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_read(packed: bool) -> None:
    """`-` works in a pipe, gzipped or not, and needs no setting at all."""
    data = b"\n".join([*GOOD, BAD])
    done = subprocess.run(
        [sys.executable, "-m", "consumer", "validate", "-"],
        input=gzip.compress(data) if packed else data,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert b"-:4:%d: /title: must be a string\n" % (BAD.index(b"7,") + 1) in done.stdout
    assert done.stdout.endswith(b"4 events: 3 valid, 1 invalid\n")


REFUSED_WITHOUT_ASKING: dict[str, dict[str, Any]] = {
    "no character that a workspace slug can use": {"technology": "日本語"},
    "is no slug": {"workspace": "docs-"},
    "matches no pattern": {"technology": "secret"},
    "is blank": {"chunks": [{"id": "c", "content": "\ufeff \n"}]},
    "has 40 bytes, at most 30": {"chunks": [{"id": "c", "content": "x" * 40}]},
    "has 3 chunks, at most 2": {"chunks": [{"id": f"{n}", "content": "x"} for n in range(3)]},
}


@pytest.mark.parametrize("told", REFUSED_WITHOUT_ASKING)
def test_what_the_service_refuses_without_asking_is_refused(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own settings, and by `publish --dry-run` alike; the service's reader says the same."""
    settings = {"ROUTING_ALLOWED_WORKSPACES": "docs", "DOCUMENT_MAX_CHUNKS": "2",
                "DOCUMENT_MAX_CHUNK_BYTES": "30", "ANYTHINGLLM_API_KEY": "k"}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    good = {"id": "a", "title": "t", "technology": "Docs", "source_url": "u",
            "chunks": [{"id": "c", "content": "x"}]}  # fmt: skip
    bad = orjson.dumps(good | REFUSED_WITHOUT_ASKING[told])
    path = written(tmp_path / "a.ndjson", orjson.dumps(good | {"id": "b"}), bad)

    assert run_line(["validate", str(path)]) == 3
    assert told in capsys.readouterr().out
    assert run_line(["publish", "--dry-run", str(path)]) == 3
    assert told in capsys.readouterr().err
    place = Coordinates("documents", 0, 0)
    reader = event_reader(load_settings(settings))
    (refused, taken) = (
        reader.read(Record(place, 1_790_000_000_000, None, value, ()))
        for value in (bad, orjson.dumps(good))
    )
    assert isinstance(refused.body, Refused)
    assert told in refused.body.problems[0]
    assert not isinstance(taken.body, Refused)


def test_a_setting_that_lets_an_event_in_lets_it_in_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Routing and envelopes are the service's, not guessed."""
    config = tmp_path / "settings.toml"
    config.write_text('[routing.map]\n"日本語" = "japanese"\n')
    mapped = sample_documents(1)[0] | {"technology": "日本語"}
    path = written(tmp_path / "a.json", orjson.dumps(mapped))
    wrapped = RecordMaker(envelope=Envelope.CONNECT).document(GOOD[0]).value or b""
    in_envelope = written(tmp_path / "b.json", wrapped)

    assert run_line(["validate", str(path)]) == 3
    assert run_line(["validate", "--config", str(config), str(path)]) == 0
    assert run_line(["validate", str(in_envelope)]) == 0
    monkeypatch.setenv("DOCUMENT_ENVELOPES", "false")
    assert run_line(["validate", str(in_envelope)]) == 3


def test_what_is_doubtful_is_noted_and_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Misspelt fields, dates in the future, the same document twice, an empty file; exit 0."""
    odd = sample_documents(1)[0] | {"updated_at": "2999-01-01", "createdAt": "x", "colour": 1}
    odd["chunks"][0]["wordCount"] = odd["chunks"][0].pop("word_count", 1)
    path = written(tmp_path / "a.ndjson", orjson.dumps(odd), GOOD[1], GOOD[1])
    empty = written(tmp_path / "b.ndjson", b"", b"")
    assert run_line(["validate", "--json", str(path), str(empty)]) == 0
    found = orjson.loads(capsys.readouterr().out)
    assert (found["valid"], found["noted"], found["problems"]) == (3, 6, [])
    notes = {note.get("pointer", "file"): note for note in found["notes"]}
    assert notes["/createdAt"]["message"] == "is no known field and is ignored"  # it is there, too
    assert notes["/colour"]["message"] == "is no known field and is ignored"
    assert notes["/chunks/0/wordCount"]["message"].endswith("ignored; is `word_count` meant?")
    assert "lies in the future" in notes["/updated_at"]["message"]
    assert notes[""]["message"] == f"the same document as {path}:2; of the two the newer one counts"
    assert (notes[""]["line"], notes["file"]["file"]) == (3, str(empty))

    assert run_line(["publish", "--dry-run", str(path), str(empty)]) == 0
    assert "/updated_at: lies in the future" in capsys.readouterr().err


def test_one_kind_of_message_is_said_a_few_times(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many events with the same faults are a few lines and their number, unless all are wanted.

    What differs from event to event (chunks, values, numbers) makes no other kind of it.
    """
    lines = [
        orjson.dumps(
            sample_documents(1)[0]
            | {"id": f"d{n}", "technology": "語" * (n + 1), "extra": n}
            | {"chunks": [{"id": f"c{k}", "content": "x"} for k in range(n % 3 + 1)]}
        )
        for n in range(60)
    ]
    path = written(tmp_path / "a.ndjson", *lines)
    assert run_line(["validate", "--limit", "3", str(path)]) == 3
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 + 3 + 2 + 1
    assert said[-3].startswith("and 57 more: /technology: technology # has no character")
    assert said[-2] == "and 57 more: note: /extra: is no known field and is ignored"

    assert run_line(["validate", str(written(tmp_path / "b.ndjson", *[b'{"id":'] * 12))]) == 3
    told = "and 2 more: the event is not JSON in UTF-8: unexpected end of data"
    assert told in capsys.readouterr().out.splitlines()
    assert said[-1] == "60 events: 0 valid, 60 invalid; 60 notes"
    assert run_line(["validate", "--limit", "0", str(path)]) == 3
    assert len(capsys.readouterr().out.splitlines()) == 121


def test_a_place_is_one_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a list over many lines, behind a byte order mark, with accents before it."""
    text = """\ufeff  [
      {"id": "größe", "title": "", "technology": "docs", "source_url": "u",
       "chunks": [{"id": "c", "content": "x"},
                  {"id": "c", "content": "y"}]},
      {"id": "b", oops}
    ]"""
    path = tmp_path / "a.json"
    path.write_text(text)
    assert run_line(["validate", str(path)]) == 3
    assert [line.removeprefix(f"{path}:") for line in capsys.readouterr().out.splitlines()] == [
        "2:32: /title: is blank",
        "4:26: /chunks/1/id: is the same as /chunks/0/id",
        "5:19: the event is not JSON in UTF-8: unexpected character, expected a string key",
        "2 events: 0 valid, 2 invalid",
    ]


def events(path: Path) -> list[tuple[int, bytes]]:
    return [(event.line, event.value) for event in read_events([str(path)])]


def test_a_file_may_be_one_event_over_many_lines(tmp_path: Path) -> None:
    """Pretty-printed JSON is how people write examples."""
    pretty = orjson.dumps(sample_documents(1)[0], option=orjson.OPT_INDENT_2)
    assert events(written(tmp_path / "a.json", b"", pretty, b"")) == [(2, pretty)]


def test_a_file_may_be_a_list_of_events(tmp_path: Path) -> None:
    """Each element keeps its bytes and the line it begins in."""
    path = written(tmp_path / "a.json", b'[ {"a": 1e2},', b"", b'{"b":"\\ud800"}, 7', b"]")
    assert events(path) == [(1, b'{"a": 1e2}'), (3, b'{"b":"\\ud800"}'), (3, b"7")]
    assert [event.column for event in read_events([str(path)])] == [3, 1, 17]
    assert events(written(tmp_path / "b.json", b"[]")) == []
    assert events(written(tmp_path / "c.json", b'[{"a":1}]')) == [(1, b'{"a":1}')]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'[{"a":1}, oops]', [(1, b'{"a":1}'), (1, b"oops]")]),
        (b'[{"a":1} {"b":1}]', [(1, b'{"a":1}'), (1, b'{"b":1}]')]),
        (b'[{"a":1}] x', [(1, b'{"a":1}'), (1, b"x")]),
        (b'[{"a":1},', [(1, b'{"a":1}'), (1, b"")]),
        (b"[\xff]", [(1, b"[\xff]")]),
        (b'{"a":\n', [(1, b'{"a":')]),
        (b"[" * 5_000, [(1, b"[" * 4_999)]),
    ],
)
def test_what_is_broken_in_a_list_is_handed_on(
    text: bytes, expected: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    """The reader judges nothing and drops nothing: decoding says what is wrong."""
    assert events(written(tmp_path / "a.json", text)) == expected


def test_lines_are_lines_where_the_name_says_so(tmp_path: Path) -> None:
    """In NDJSON a broken first line is one bad event, not the begin of a large one."""
    path = written(tmp_path / "a.ndjson", b'{"a":', b'{"b":1}')
    assert events(path) == [(1, b'{"a":'), (2, b'{"b":1}')]
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(b'[1]\r\n{"b":1}\r\n'))
    assert events(packed) == [(1, b"[1]"), (2, b'{"b":1}')]


def test_an_empty_file_holds_no_event(tmp_path: Path) -> None:
    """Nor does one of blank lines; a byte order mark at the start of a file is the editor's."""
    assert events(written(tmp_path / "a", b"")) == []
    assert events(written(tmp_path / "b", b"", b" \t", b"")) == []
    assert events(written(tmp_path / "c", b"\xef\xbb\xbf{}")) == [(1, b"{}")]


def test_events_of_many_files_come_in_order(tmp_path: Path) -> None:
    """Files in the order they were named, lazily: the second may be missing until it is due."""
    first = str(written(tmp_path / "1.ndjson", b"{}", b"{}"))
    reader = read_events([first, str(tmp_path / "missing")])
    assert next(reader) == EventLine(first, 1, b"{}")
    assert next(reader).line == 2
    with pytest.raises(UnreadableError, match="missing"):
        next(reader)


def test_schemas_are_exported_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`schemas export` writes all; `--check` writes nothing and exits 3 where a file differs."""
    folder = tmp_path / "out"
    assert run_line(["schemas", "export", "--check", str(folder)]) == 3
    assert not folder.exists()
    assert run_line(["schemas", "export", str(folder)]) == 0
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {str(path.relative_to(folder)): path.read_bytes() for path in written} == schema_files()
    assert run_line(["schemas", "export", "--check", str(folder)]) == 0
    (folder / "asyncapi.json").write_text("{}")
    assert run_line(["schemas", "export", "--check", str(folder)]) == 3
    assert "asyncapi.json" in capsys.readouterr().err
    assert run_line(["schemas", "export", str(folder / "asyncapi.json" / "x")]) == 1


def test_events_in_envelopes_are_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file has no headers: each says by itself what it is in."""
    made = [RecordMaker(envelope=envelope).document(GOOD[0]).value or b"" for envelope in Envelope]
    pretty = orjson.dumps(orjson.loads(GOOD[0]), option=orjson.OPT_INDENT_2)
    framed = b"\0\0\0\0\n" + pretty  # the number of the schema is a line break
    by_line = written(tmp_path / "a.ndjson", *made)
    alone = written(tmp_path / "record.bin", framed)
    bad = written(tmp_path / "bad.json", orjson.dumps({"schema": None, "payload": {"id": "x"}}))

    assert run_line(["validate", str(by_line), str(alone)]) == 0
    count = f"{len(made) + 1} events: {len(made) + 1} valid, 0 invalid"
    assert capsys.readouterr().out.endswith(f"{count}; {len(made)} notes\n")  # all are one document
    assert run_line(["validate", str(bad)]) == 3
    assert "bad.json:1:26: /payload/title: is required" in capsys.readouterr().out
