"""deploy/publishers: each example run as it stands there, against a real Kafka.

What an example needs is installed for it from the package index or by Maven; where these can't be
reached, its test is skipped.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from consumer.publishing import stable_id
from tests.integration.service_fixtures import MakeStage, Stage
from tests.registries import skip_or_fail
from tests.staging import document

EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "publishers"
SLUG = "river-pilot"
TEXTS = ["First, untie the boat.", "Then wait for the tide."]
_SECONDS = 120.0


async def _ended(*command: str | Path, folder: Path) -> tuple[int, str]:
    """Its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, f"timed out after {_SECONDS:.0f} s"
    return process.returncode or 0, said.decode(errors="replace")


async def _python_with(package: str, folder: Path) -> Path:
    """A Python that has a package and no other of ours."""
    uv = (sys.executable, "-m", "uv", "--quiet")
    python = folder / "env" / "bin" / "python"
    code, said = await _ended(*uv, "venv", "--python", sys.executable, "env", folder=folder)
    if code == 0:
        code, said = await _ended(*uv, "pip", "install", "--python", python, package, folder=folder)
    if code:
        skip_or_fail(package, said)
    return python


async def _published_by(
    stage: Stage, folder: Path, *command: str | Path, gone: str, id: str
) -> None:
    """Run an example against a service: its document is stored, and the other one is removed."""
    await stage.start()
    await stage.publish(document(gone, ["to be removed"], technology=SLUG))
    await stage.wait_results(1)
    code, said = await _ended(
        *command, stage.connection.bootstrap_servers, stage.documents, folder=folder
    )
    assert code == 0, said
    results = await stage.wait_results(3)
    await stage.finish()

    assert {each["identity"]: each["status"] for each in results[1:]} == {
        id: "succeeded", gone: "deleted"
    }  # fmt: skip
    assert stage.stored(SLUG) == {id: TEXTS}
    assert not stage.dead_letters


@pytest.mark.slow
async def test_with_aiokafka_and_the_kit(make_stage: MakeStage, tmp_path: Path) -> None:
    """Both are in this environment."""
    await _published_by(
        await make_stage(),
        tmp_path,
        sys.executable,
        EXAMPLES / "with_aiokafka.py",
        id=stable_id("https://docs.example/guide"),
        gone=stable_id("https://docs.example/gone"),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "script", "name"),
    [
        ("confluent-kafka==2.16.1", "with_confluent_kafka.py", "confluent"),
        ("faststream[kafka]==0.7.8", "with_faststream.py", "faststream"),
    ],
)
async def test_with_a_client_of_their_own(
    make_stage: MakeStage, tmp_path: Path, package: str, script: str, name: str
) -> None:
    """They know nothing of this project but the contract."""
    python = await _python_with(package, tmp_path)
    await _published_by(
        await make_stage(), tmp_path, python, EXAMPLES / script, id=f"guide-{name}",
        gone=f"gone-{name}",
    )  # fmt: skip


@pytest.mark.slow
async def test_with_java(make_stage: MakeStage, tmp_path: Path) -> None:
    """Kafka's own client, and a program of one file."""
    maven, java = shutil.which("mvn"), shutil.which("java")
    if maven is None or java is None:
        pytest.skip("Maven and Java 17 are needed")
    shutil.copytree(EXAMPLES / "java", tmp_path, dirs_exist_ok=True)
    copy = ("--batch-mode", "--quiet", "dependency:copy-dependencies", "-DoutputDirectory=lib")
    code, said = await _ended(maven, *copy, folder=tmp_path)
    if code:
        skip_or_fail("Kafka's client", said)
    await _published_by(
        await make_stage(), tmp_path, java, "-cp", "lib/*", "Publisher.java",
        id="guide-java", gone="gone-java",
    )  # fmt: skip
