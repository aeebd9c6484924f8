"""The present code and that of commit cdefe5a side by side; needs this repository's history."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.compatibility import present
from tests.compatibility.conftest import RunOld
from tests.compatibility.forms import FOLDER, Json, laid_out, recorded
from tests.compatibility.inputs import Inputs

RECORD = FOLDER / "record.py"
CASES = 150
# What commands printed is recorded with a Kafka; the test that compares it says more.
FILES = sorted({path.name for path in FOLDER.glob("*.json")} - {"printed.json"})


@pytest.mark.slow
def test_the_recorded_files_are_what_cdefe5a_writes(run_old: RunOld, tmp_path: Path) -> None:
    """Nobody has mended them by hand."""
    folder = shutil.copytree(FOLDER, tmp_path / "again")
    run_old(RECORD, *FILES, "--folder", folder)
    for name in FILES:
        assert (folder / name).read_bytes() == (FOLDER / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_both_write_and_read_the_same_of_anything(
    run_old: RunOld, tmp_path: Path, seed: int
) -> None:
    """Inputs at random: markers, results, dead letters, replay runs, and what is read of them."""
    inputs = Inputs(seed)
    address = recorded("settled.json")["address"]
    markers = [inputs.marked() for _ in range(CASES)]
    settled = [inputs.settled() for _ in range(CASES)]
    runs = [inputs.committed() for _ in range(CASES)]
    files: dict[str, Json] = {
        "markers.json": {"cases": _cases(markers), "found": []},
        "settled.json": {"address": address, "cases": _cases(settled)},
        "runs.json": {"runs": _cases(runs), "replays": [], "ids": {"is_run_id": []}},
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(laid_out(content))
    run_old(RECORD, *files, "--folder", tmp_path)

    then = {name: orjson.loads((tmp_path / name).read_bytes()) for name in files}
    now = [
        *(present.marked(given) for given in markers),
        *[await present.settled(given, address) for given in settled],
        *(present.committed(given) for given in runs),
    ]
    cases = [
        *then["markers.json"]["cases"],
        *then["settled.json"]["cases"],
        *then["runs.json"]["runs"],
    ]
    assert {len(case["written"]) for case in cases} >= {1, 2}
    for case, found in zip(cases, now, strict=True):
        assert _json(found) == {"written": case["written"], "read": case["read"]}, case["given"]


def _cases(given: list[Json]) -> list[Json]:
    return [{"name": str(number), "given": each} for number, each in enumerate(given)]


def _json(found: Json) -> Any:
    return orjson.loads(orjson.dumps(found))
