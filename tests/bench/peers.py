"""The peers' own installations: pinned, in a cache of this user, none of them ours to depend on."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FASTSTREAM = "0.7.8"
UVLOOP = "0.23.0"
_SHARED = ("aiohttp", "aiokafka", "orjson")  # in our versions: what is compared stands on the same
_INSTALL_SECONDS = 600.0
_POM = Path(__file__).parent / "contestants" / "pom.xml"
_COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class MissingError(Exception):
    """This machine can't have it; the message says why."""


def cache_folder() -> Path:
    """Where what is installed stays."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "anythingllm-consumer"


async def python_with_peers() -> Path:
    """A Python that has FastStream and uvloop; installs them the first time.

    Raises:
        MissingError: pip could not install them.
    """
    wanted = [f"{name}=={version(name)}" for name in _SHARED]
    wanted += [f"faststream[kafka]=={FASTSTREAM}", f"uvloop=={UVLOOP}"]
    python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = "-".join(["bench", python_version, *(each.split("==")[1] for each in wanted)])
    final = cache_folder() / name
    if not final.is_dir():
        await _install(final, wanted)
    return final / "bin" / "python"


async def _install(final: Path, wanted: list[str]) -> None:
    """Whole or not at all: an environment can't be moved into place."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        await run(sys.executable, "-m", "venv", str(final))
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        await run(str(final / "bin" / "python"), *pip, *wanted)
    except BaseException:
        shutil.rmtree(final, ignore_errors=True)
        raise


def parallel_consumer_version() -> str:
    """What `pom.xml` pins."""
    found = re.search(r"parallel-consumer-core</artifactId>\s*<version>([^<]+)", _POM.read_text())
    return found.group(1) if found else "?"


async def parallel_consumer_jars() -> Path:
    """The folder of Parallel Consumer and what it needs; Maven fetches them the first time.

    Raises:
        MissingError: Maven is not there, or could not fetch them.
    """
    final = cache_folder() / f"bench-parallel-consumer-{parallel_consumer_version()}"
    if not final.is_dir():
        await _fetch(final)
    return final


async def _fetch(final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".bench-") as work:
        shutil.copy(_POM, work)
        words = ("--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never")
        wanted = ("-DincludeScope=runtime", "-DoutputDirectory=lib")
        await run("mvn", *words, _COPY_DEPENDENCIES, *wanted, folder=Path(work))
        if not any(Path(work).glob("lib/parallel-consumer-core-*.jar")):
            raise MissingError("Maven reported success but did not deliver Parallel Consumer")
        (Path(work) / "lib").rename(final)


async def run(*command: str, folder: Path | None = None) -> None:
    """Run a command to its end.

    Raises:
        MissingError: it is not there, failed, or took too long.
    """
    with tempfile.TemporaryFile() as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise MissingError(f"{command[0]} can't be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(_INSTALL_SECONDS):
                code = await process.wait()
        except TimeoutError:
            code = -1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            output.seek(0)
            words = output.read().decode(errors="replace").strip().splitlines()[-3:]
            raise MissingError(f"{Path(command[0]).name} failed: {' '.join(words)}")
