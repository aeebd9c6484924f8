"""``make image``: the image is built, and does the main job of the demo as its own user.

Against a real Kafka and a simulated AnythingLLM on this machine, with a root that is read-only and
no rights at all. Prints figures; exit code 2 where this machine can't do that.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from consumer.sandbox.errors import SandboxError
from consumer.sandbox.kafka import local_kafka
from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import Simulator, simulator
from tests.deploy.container import SHARED, Containers, facts_of, first_process, mounts_of
from tests.deploy.image import Builder, Image, ImageError
from tests.e2e.support import Process, stored, write_events

_PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}
_DOCUMENTS = 24
_NOBODY = "0000000000000000"


def missing() -> str:
    """Why the image can't be built here; empty: it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "only root can make the base and lay out the image's files"
    packages = [package for name, package in _PROGRAMS.items() if shutil.which(name) is None]
    return f"missing: apt-get install {' '.join(packages)}" if packages else ""


def main() -> int:
    """The exit code."""
    if why := missing():
        print(f"the image was not built: {why}", file=sys.stderr)
        return 2
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    builder = Builder(cache / "anythingllm-consumer" / "image", tell)
    began = time.monotonic()
    try:
        image = builder.build()
        whole, ours = (_bytes_below(image.root / part) / 1e6 for part in (".", "opt/app"))
        tell(f"built in {time.monotonic() - began:.0f} s: {whole:.0f} MB, {ours:.0f} of them ours")
        asyncio.run(_try(image))
    except (ImageError, SandboxError, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        builder.close()
    tell(f"all of it took {time.monotonic() - began:.0f} s")
    return 0


def tell(line: str) -> None:
    """Print it at once."""
    print(line, flush=True)


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


async def _try(image: Image) -> None:
    async with _containers(image) as (containers, server), local_kafka() as kafka:
        (containers.shared / "key").write_text(server.api_key)
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "KAFKA_GROUP_ID": "image",
            "ANYTHINGLLM_ENDPOINT": server.endpoint,
            "ANYTHINGLLM_API_KEY_FILE": str(SHARED / "key"),
            "ADMIN_PORT": "0",
        }
        await containers.run("topics", "create", settings=settings)
        await containers.run("check", "--try-writing", settings=settings)
        service = await containers.start(settings=settings)
        await service.until_ready()
        first = await first_process(service)
        _look_at(first)
        await _store(containers, server, settings)
        tell(f"peak memory: {int(facts_of(first)['VmHWM'].split()[0]) / 1e3:.0f} MB")
        await _stop(service, first)


@asynccontextmanager
async def _containers(image: Image) -> AsyncIterator[tuple[Containers, Simulator]]:
    with TemporaryDirectory() as folder:
        # The image's user is nobody on this machine.
        shared, output = Path(folder, "shared"), Path(folder, "output")
        Path(folder).chmod(0o755)
        shared.mkdir(mode=0o755)
        output.mkdir()
        containers = Containers(image, shared, output)
        try:
            async with simulator() as server:
                yield containers, server
        finally:
            await containers.close()


def _look_at(first: int) -> None:
    facts, mounts = facts_of(first), mounts_of(first)
    assert facts["NSpid"].split()[-1] == "1", facts["NSpid"]
    assert set(facts["Uid"].split()) == set(facts["Gid"].split()) == {"10001"}, facts["Uid"]
    assert (facts["CapEff"], facts["CapBnd"], facts["NoNewPrivs"]) == (_NOBODY, _NOBODY, "1")
    writable = {place for place, options in mounts.items() if "rw" in options}
    assert {place for place in writable if not place.startswith(("/dev", "/proc"))} == {"/tmp"}  # noqa: S108
    tell("it runs as process 1, as 10001:10001, without rights; only /tmp can be written to")


async def _store(containers: Containers, server: Simulator, settings: dict[str, str]) -> None:
    documents = sample_documents(_DOCUMENTS, seed=3, technologies=("lanterns", "ropes"))
    # Over 10,000 values: it is decoded in a process of its own, which has to start there as well.
    heavy = {**documents[0], "id": "heavy", "x": [*range(20_000)]}
    write_events(containers.shared / "events.ndjson", [*documents, heavy])
    wanted = sum(len(document["chunks"]) for document in (*documents, heavy))
    began = time.monotonic()
    await containers.run("publish", str(SHARED / "events.ndjson"), settings=settings)
    results: list[str] = []
    while len(results) < len(documents) + 1:
        assert time.monotonic() < began + 60, f"{len(results)} results in a minute"
        said = await containers.run("results", "--json", settings=settings)
        results = [json.loads(line)["status"] for line in said.splitlines()]
    assert set(results) == {"succeeded"}, results
    copies = stored(server)
    assert len(copies) == wanted, f"{len(copies)} of {wanted} chunks are stored"
    assert all(copy.searchable for copy in copies)
    seconds = time.monotonic() - began
    tell(f"{len(results)} documents of {wanted} chunks are stored and answered, in {seconds:.1f} s")


async def _stop(service: Process, first: int) -> None:
    began = time.monotonic()
    os.kill(first, signal.SIGTERM)
    code = await service.ended()
    (stopped,) = service.logged("service.stopped")
    assert (code, stopped["remaining"]) == (0, 0), f"exit code {code}: {stopped}"
    tell(f"SIGTERM: drained and gone after {time.monotonic() - began:.1f} s, exit code 0")


if __name__ == "__main__":
    sys.exit(main())
