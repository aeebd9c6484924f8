"""The peers' own installations: pinned, in a cache of this user, none of them ours to depend on."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FASTSTREAM = "0.7.8"
UVLOOP = "0.23.0"
_SHARED = ("aiohttp", "aiokafka", "orjson")  # in our versions: what is compared stands on the same
_INSTALL_SECONDS = 600.0


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
    """Whole or not at all: a mark is what `python_with_peers` would not be fooled by."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        await run(sys.executable, "-m", "venv", str(final))
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        await run(str(final / "bin" / "python"), *pip, *wanted)
    except BaseException:
        shutil.rmtree(final, ignore_errors=True)
        raise


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
