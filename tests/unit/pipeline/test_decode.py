from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.contract.envelope import values_in, wrapping_of
from consumer.contract.processed_document import MAX_PROBLEMS
from consumer.model.outcome import FailureReason
from consumer.pipeline.decode import DecodeLimits, HeavyInside, Malformed, decode, is_heavy
from consumer.sandbox.samples import sample_events

LIMITS = DecodeLimits()
Json = dict[str, Any]
Edit = Callable[[Json], object]


def event(**fields: Any) -> Json:
    chunks = [{"id": f"d_chunk_{n}", "content": f"text {n}", "chunk_index": n} for n in range(3)]
    base = {"id": "d", "title": "T", "technology": "t", "source_url": "https://x", "chunks": chunks}
    return base | fields


def refused(value: bytes, limits: DecodeLimits = LIMITS) -> Malformed:
    with pytest.raises(Malformed) as caught:
        decode(value, limits)
    return caught.value


def pointers(malformed: Malformed) -> list[str]:
    return [problem.pointer for problem in malformed.problems]


def test_the_least_an_event_may_hold_is_enough() -> None:
    """Only id, title, technology, source_url, chunks and a chunk's id and content are required."""
    least = event(chunks=[{"id": "c", "content": "x"}], unknown={"any": ["thing"]})
    document = decode(orjson.dumps(least), LIMITS)
    assert (document.id, document.title, document.technology) == ("d", "T", "t")
    assert [(chunk.id, chunk.content, chunk.index) for chunk in document.chunks] == [("c", "x", 0)]
    assert (document.created_at, document.content_hash, document.notes) == (None, None, ())


def test_an_empty_list_of_chunks_is_legal() -> None:
    """It says that the document has no content."""
    assert decode(orjson.dumps(event(chunks=[])), LIMITS).chunks == ()


@pytest.mark.parametrize("shape", ["A", "B"])
def test_both_shapes_become_one_document(shape: Any) -> None:
    """What the stations get does not show which upstream pipeline wrote the event."""
    for value in sample_events(20, shape=shape):
        raw = orjson.loads(value)
        document = decode(value, LIMITS)
        assert [chunk.content for chunk in document.chunks] == [c["content"] for c in raw["chunks"]]
        assert document.content_hash
        assert document.created_at is not None
        assert document.notes == ()


def test_the_hash_of_the_document_counts_before_that_of_its_metadata() -> None:
    """`content_hash` is looked for in both places, the document's own first."""
    in_both = event(content_hash="own", metadata={"content_hash": "other"})
    assert decode(orjson.dumps(in_both), LIMITS).content_hash == "own"
    in_metadata = event(metadata={"content_hash": "other"})
    assert decode(orjson.dumps(in_metadata), LIMITS).content_hash == "other"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-22T19:02:33.769931", datetime(2026, 11, 22, 19, 2, 33, 769931, UTC)),
        ("2026-11-22T19:02:33Z", datetime(2026, 11, 22, 19, 2, 33, 0, UTC)),
        ("2026-11-22t19:02:33z", datetime(2026, 11, 22, 19, 2, 33, 0, UTC)),
        ("2026-11-22 19:02+02:00", datetime(2026, 11, 22, 17, 2, 0, 0, UTC)),
        ("2026-11-22T19:02:33.123456789+0000", datetime(2026, 11, 22, 19, 2, 33, 123456, UTC)),
        ("2026-11-22", datetime(2026, 11, 22, 0, 0, 0, 0, UTC)),
        ("0001-01-01T00:00:00", datetime(1, 1, 1, 0, 0, 0, 0, UTC)),
    ],
)
def test_dates_without_a_zone_are_utc(text: str, instant: datetime) -> None:
    """The upstream processor writes naive UTC; every date comes out aware, in UTC."""
    updated = decode(orjson.dumps(event(updated_at=text)), LIMITS).updated_at
    assert updated == instant
    assert updated.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "0000-01-01", "10000-01-01", "2026-02-30", "2026-13-01", "20260101",
     "2026-W01-1", "1764000000", "2026-11-22T25:00:00", "2026-11-22T10:00:00+99:00",
     "9999-12-31T23:00:00-05:00", "0001-01-01T00:00:00+14:00", "２０２６-11-22", "2026-11-22T"],
)  # fmt: skip
def test_what_is_no_date_is_invalid(text: str) -> None:
    """A date that can't be held (year 0 or 10000, 30 February) would make the version a guess."""
    malformed = refused(orjson.dumps(event(created_at=text)))
    assert (malformed.reason, pointers(malformed)) == (FailureReason.INVALID, ["/created_at"])


