"""The benchmark's server (`Server.java`) as a process of its own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

_SOURCE = Path(__file__).with_name("Server.java")
_START_SECONDS = 60.0  # it is compiled first


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds that requests take: of the server's only thread, and besides it.

    Args:
        upload: besides the thread, of an upload.
        other: besides the thread, of any other request.
        thread_upload: of the thread, of an upload.
        thread_piece: of the thread, of each piece of 1,000 characters of an upload.
        thread_other: of the thread, of any other request.
        thread_search: of the thread, of a search.
        removal_name: of the thread, of a name to remove, times the workspaces.
        removal_add: of the thread, of a name to remove, times all that was added to its workspace.
    """

    upload: float = 0.0
    other: float = 0.0
    thread_upload: float = 0.0
    thread_piece: float = 0.0
    thread_other: float = 0.0
    thread_search: float = 0.0
    removal_name: float = 0.0
    removal_add: float = 0.0


LATENCY = Costs(upload=20.0, other=1.0)
"""An AnythingLLM without any limit of its own: what remains is the client's speed."""

INSTANT = Costs()
"""Nothing takes any time, for what is done before it is measured."""

REAL = Costs(
    upload=8.0,
    thread_upload=73.0,
    thread_piece=1.8,
    thread_other=3.0,
    removal_name=5.0,
    removal_add=2.2,
)
"""An AnythingLLM 1.16 with LanceDB and an embedder that answers at once, on two cores.

Measured there: 11 chunks/s one at a time, 12 to 13 at any concurrency; of five in flight 62 with 5
chunks a document, 108 with 10, 140 to 185 with 20. Of an upload's time on the only thread 52 ms are
a key's derivation.
"""


@dataclass(frozen=True, slots=True)
class Stats:
    """What the server counted since it was emptied; times in seconds of the wall clock, 0: never.

    Args:
        uploads: answered.
        proofs: files asked for.
        calls: all requests.
        listings: of a workspace.
        removals: requests to remove files.
        removed: files.
        rows: that all workspaces list.
        most_in_flight: uploads at once.
        measured_from: when the first upload after the warm-up came.
        last_upload: when it was answered.
        last_proof: when it was answered.
        last_removal: when it was answered.
        first_listing: when it was answered.
    """

    uploads: int
    proofs: int
    calls: int
    listings: int
    removals: int
    removed: int
    rows: int
    most_in_flight: int
    measured_from: float
    last_upload: float
    last_proof: float
    last_removal: float
    first_listing: float


class Server:
    """Speaks to the running server; made by `running_server`."""

    def __init__(self, endpoint: str, session: aiohttp.ClientSession) -> None:
        self.endpoint = endpoint
        self._session = session

    async def reset(
        self, costs: Costs, workspaces: Sequence[str], warm_up: int = 0, *, keep: bool = False
    ) -> None:
        """Count anew, and empty it; the workspaces are there then, each with a document of others.

        Args:
            costs: of requests from now on.
            workspaces: their names.
            warm_up: uploads before the first that is measured.
            keep: whether what is stored stays as it is.
        """
        given: dict[str, Any] = {name: float(value) for name, value in asdict(costs).items()}
        given |= {"workspaces": list(workspaces), "warm_up": float(warm_up), "keep": keep}
        data = orjson.dumps(given)
        async with self._session.post(self.endpoint + "/_bench/reset", data=data) as answer:
            answer.raise_for_status()

    async def fill(self, workspace: str, metadata: Sequence[Mapping[str, Any]]) -> None:
        """Have a workspace hold documents with these metadata, of a short text each."""
        data = orjson.dumps({"workspace": workspace, "metadata": metadata})
        async with self._session.post(self.endpoint + "/_bench/fill", data=data) as answer:
            answer.raise_for_status()

    async def stats(self) -> Stats:
        """What it counted."""
        async with self._session.get(self.endpoint + "/_bench/stats") as answer:
            return Stats(**orjson.loads(await answer.read()))


@asynccontextmanager
async def running_server() -> AsyncIterator[Server]:
    """A server that ends with the block, and with this process.

    Raises:
        RuntimeError: it did not start.
    """
    if shutil.which("java") is None:
        raise RuntimeError("the benchmark's server needs Java 17 or newer, and there is none")
    options = ("-Xmx6g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
    process = await asyncio.create_subprocess_exec(
        *("java", *options, str(_SOURCE)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the benchmark's server did not start: Java 17 or newer compiles it")
        async with aiohttp.ClientSession() as session:
            yield Server(orjson.loads(line)["endpoint"], session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
