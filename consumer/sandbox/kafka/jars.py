"""Apache Kafka's jars: from Maven's repository into a cache of this user, once.

Kafka 4.4.0, because the sandbox shall be what a new cluster runs today. aiokafka's own tests stop
at Kafka 2.8, so our integration tests are what holds this pair together; change the version only
with them. ``TEST_KAFKA_VERSION`` names another one: `make kafka-matrix` runs the core of them on
several.

Maven, because it is the one distribution of Kafka that comes as a package (Debian: ``maven``),
needs no unpacking of archives found by address, and checks what it downloads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from consumer.sandbox.errors import SandboxError, SandboxUnavailable

KAFKA_VERSION = "4.4.0"
_COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_MAVEN_SECONDS = 600.0  # 10 s on a good line; a bad one shall not look like a hang for ever
_JAVA_MAJOR = 17  # Kafka 4 brokers do not start on less

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sandbox</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>%s</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""


def kafka_version() -> str:
    """The version that is run here."""
    return os.environ.get("TEST_KAFKA_VERSION") or KAFKA_VERSION


def jars_dir() -> Path:
    """Where the jars are, or will be: one folder per version, whole or absent."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "anythingllm-consumer" / f"kafka-{kafka_version()}"


def missing_for_java() -> str | None:
    """What this machine lacks to run Kafka on its Java, as half a sentence; None: nothing."""
    major = _java_major()
    if major is None:
        return "Java was not found"
    if major < _JAVA_MAJOR:
        return f"Java is version {major}, and Kafka needs {_JAVA_MAJOR} or newer"
    if not jars_dir().is_dir() and shutil.which("mvn") is None:
        return "Maven (mvn), which fetches Kafka, was not found"
    return None


def _java_major() -> int | None:
    """Java's major version; None where there is no Java that runs (macOS has a stub that fails)."""
    try:
        answer = subprocess.run(
            ["java", "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found.group(1)) if found else None


async def ensure_jars() -> Path:
    """The folder of the jars; fetches them first where they are missing.

    Two processes may do this at once: each fetches into a folder of its own, and the first to
    finish moves its folder into place.

    Raises:
        SandboxUnavailable: there is no Maven.
        SandboxError: Maven failed; its last lines are in the message.
    """
    final = jars_dir()
    if not final.is_dir():
        await asyncio.to_thread(_fetch, final)
    return final


def _fetch(final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    version = kafka_version()
    try:
        (work / "pom.xml").write_text(_POM % version)
        _run_maven(work)
        # Maven may end well with nothing copied; an empty folder moved into place would stay.
        if not (work / "lib" / f"kafka_2.13-{version}.jar").is_file():
            raise SandboxError(f"Maven reported success but did not deliver Kafka {version}")
        _move_into_place(work / "lib", final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_maven(work: Path) -> None:
    command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never"]
    command += [_COPY_DEPENDENCIES, "-DincludeScope=runtime", "-DoutputDirectory=lib"]
    try:
        done = subprocess.run(
            command,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_MAVEN_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise SandboxUnavailable("Maven (mvn), which fetches Kafka, was not found") from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"Maven did not finish within {_MAVEN_SECONDS:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-8:])
        raise SandboxError(
            f"Maven could not fetch Kafka {kafka_version()}; is its repository reachable from "
            f"here, and is a proxy needed (~/.m2/settings.xml)? Its last lines:\n{tail}"
        )


def _move_into_place(source: Path, final: Path) -> None:
    try:
        source.rename(final)
    except OSError:
        # Another process was first; its folder is as whole as ours.
        with contextlib.suppress(OSError):
            if any(final.iterdir()):
                return
        raise