def test_chunks_come_in_the_order_of_their_index() -> None:
    """Where every chunk has an index of its own, the index decides and is kept; gaps are noted."""
    chunks = [{"id": str(n), "content": "x", "chunk_index": n} for n in (7, 0, 3)]
    document = decode(orjson.dumps(event(chunks=chunks)), LIMITS)
    assert [(chunk.id, chunk.index) for chunk in document.chunks] == [("0", 0), ("3", 3), ("7", 7)]
    assert document.notes == ("chunk_index has gaps: 3 chunks up to 7",)


@pytest.mark.parametrize("indices", [(0, 0, 1), (0, None, 1)])
def test_chunks_without_a_clear_index_stay_as_listed(indices: tuple[int | None, ...]) -> None:
    """Repeated or missing indices say nothing: the list's order counts, with a note."""
    chunks = [
        {"id": str(at), "content": "x", "chunk_index": index} for at, index in enumerate(indices)
    ]
    document = decode(orjson.dumps(event(chunks=chunks)), LIMITS)
    assert [(chunk.id, chunk.index) for chunk in document.chunks] == [("0", 0), ("1", 1), ("2", 2)]
    assert len(document.notes) == 1


def test_a_total_that_disagrees_is_accepted_and_noted() -> None:
    """The list counts, whatever total_chunks says."""
    chunks = [{"id": str(n), "content": "x", "chunk_index": n, "total_chunks": 9} for n in (0, 1)]
    document = decode(orjson.dumps(event(chunks=chunks)), LIMITS)
    assert document.notes == ("total_chunks disagrees: the event holds 2 chunks",)


def in_chunk(**fields: Any) -> Edit:
    return lambda raw: raw["chunks"][1].update(fields)


def at_top(**fields: Any) -> Edit:
    return lambda raw: raw.update(fields)


def without(name: str) -> Edit:
    return lambda raw: raw.pop(name)


