"""Texts that are hard on a database: stored, changed, refused or lost as recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sandbox.databases import looking

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "odd_texts.json").read_text(encoding="utf-8")
)["cases"]
HEADER_END = "</document_metadata>\n\n"


@pytest.mark.parametrize("name", ["pgvector", "chroma"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
async def test_an_odd_text_has_its_recorded_fate(name: str, case: dict[str, Any]) -> None:
    """Cached, listed, how many vectors, and what a search gives back of it."""
    recorded = case[name]
    async with looking(name) as looker:
        location = await looker.upload(case["text"])
        _, answer = await looker.search(case["text"])
        cached, rows = await looker.cached(location), await looker.rows()

    texts = [hit["text"].partition(HEADER_END)[2] for hit in answer["results"]]
    assert (cached, bool(rows)) == (recorded["cached"], recorded["row_listed"])
    assert len(texts) == recorded["vectors"]
    if "stored_text" in recorded:
        assert texts == [recorded["stored_text"]]
