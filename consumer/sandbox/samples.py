"""Made-up documents for the demo and for tests: both shapes, with the oddities of real ones.

The same arguments always give the same documents. Among them are titles that are paths, hold dots,
emoji or Japanese, or are some 360 characters long, texts that occur several times in one
document, chunks of one character, and dates without a zone (which are UTC).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

Shape = Literal["A", "B", "mixed"]
Json = dict[str, Any]

TECHNOLOGIES = ("lanterns", "river-pilot", "node.clock", "Teapot & Sons")

_EPOCH = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
_THINGS = ("lantern", "ferry", "kettle", "tower clock", "compass", "loom", "sluice", "bell")
_PARTS = ("wick", "rudder", "spout", "escapement", "needle", "shuttle", "gate", "clapper")
_DEEDS = ("is cleaned", "is replaced", "is measured", "is oiled", "is turned once", "is left alone")
_TIMES = ("before sunrise", "once a week", "after heavy rain", "at low tide", "every third spring")
_REASONS = (
    "otherwise it sticks", "because salt settles on it", "so that nobody is woken",
    "and the log gets a line", "which takes about four minutes",
)  # fmt: skip
_REPEATED = "See the safety page before you touch anything.\n\n- gloves\n- a dry cloth"


def sample_documents(
    count: int,
    seed: int = 1,
    shape: Shape = "A",
    technologies: Sequence[str] = TECHNOLOGIES,
    max_chunks: int = 12,
) -> list[Json]:
    """Documents as JSON objects.

    Args:
        count: how many.
        seed: another one gives other documents with other ids.
        shape: ``A``, ``B`` or both in turn.
        technologies: taken in turn.
        max_chunks: chunks of the largest document.
    """
    source = random.Random(seed)
    made = []
    for number in range(count):
        kind = shape if shape != "mixed" else "AB"[number % 2]
        technology = technologies[number % len(technologies)]
        document = _document(source, f"{seed:x}-{number:05d}", number, technology, max_chunks)
        made.append(document if kind == "A" else _in_shape_b(document, source))
    return made


def sample_events(
    count: int,
    seed: int = 1,
    shape: Shape = "A",
    technologies: Sequence[str] = TECHNOLOGIES,
    max_chunks: int = 12,
) -> Iterator[bytes]:
    """The same as `sample_documents`, as the bytes of Kafka values."""
    for document in sample_documents(count, seed, shape, technologies, max_chunks):
        yield orjson.dumps(document)


def _document(
    source: random.Random, name: str, number: int, technology: str, max_chunks: int
) -> Json:
    texts = _texts(source, name, source.randint(1, max_chunks))
    document_id = f"sample_{name}"
    chunks = [
        {
            "id": f"{document_id}_chunk_{index}",
            "content": text,
            "chunk_index": index,
            "total_chunks": len(texts),
            "word_count": len(text.split()),
            "metadata": {"document_id": document_id},
        }
        for index, text in enumerate(texts)
    ]
    return {
        "id": document_id,
        "title": _title(source, number),
        "source_url": f"https://docs.example/{name}/page.html",
        "technology": technology,
        "content_hash": _hash(texts),
        "chunks": chunks,
        "word_count": sum(len(text.split()) for text in texts),
        "quality_score": round(source.uniform(0.3, 1.0), 3),
        "processing_metadata": {"chunk_count": len(chunks), "heading_count": 1},
        "created_at": (_EPOCH + timedelta(seconds=number)).replace(tzinfo=None).isoformat(),
    }


def _in_shape_b(document: Json, source: random.Random) -> Json:
    created = document["created_at"]
    chunks = [
        {
            "id": chunk["id"],
            "parent_document_id": document["id"],
            "content": chunk["content"],
            "chunk_index": chunk["chunk_index"],
            "total_chunks": chunk["total_chunks"],
            "created_at": created,
            "source_provider": "sample",
        }
        for chunk in document["chunks"]
    ]
    updated = _EPOCH + timedelta(days=1, seconds=source.randint(0, 3600))
    return {
        "id": document["id"],
        "title": document["title"],
        "full_content": "\n\n".join(chunk["content"] for chunk in chunks),
        "source_url": document["source_url"],
        "technology": document["technology"],
        "metadata": {
            "word_count": document["word_count"],
            "heading_count": 1,
            "code_block_count": 0,
            "content_hash": document["content_hash"],
            "created_at": created,
        },
        "quality_score": document["quality_score"],
        "chunks": chunks,
        "created_at": created,
        "updated_at": updated.isoformat().replace("+00:00", "Z"),
    }


def _title(source: random.Random, number: int) -> str:
    thing, part = source.choice(_THINGS), source.choice(_PARTS)
    odd = (
        f"The {part} of a {thing}",
        f"docs/{thing.replace(' ', '-')}/{part}.v2.md",
        f"{part.capitalize()} 🔔 {thing}: questions & answers",
        f"灯台の手入れ ({number})",
        f"{thing}.{part}.config.json",
        " and ".join(f"how the {part} of the {thing} is kept, part {n}" for n in range(1, 9)),
        "index.md",
        f"Größe und Höhe: {thing}",
    )
    return odd[number % len(odd)]


def _texts(source: random.Random, name: str, count: int) -> list[str]:
    texts = []
    for index in range(count):
        if index % 5 == 3:
            texts.append(_REPEATED)
        elif index % 11 == 7:
            texts.append("§")
        else:
            texts.append(f"# {name}, section {index + 1}\n\n" + _prose(source))
    return texts


def _prose(source: random.Random) -> str:
    sentences = []
    for _ in range(source.randint(2, 9)):
        thing, part = source.choice(_THINGS), source.choice(_PARTS)
        deed, when = source.choice(_DEEDS), source.choice(_TIMES)
        sentences.append(f"The {part} of the {thing} {deed} {when}, {source.choice(_REASONS)}.")
    if source.random() < 0.3:
        sentences.append(f"```\n{source.choice(_PARTS)} --check  # 気をつけて 🐢\n```")
    return " ".join(sentences)


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