BAD: list[tuple[str, Edit, list[str]]] = [
    ("no id", without("id"), ["/id"]),
    ("no title", without("title"), ["/title"]),
    ("no technology", without("technology"), ["/technology"]),
    ("no source_url", without("source_url"), ["/source_url"]),
    ("no chunks", without("chunks"), ["/chunks"]),
    ("null id", at_top(id=None), ["/id"]),
    ("number for id", at_top(id=7), ["/id"]),
    ("blank id", at_top(id=" \n"), ["/id"]),
    ("a byte order mark for a text", in_chunk(content="\ufeff"), ["/chunks/1/content"]),
    ("blank title", at_top(title=""), ["/title"]),
    ("blank url", at_top(source_url="\u00a0"), ["/source_url"]),
    ("list for title", at_top(title=["a"]), ["/title"]),
    ("NUL in title", at_top(title="a\x00b"), ["/title"]),
    ("NUL in technology", at_top(technology="a\x00b"), ["/technology"]),
    ("long id", at_top(id="x" * 1025), ["/id"]),
    ("long id in bytes", at_top(id="é" * 513), ["/id"]),
    ("long url", at_top(source_url="x" * 8193), ["/source_url"]),
    ("chunks null", at_top(chunks=None), ["/chunks"]),
    ("chunks object", at_top(chunks={}), ["/chunks"]),
    ("chunk string", at_top(chunks=["text"]), ["/chunks/0"]),
    ("chunk null", at_top(chunks=[None]), ["/chunks/0"]),
    ("workspace number", at_top(workspace=3), ["/workspace"]),
    ("trace_id number", at_top(trace_id=3), ["/trace_id"]),
    ("metadata list", at_top(metadata=[]), ["/metadata"]),
    ("metadata count", at_top(metadata={"word_count": "9"}), ["/metadata/word_count"]),
    ("date number", at_top(created_at=1764000000), ["/created_at"]),
    ("quality text", at_top(quality_score="high"), ["/quality_score"]),
    ("count text", at_top(word_count="12"), ["/word_count"]),
    ("chunk without id", lambda raw: raw["chunks"][1].pop("id"), ["/chunks/1/id"]),
    ("chunk without content", lambda raw: raw["chunks"][1].pop("content"), ["/chunks/1/content"]),
    ("blank content", in_chunk(content=" \t\n"), ["/chunks/1/content"]),
    ("NUL in content", in_chunk(content="a\x00b"), ["/chunks/1/content"]),
    ("number for content", in_chunk(content=1), ["/chunks/1/content"]),
    ("long chunk id", in_chunk(id="x" * 1025), ["/chunks/1/id"]),
    ("double id", in_chunk(id="d_chunk_0"), ["/chunks/1/id"]),
    ("other parent", in_chunk(parent_document_id="e"), ["/chunks/1/parent_document_id"]),
    ("index true", in_chunk(chunk_index=True), ["/chunks/1/chunk_index"]),
    ("index text", in_chunk(chunk_index="1"), ["/chunks/1/chunk_index"]),
    ("index fraction", in_chunk(chunk_index=1.5), ["/chunks/1/chunk_index"]),
    ("index negative", in_chunk(chunk_index=-1), ["/chunks/1/chunk_index"]),
    ("index 2**63", in_chunk(chunk_index=2**63), ["/chunks/1/chunk_index"]),
    ("metadata text", in_chunk(metadata="x"), ["/chunks/1/metadata"]),
]


