from __future__ import annotations

from typing import Any

import orjson
import pytest

from consumer.pipeline.decode import DecodeLimits, decode
from consumer.sandbox.samples import sample_documents, sample_events


@pytest.mark.parametrize("shape", ["A", "B", "mixed"])
def test_samples_are_the_same_every_time(shape: Any) -> None:
    """Tests and the demo can count on what they publish."""
    assert sample_documents(10, 5, shape) == sample_documents(10, 5, shape)
    wire = [orjson.loads(value) for value in sample_events(10, 5, shape)]
    assert wire == sample_documents(10, 5, shape)


def test_seeds_give_documents_of_their_own() -> None:
    """Two runs with different seeds never share a document or chunk id."""
    ids = [document["id"] for seed in (1, 2) for document in sample_documents(50, seed)]
    assert len(set(ids)) == 100


def test_samples_hold_the_oddities_of_real_documents() -> None:
    """Paths, dots, emoji, Japanese, long titles; repeated and tiny texts; both shapes."""
    documents = [
        decode(orjson.dumps(raw), DecodeLimits()) for raw in sample_documents(60, shape="mixed")
    ]
    titles = [document.title for document in documents]
    assert any("/" in title and "." in title for title in titles)
    assert any("🔔" in title for title in titles)
    assert any("灯" in title for title in titles)
    assert any(len(title) > 300 for title in titles)
    assert len(set(titles)) < len(titles)
    contents = [[chunk.content for chunk in document.chunks] for document in documents]
    assert any(len(set(texts)) < len(texts) for texts in contents)
    assert any(len(text) == 1 for texts in contents for text in texts)
    assert any(document.updated_at is None for document in documents)


def test_samples_can_be_shaped() -> None:
    """Technologies in turn, and a bound on the chunks of one document."""
    made = sample_documents(9, technologies=("a", "b", "c"), max_chunks=3)
    assert [document["technology"] for document in made] == ["a", "b", "c"] * 3
    assert max(len(document["chunks"]) for document in made) <= 3
