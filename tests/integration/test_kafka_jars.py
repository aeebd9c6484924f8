"""Fetching Kafka's jars, with a `mvn` of our own: what is missing is said, and a cache is whole."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from consumer.sandbox.kafka.jars import KAFKA_VERSION
from tests.conftest import REPOSITORY

JAR = f"kafka_2.13-{KAFKA_VERSION}.jar"
JAVA_17 = "#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n"
JAVA_8 = "#!/bin/sh\necho 'java version \"1.8.0_402\"' >&2\n"
# The second to start waits until the first has got as far, so that both are at it at once.
MAVEN = f"""#!/bin/sh
mkdir "$MEETING/$$"
while [ "$(ls "$MEETING" | wc -l)" -lt "$EXPECTED" ]; do sleep 0.02; done
mkdir lib && echo whole > lib/{JAR}
"""
BROKEN_MAVEN = "#!/bin/sh\nmkdir lib; echo '[ERROR] no route to the repository'; exit 1\n"
HOLLOW_MAVEN = "#!/bin/sh\nexit 0\n"


class Machine:
    """A machine with exactly these programs, as a process of ours meets it."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.cache = folder / "cache"
        self.meeting = folder / "meeting"
        for each in (self.programs, self.cache, self.meeting):
            each.mkdir()
        for tool in ("sh", "mkdir", "ls", "wc", "sleep"):
            (self.programs / tool).symlink_to(next(_find(tool)))

    def install(self, name: str, script: str) -> None:
        program = self.programs / name
        program.write_text(script)
        program.chmod(0o755)

    async def prefetch(self, *, expected: int = 1) -> tuple[int | None, str]:
        """Exit code and all output of the prefetch command."""
        environment: Mapping[str, str] = {
            "PATH": str(self.programs),
            "XDG_CACHE_HOME": str(self.cache),
            "DOCKER_HOST": f"unix://{self.cache}/no-engine",
            "MEETING": str(self.meeting),
            "EXPECTED": str(expected),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "consumer.sandbox.kafka",
            cwd=REPOSITORY,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    def cached(self) -> list[str]:
        return sorted(path.name for path in self.cache.rglob("*") if path.is_file())

    def leftovers(self) -> list[str]:
        return [path.name for path in self.cache.rglob(".kafka-*")]


def _find(tool: str) -> Iterator[Path]:
    folders = os.environ.get("PATH", "/usr/bin:/bin").split(os.pathsep)
    return (path for folder in folders if (path := Path(folder) / tool).exists())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("programs", "complaint"),
    [
        ({}, "Java was not found"),
        ({"java": JAVA_8}, "Java is version 8, and Kafka needs 17 or newer"),
        ({"java": JAVA_17}, "Maven (mvn), which fetches Kafka, was not found"),
    ],
    ids=["bare", "old-java", "no-maven"],
)
async def test_what_is_missing_is_named_with_what_to_do(
    machine: Machine, programs: dict[str, str], complaint: str
) -> None:
    """On a machine that can't run Kafka the command exits 2, says what lacks, and how to get it."""
    for name, script in programs.items():
        machine.install(name, script)

    code, output = await machine.prefetch()

    assert code == 2
    assert complaint in output
    assert "no Docker engine answered within 3 s" in output
    assert "apt-get install maven" in output
    assert "TEST_KAFKA_BOOTSTRAP_SERVERS" in output


async def test_two_at_once_end_with_one_whole_cache(machine: Machine) -> None:
    """Two processes that fetch at the same time both succeed and leave one folder, no leftovers."""
    machine.install("java", JAVA_17)
    machine.install("mvn", MAVEN)

    first, second = await asyncio.gather(machine.prefetch(expected=2), machine.prefetch(expected=2))

    assert (0, 0) == (first[0], second[0]), (first, second)
    assert [JAR] == machine.cached()
    assert [] == machine.leftovers()


@pytest.mark.parametrize(
    ("maven", "complaint"),
    [(BROKEN_MAVEN, "no route to the repository"), (HOLLOW_MAVEN, "did not deliver Kafka")],
    ids=["maven-fails", "maven-delivers-nothing"],
)
async def test_a_failed_fetch_leaves_nothing_behind(
    machine: Machine, maven: str, complaint: str
) -> None:
    """When Maven fails, its words are shown, and the next try starts afresh."""
    machine.install("java", JAVA_17)
    machine.install("mvn", maven)

    code, output = await machine.prefetch()

    assert code == 1
    assert complaint in output
    assert [] == machine.cached()
    assert [] == machine.leftovers()


async def test_what_is_cached_needs_no_maven(machine: Machine) -> None:
    """Once fetched, a machine without Maven or network runs Kafka all the same."""
    machine.install("java", JAVA_17)
    machine.install("mvn", MAVEN)
    await machine.prefetch()
    (machine.programs / "mvn").unlink()

    code, _ = await machine.prefetch()

    assert code == 0