@pytest.mark.parametrize(("edit", "where"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_broken_contract_is_invalid_with_a_pointer(edit: Edit, where: list[str]) -> None:
    """Missing, mistyped, blank, doubled, over-long: `invalid`, and the pointer says where."""
    raw = event()
    edit(raw)
    malformed = refused(orjson.dumps(raw))
    assert (malformed.reason, pointers(malformed)) == (FailureReason.INVALID, where)


def test_a_blank_technology_is_left_to_routing() -> None:
    """A fixed workspace can serve it; where none can, it is `unroutable`."""
    assert decode(orjson.dumps(event(technology="")), LIMITS).technology == ""


def test_all_problems_are_told_at_once() -> None:
    """A publisher shall not have to publish once per mistake."""
    raw = event(title=None, created_at="never", chunks=[{"id": "a"}, {"id": "a", "content": ""}])
    assert pointers(refused(orjson.dumps(raw))) == [
        "/title", "/chunks/0/content", "/chunks/1/content", "/created_at", "/chunks/1/id",
    ]  # fmt: skip


def test_problems_are_bounded() -> None:
    """An event with very many mistakes must not become a huge message about them."""
    malformed = refused(orjson.dumps(event(chunks=[{}] * 10_000)))
    assert len(malformed.problems) == MAX_PROBLEMS + 1
    assert len(str(malformed)) < 300


def test_messages_hold_no_text_of_the_document() -> None:
    """Problems go into logs, headers and results, where document text must not be."""
    canary = "CANARY"
    raw = event(
        title=[canary], created_at=canary, workspace={canary: canary}, quality_score=canary,
        chunks=[
            {"id": canary, "content": f"\x00{canary}", "chunk_index": canary},
            {"id": canary, "content": 1, "parent_document_id": canary},
        ],
    )  # fmt: skip
    malformed = refused(orjson.dumps(raw))
    assert canary not in str(malformed)
    assert all(canary not in str(problem) for problem in malformed.problems)
    undecodable = refused(orjson.dumps(raw) + canary.encode())
    assert all(canary not in str(problem) for problem in undecodable.problems)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", FailureReason.UNDECODABLE),
        (b"  \n", FailureReason.UNDECODABLE),
        (b"{", FailureReason.UNDECODABLE),
        (b"{}{}", FailureReason.UNDECODABLE),
        (b"[" * 100_000, FailureReason.UNDECODABLE),
        (b'{"a":' * 100_000, FailureReason.UNDECODABLE),
        (b"\xef\xbb\xbf{}", FailureReason.UNDECODABLE),
        ("{}".encode("utf-16"), FailureReason.UNDECODABLE),
        ("{}".encode("utf-32-le"), FailureReason.UNDECODABLE),
        (b'{"id":"\xff"}', FailureReason.UNDECODABLE),
        (b'{"id":"\xc0\xaf"}', FailureReason.UNDECODABLE),
        (b'{"id":"\xed\xa0\x80"}', FailureReason.UNDECODABLE),
        (b'{"id":"a\nb"}', FailureReason.UNDECODABLE),
        (b"{'id':1}", FailureReason.UNDECODABLE),
        (b"\x1f\x8b\x08", FailureReason.UNDECODABLE),
        (b"\x00\x00\x00\x00\x01{", FailureReason.UNDECODABLE),
        (b"\x00\x00\x00\x00\x01{}", FailureReason.INVALID),
        (b'{"id":' + b"9" * 4_301 + b',"x":NaN}', FailureReason.UNDECODABLE),
        (b"null", FailureReason.INVALID),
        (b"[]", FailureReason.INVALID),
        (b'"x"', FailureReason.INVALID),
        (b"1", FailureReason.INVALID),
        (b"true", FailureReason.INVALID),
        (b"{}", FailureReason.INVALID),
        (b"NaN", FailureReason.INVALID),
        (b'{"__proto__":{},"constructor":1}', FailureReason.INVALID),
    ],
)
def test_bytes_that_are_no_event_are_refused(value: bytes, reason: FailureReason) -> None:
    """What is not JSON in UTF-8 is `undecodable`; JSON that is no event is `invalid`."""
    malformed = refused(value)
    assert malformed.reason is reason
    assert malformed.problems
    assert malformed.document_id is None


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (b'"T"', b'"\\ud800"', "/title"),
        (b'"text 1"', b'"a\\udc00b"', "/chunks/1/content"),
        (b'"T"', b'"T","quality_score":NaN', "/quality_score"),
        (b'"T"', b'"T","processing_metadata":{"a/b":[1,-Infinity]}',
         "/processing_metadata/a~1b/1"),
        (b'"T"', b'"T","word_count":1e400', "/word_count"),
        (b'"T"', b'"T","x":{"\\ud800":1}', "/x"),
    ],
)  # fmt: skip
def test_what_only_python_can_write_is_invalid_with_an_answer(
    old: bytes, new: bytes, where: str
) -> None:
    """NaN and lone surrogates are refused, but the id is readable: the publisher gets a result."""
    malformed = refused(orjson.dumps(event()).replace(old, new))
    assert malformed.reason is FailureReason.INVALID
    assert pointers(malformed) == [where]
    assert malformed.document_id == "d"


@pytest.mark.parametrize("digits", ["1" * 30, "9" * 4_000])
def test_a_huge_integer_is_no_index(digits: str) -> None:
    """The parser would make a float of it; it is refused rather than rounded."""
    value = orjson.dumps(event()).replace(b'"chunk_index":1', f'"chunk_index":{digits}'.encode())
    malformed = refused(value)
    assert malformed.reason is FailureReason.INVALID
    assert pointers(malformed) == ["/chunks/1/chunk_index"]


def test_deep_nesting_in_an_ignored_field_is_harmless() -> None:
    """Up to the parser's own limit unknown fields are ignored, however deep."""
    value = orjson.dumps(event()).replace(b'"T"', b'"T","x":' + b"[" * 900 + b"]" * 900)
    assert decode(value, LIMITS).id == "d"


def test_the_last_of_equal_field_names_counts() -> None:
    """As in nearly every JSON parser."""
    value = orjson.dumps(event()).replace(b'"T"', b'"first","title":"last"')
    assert decode(value, LIMITS).title == "last"


