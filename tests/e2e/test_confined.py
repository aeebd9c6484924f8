"""The service works under what its unit for systemd forbids beyond the image's confinement."""

from __future__ import annotations

import ctypes
import sys

import pytest

from consumer.sandbox.samples import sample_documents
from tests.e2e.support import Stage, stored, write_events

# prctl(PR_SET_MDWE): from then on no memory can be written and run; children inherit it.
_CONFINE = (
    "import ctypes, os, sys\n"
    "if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): sys.exit('refused')\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.mark.slow
async def test_no_memory_is_both_written_and_run(stage: Stage) -> None:
    """`MemoryDenyWriteExecute=yes`: also in the process that decodes a heavy event."""
    if ctypes.CDLL(None).prctl(66, 0, 0, 0, 0) < 0:
        pytest.skip("Linux is older than 6.3: a process can't forbid itself that")
    documents = sample_documents(3, seed=3, technologies=("lanterns",))
    heavy = {**documents[0], "id": "heavy", "x": [*range(20_000)]}
    events = [*documents, heavy]
    await stage.publish(write_events(stage.programs.folder / "events.ndjson", events))

    service = await stage.programs.start(
        "run", settings=stage.settings, python=(sys.executable, "-c", _CONFINE)
    )
    results = await stage.until_results(len(events))

    assert {result.status for result in results} == {"succeeded"}
    assert service.logged("event.process_died") == service.logged("event.decoded_here") == []
    assert len(stored(stage.simulator)) == sum(len(event["chunks"]) for event in events)
