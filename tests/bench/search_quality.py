"""``python -m tests.bench.search_quality FILE``: is a document found as well when it is packed?

It takes events (NDJSON, ``.gz`` or not), cuts and embeds them as the simulated AnythingLLM does
(its splitter is that of the real one, its embedder a bag of words and word pairs), one by one and
in packs, and searches for passages out of them. Told is how often the right document is among the
five nearest pieces, and how often the nearest piece names the right chunk.
"""

from __future__ import annotations

import argparse
import gzip
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from consumer.model.document import ProcessedDocument
from consumer.model.marker import digests_of
from consumer.model.packing import Packing, pack_text, packs
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.sandbox.simulator.embedder import embed
from consumer.sandbox.simulator.text import header, split

_NEAREST = 5
_WORDS = 8  # of a passage
_PASSAGES = 4  # a document
_PUBLISHED = "1/1/2026, 12:00:00 AM"


@dataclass
class Vectors:
    """Pieces of documents, to be searched by their words."""

    pieces: list[tuple[str, str]] = field(default_factory=list)  # document id, text
    _features: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, document: ProcessedDocument, text: str) -> None:
        """Embed a text of a document as AnythingLLM would."""
        head = header(document.title, _PUBLISHED, f"link://{document.source_url}")
        for piece in split(text):
            vector = embed(head + piece)
            for feature, weight in zip(vector.features, vector.weights, strict=True):
                self._features[feature].append((len(self.pieces), weight))
            self.pieces.append((document.id, piece))

    def nearest(self, query: str) -> list[tuple[str, str]]:
        """The pieces nearest to a query."""
        common: Counter[int] = Counter()
        for feature, weight in embed(query).as_query().items():
            for piece, own in self._features.get(feature, ()):
                common[piece] += weight * own  # type: ignore[assignment]
        return [self.pieces[piece] for piece, _ in common.most_common(_NEAREST)]


def stored(documents: Iterable[ProcessedDocument], most: int, joint: str | None = None) -> Vectors:
    """What AnythingLLM holds of the documents with so many chunks a pack.

    Args:
        documents: all of them.
        most: UPLOAD_CHUNKS_PER_PACK.
        joint: what stands between two chunks; None: what the service puts there.
    """
    vectors = Vectors()
    for document in documents:
        contents = [chunk.content for chunk in document.chunks]
        whole = range(len(contents))
        for pack in packs(contents, digests_of(document), whole, Packing(most)):
            texts = [contents[position] for position in pack]
            vectors.add(document, pack_text(texts) if joint is None else joint.join(texts))
    return vectors


def passages(documents: Sequence[ProcessedDocument], seed: int) -> list[tuple[str, str, str]]:
    """Document id, text of a chunk, and a few words in a row out of it."""
    rng, found = random.Random(seed), []
    for document in documents:
        for _ in range(_PASSAGES):
            chunk = rng.choice(document.chunks)
            words = chunk.content.split()
            start = rng.randrange(max(1, len(words) - _WORDS))
            found.append((document.id, chunk.content, " ".join(words[start : start + _WORDS])))
    return found


def measured(vectors: Vectors, asked: Sequence[tuple[str, str, str]]) -> tuple[float, float]:
    """Shares of passages whose document is among the nearest, and whose chunk is the nearest."""
    documents = chunks = 0
    for id, content, query in asked:
        nearest = vectors.nearest(query)
        documents += any(of == id for of, _ in nearest)
        chunks += nearest[:1] == [(id, content.strip())]
    return documents / len(asked), chunks / len(asked)


def main(arguments: list[str]) -> int:
    """Print the figures; exit code 1 where packing costs more than 0.02 of the documents."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search_quality")
    parser.add_argument("file", type=Path)
    parser.add_argument("--packing", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    raw = chosen.file.read_bytes()
    lines = (gzip.decompress(raw) if chosen.file.suffix == ".gz" else raw).splitlines()
    events = (orjson.loads(line) for line in lines)
    bodies = (orjson.dumps(event.get("value", event)) for event in events)
    documents = [each for each in (decode(body, DecodeLimits()) for body in bodies) if each.chunks]
    asked = passages(documents, chosen.seed)
    ways = {
        "one by one": stored(documents, 1),
        f"packs of {chosen.packing}": stored(documents, chosen.packing),
        "the same, joined by a blank line": stored(documents, chosen.packing, "\n\n"),
    }
    print(f"{len(documents)} documents, {len(asked)} passages of {_WORDS} words")
    recalls = []
    for name, vectors in ways.items():
        recall, named = measured(vectors, asked)
        recalls.append(recall)
        print(
            f"{name:34} {len(vectors.pieces):6,} vectors,"
            f" document among {_NEAREST}: {recall:.3f}, chunk named first: {named:.3f}"
        )
    return int(recalls[0] - recalls[1] > 0.02)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