@pytest.mark.parametrize(
    ("limits", "where"),
    [
        (DecodeLimits(max_chunks=2), "/chunks"),
        (DecodeLimits(max_chunk_bytes=5), "/chunks/0/content"),
        (DecodeLimits(max_bytes=150), ""),
    ],
)
def test_what_is_beyond_a_limit_is_oversized(limits: DecodeLimits, where: str) -> None:
    """Every limit is named `oversized`, and the publisher still gets an answer by its id."""
    malformed = refused(orjson.dumps(event()), limits)
    assert malformed.reason is FailureReason.OVERSIZED
    assert pointers(malformed)[0] == where
    assert malformed.document_id == "d"


def test_a_limit_is_inclusive_and_counts_utf8_bytes() -> None:
    """Exactly as much as allowed is allowed."""
    raw = event(chunks=[{"id": "c", "content": "é" * 5}])
    value = orjson.dumps(raw)
    exact = DecodeLimits(max_chunks=1, max_chunk_bytes=10, max_bytes=len(value))
    assert decode(value, exact).chunks[0].content == "é" * 5
    assert refused(value, DecodeLimits(max_chunk_bytes=9)).reason is FailureReason.OVERSIZED


def test_an_event_far_too_large_is_not_parsed_at_all() -> None:
    """Beyond twice the limit even its id is not looked for: that would cost memory."""
    value = orjson.dumps(event())
    assert refused(value, DecodeLimits(max_bytes=len(value) // 3)).document_id is None


def test_what_is_both_oversized_and_broken_is_invalid() -> None:
    """All problems are told, and the contract comes before the limits."""
    raw = event(title=1)
    malformed = refused(orjson.dumps(raw), DecodeLimits(max_chunk_bytes=5))
    assert malformed.reason is FailureReason.INVALID
    assert pointers(malformed)[:2] == ["/title", "/chunks/0/content"]


@pytest.mark.parametrize("document_id", ["", " ", 5, None, "a\x00", "x" * 1025, ["a"]])
def test_an_unusable_id_is_not_handed_on(document_id: object) -> None:
    """A result without a usable id would be filed under nonsense."""
    assert refused(orjson.dumps(event(id=document_id))).document_id is None


def test_the_readable_fields_of_a_broken_event_are_kept() -> None:
    """Its trace and, as far as possible, its identity go into the answer."""
    readable = refused(orjson.dumps(event(chunks=None, trace_id="abc"))).readable
    assert (readable.document_id, readable.source_url, readable.technology, readable.trace_id) == (
        "d", "https://x", "t", "abc",
    )  # fmt: skip


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_malformed(value: bytes) -> None:
    """Decode raises `Malformed` and nothing else: one poisoned record may never stop the stream."""
    expect_document_or_malformed(value)


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["id", "chunks", "title", "content", "x"]), inner),
))  # fmt: skip
def test_any_json_is_a_document_or_malformed(value: object) -> None:
    """The same for well-formed JSON of any shape."""
    expect_document_or_malformed(orjson.dumps(value))


@given(st.integers(0, 10_000))
def test_damaged_events_are_documents_or_malformed(seed: int) -> None:
    """Bits flipped, bytes cut, doubled or replaced by what hurts parsers, in real events."""
    source = random.Random(seed)
    value = bytearray(next(sample_events(1, seed=seed % 50, shape="B" if seed % 2 else "A")))
    hurtful = [b"NaN", b"\x00", b'"', b"[" * 50, b"\\ud800", b"1e400", b"null", b"{", b"\xff", b"-"]
    for _ in range(source.randint(1, 4)):
        start = source.randrange(len(value))
        end = min(len(value), start + source.choice([0, 1, 1, 7, 40]))
        value[start:end] = source.choice([*hurtful, bytes([source.randrange(256)]), b""])
    expect_document_or_malformed(bytes(value))


def expect_document_or_malformed(value: bytes) -> None:
    malformed = None
    try:
        document_id = decode(value, LIMITS).id
    except Malformed as error:
        malformed = error
        document_id = error.document_id or "unreadable"
    assert malformed is None or malformed.problems
    assert document_id.strip()
    f"{malformed} {document_id}".encode()  # Raises where a lone surrogate got through.


def test_all_real_documents_are_valid(corpus_path: Path) -> None:
    """The 300 documents of the upstream processor decode without a note, text byte for byte."""
    with gzip.open(corpus_path / "processed-documents.ndjson.gz") as lines:
        for line in lines:
            document = decode(line, LIMITS)
            raw = orjson.loads(line)
            contents = [chunk["content"] for chunk in raw["chunks"]]
            assert [chunk.content for chunk in document.chunks] == contents
            assert document.notes == ()


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (b"[]", 2),
        (b"[1,2,[3]]", 5),
        (b'{"a":1,"b":{"c":[1,2]}}', 6),
        (b'["a,b","[{,",",\\\\","\\",,"]', 5),
        (b'{"text":"\\\\\\",[[["}', 2),
        (b"", 1),
        (b'no JSON, "at all', 2),
    ],
)
def test_values_are_counted_without_being_read(value: bytes, count: int) -> None:
    """What stands in texts is none, whatever is escaped there; an empty list counts twice."""
    assert values_in(value) == count


@given(st.recursive(st.none() | st.integers(0, 9) | st.text(',[{"\\\\ax'), st.lists, max_leaves=30))
def test_never_fewer_values_are_counted_than_there_are(content: object) -> None:
    """The count is a bound of the memory that reading takes."""

    def values(of: object) -> int:
        return 1 + sum(map(values, of)) if isinstance(of, list) else 1

    def empty(of: object) -> int:
        return sum(map(empty, of)) if of and isinstance(of, list) else of == []

    assert values_in(orjson.dumps(content)) == values(content) + empty(content)
    assert values_in(orjson.dumps(content), enough=50) >= values(content)


def test_texts_that_lie_in_several_pieces_are_texts_in_each() -> None:
    """Values are counted piece by piece, and a text may begin in one and end in another."""
    content = [',[{"' * number for number in range(0, 60_000, 7_001)]
    assert values_in(orjson.dumps(content)) == len(content) + 1


@pytest.mark.parametrize("unit", [b'"",', b"[],", b'"\\"",', b"0,"])
def test_what_is_far_too_large_is_refused_without_being_looked_into(unit: bytes) -> None:
    """It is decoded within the loop, and 60 MiB of quotes took 1.3 s and 1.9 GB to be counted.

    They come as a batch of some kilobytes that unfolds to them.
    """
    limits = DecodeLimits(max_bytes=2**20)
    value = b"[" + unit * (4 * 2**20 // len(unit)) + b"0]"
    assert not is_heavy(value, limits)
    tracemalloc.start()
    try:
        malformed = refused(value, limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert malformed.reason is FailureReason.OVERSIZED
    assert peak < len(value) // 8


def test_quotes_take_no_memory_to_be_counted() -> None:
    """Split at once, each takes 33 bytes and more."""
    value = b'"",' * 2**20
    tracemalloc.start()
    try:
        assert values_in(value) == 2**20 + 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(value)


def test_an_event_of_too_many_values_is_oversized_and_its_publisher_is_answered() -> None:
    """The bound is there for the memory; twice as many are still read for the id."""
    values = [0] * 1_000_000
    malformed = refused(orjson.dumps(event(unknown=values)))
    assert (malformed.reason, malformed.document_id) == (FailureReason.OVERSIZED, "d")
    assert "at most 1,000,000 are allowed (50 for each of DOCUMENT_MAX_CHUNKS)" in str(malformed)
    assert refused(orjson.dumps(event(unknown=values * 2))).document_id is None
    assert decode(orjson.dumps(event(unknown=values[:-100])), LIMITS).id == "d"
    assert decode(orjson.dumps(event(unknown=values)), DecodeLimits(max_chunks=30_000)).id == "d"


def test_commas_in_texts_are_no_values() -> None:
    """A document of tables is none with too many values."""
    table = [{"id": f"c{n}", "content": ",[{" * 100_000} for n in range(10)]
    assert len(decode(orjson.dumps(event(chunks=table)), LIMITS).chunks) == 10


STRUCTURED = wrapping_of((("content-type", b"application/cloudevents+json"),))


def test_problems_in_an_envelope_are_told_where_the_publisher_sees_them() -> None:
    """He has no document with that pointer, only the record that he sent."""
    broken = event(chunks=[{"id": "c", "content": " "}], quality_score="x")
    malformed = refused(orjson.dumps({"schema": None, "payload": broken}))

    assert malformed.reason is FailureReason.INVALID
    assert pointers(malformed) == ["/payload/chunks/0/content", "/payload/quality_score"]
    assert malformed.document_id == "d"


def test_what_only_python_reads_in_an_envelope_is_told_once_and_in_its_place() -> None:
    """With all else that is wrong there."""
    value = b'{"schema":null,"payload":{"id":"d","title":NaN,"chunks":[]}}'
    malformed = refused(value)

    assert pointers(malformed)[0] == "/payload/title"
    assert set(pointers(malformed)) == {
        "/payload/title", "/payload/technology", "/payload/source_url"
    }  # fmt: skip
    assert malformed.document_id == "d"


def test_limits_hold_for_what_an_envelope_hides() -> None:
    """A text counts as one value, whatever it holds."""
    hidden = orjson.dumps("[" + "0," * LIMITS.max_values + "0]")
    small = DecodeLimits(max_chunks=2)
    malformed = refused(hidden)

    assert (malformed.reason, pointers(malformed)) == (FailureReason.OVERSIZED, [""])
    too_many = refused(orjson.dumps({"schema": 1, "payload": event()}), small)
    assert (too_many.reason, pointers(too_many)) == (FailureReason.OVERSIZED, ["/payload/chunks"])
    assert refused(hidden, DecodeLimits(max_bytes=10)).reason is FailureReason.OVERSIZED
    named = orjson.dumps({"schema": 1, "payload": event(unknown=[0] * LIMITS.max_values)})
    text = orjson.dumps({"schema": 1, "payload": orjson.dumps(event(unknown=[0] * 10**6)).decode()})
    assert [refused(value).document_id for value in (named, text)] == ["d", "d"]
    assert pointers(refused(text)) == ["/payload"]


def test_what_is_heavy_inside_an_envelope_is_left_where_that_is_asked_for() -> None:
    """Outside there is one value: it shows only when it is opened, and before it is parsed."""
    value = orjson.dumps("[" + "0," * 20_000 + "0]")

    assert not is_heavy(value, LIMITS)
    for hidden in (
        value,
        orjson.dumps("[" * (LIMITS.max_values + 1)),
    ):  # to be counted is heavy, too
        with pytest.raises(HeavyInside):
            decode(hidden, LIMITS, only_light=True)
    assert refused(value).reason is FailureReason.INVALID
    small = orjson.dumps(orjson.dumps(event(title="," * 20_000 + "x")).decode())
    with pytest.raises(Malformed):  # the title is too long; its commas are no values
        decode(small, LIMITS, only_light=True)


def test_what_is_no_cloud_event_is_answered_whatever_its_header_says() -> None:
    """An event without chunks has its id all the same: its publisher is told what is missing."""
    value = orjson.dumps({name: each for name, each in event().items() if name != "chunks"})
    wrapping = wrapping_of((("content-type", b"application/cloudevents+json"),))
    with pytest.raises(Malformed) as caught:
        decode(value, LIMITS, wrapping)

    assert pointers(caught.value) == ["/chunks"]
    assert caught.value.document_id == "d"


def test_the_time_of_a_cloud_event_comes_with_the_document() -> None:
    """What it is good for is for the version to say."""
    attributes = {"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data": event()}
    value = orjson.dumps(attributes | {"time": "2026-11-22T10:00:00Z"})
    odd = decode(orjson.dumps(attributes | {"time": "soon"}), LIMITS, STRUCTURED)

    assert decode(value, LIMITS, STRUCTURED).event_time == datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert (odd.event_time, len(odd.notes)) == (None, 1)
