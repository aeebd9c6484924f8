"""A secret in a file that changes while the process runs."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from consumer.settings import load_settings
from consumer.telemetry.logs import set_up_logging
from consumer.telemetry.renewable_secret import PAUSE_SECONDS, RenewableSecret
from consumer.wiring.secrets import renewable_secret

OLD, NEW = "CANARY-old-key", "CANARY-new-key"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(OLD + "\n", encoding="utf-8")
    return path


@pytest.fixture
def secret(file: Path, clock: Clock) -> RenewableSecret:
    """The API key of a service, read as a service reads it."""
    settings = load_settings({"ANYTHINGLLM_API_KEY_FILE": str(file)})
    made = renewable_secret(settings, "ANYTHINGLLM_API_KEY", settings.anythingllm.api_key)
    assert made is not None
    made._clock = clock
    return made


@pytest.fixture
def out() -> io.BytesIO:
    """The service's log."""
    lines = io.BytesIO()
    set_up_logging(secrets=[OLD], sink=lines)
    return lines


async def test_another_secret_in_the_file_is_used(secret: RenewableSecret, file: Path) -> None:
    """Only once the one that we have is refused; what was refused before is no news."""
    file.write_text(NEW, encoding="utf-8")
    assert secret.value == OLD

    assert await secret.renewed(OLD)
    assert secret.value == NEW
    assert await secret.renewed(OLD)
    assert not await secret.renewed(NEW)


async def test_a_link_that_is_swapped_is_followed(
    secret: RenewableSecret, file: Path, tmp_path: Path
) -> None:
    """Kubernetes renames a link over a link: the file of the start stays as it is."""
    for name, content in (("..1", OLD), ("..2", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(content, encoding="utf-8")
    (tmp_path / "..data").symlink_to("..1")
    file.unlink()
    file.symlink_to("..data/key")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")

    assert await secret.renewed(OLD)
    assert secret.value == NEW


def _gone(file: Path) -> None:
    file.unlink()


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _blank(file: Path) -> None:
    file.write_bytes(b"\n")


def _no_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe" + NEW.encode())


def _two_lines(file: Path) -> None:
    file.write_bytes(f"{NEW}\n{NEW}\n".encode())


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [_gone, _empty, _blank, _no_text, _two_lines, _folder])
async def test_what_is_no_secret_leaves_the_former_one(
    secret: RenewableSecret, file: Path, clock: Clock, spoil: Callable[[Path], None]
) -> None:
    """It is told once a minute, by the setting's name, without a word of the file's content."""
    spoil(file)
    with capture_logs() as logs:
        for _ in range(10):
            clock.now += PAUSE_SECONDS
            assert not await secret.renewed(OLD)

    (line,) = logs
    assert (line["event"], line["setting"]) == ("secret.unusable", "ANYTHINGLLM_API_KEY_FILE")
    assert line["error"]
    assert NEW not in str(line)
    assert secret.value == OLD


async def test_it_is_read_every_two_seconds_at_most(
    secret: RenewableSecret, file: Path, clock: Clock
) -> None:
    """However many requests are refused; a file that comes late is found all the same."""
    assert not await secret.renewed(OLD)
    file.write_text(NEW, encoding="utf-8")
    clock.now += PAUSE_SECONDS - 0.1
    assert not await secret.renewed(OLD)
    clock.now += 0.1
    assert await secret.renewed(OLD)


async def test_the_loop_goes_on_while_a_file_hangs(clock: Clock) -> None:
    """One thread waits for it, whoever asks; all of them get the new one."""
    release, reads, begun = threading.Event(), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> str:
        reads.append(1)
        loop.call_soon_threadsafe(begun.set)
        release.wait(30)
        return NEW

    secret = RenewableSecret("A_FILE", OLD, read, clock=clock)
    asking = [asyncio.create_task(secret.renewed(OLD)) for _ in range(20)]
    async with asyncio.timeout(20):
        await begun.wait()
        release.set()
        assert await asyncio.gather(*asking) == [True] * 20
    assert len(reads) == 1


async def test_a_file_that_hangs_costs_one_thread_however_long(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former value is used on, and that is told; what the file gives at last is taken."""
    monkeypatch.setattr("consumer.telemetry.renewable_secret._READ_SECONDS", 0.01)
    release, reads = threading.Event(), []

    def read() -> str:
        reads.append(1)
        release.wait(30)
        return NEW

    secret = RenewableSecret("A_FILE", OLD, read, clock=clock)
    with capture_logs() as logs:
        for _ in range(5):
            assert not await secret.renewed(OLD)
            clock.now += PAUSE_SECONDS
    release.set()
    assert secret._thread is not None
    await asyncio.wait({secret._thread}, timeout=20)

    assert await secret.renewed(OLD)
    assert secret.value == NEW
    assert len(reads) == 1
    assert [line["error"] for line in logs] == ["it can't be read within 0 s"]


async def test_the_log_masks_a_new_secret(
    secret: RenewableSecret, file: Path, out: io.BytesIO
) -> None:
    """Before anybody has it; the old one stays masked, it may still be good somewhere."""
    file.write_text(NEW, encoding="utf-8")
    assert await secret.renewed(OLD)
    structlog.get_logger("test").info("service.started", said=f"{OLD} and {NEW}")

    assert b"secret.renewed" in out.getvalue()
    assert b"*** and ***" in out.getvalue()
    assert b"CANARY" not in out.getvalue()
    assert "CANARY" not in repr(secret)


def test_what_came_from_no_file_stays() -> None:
    """A variable can't change while we run."""
    settings = load_settings({"ANYTHINGLLM_API_KEY": OLD})
    key = settings.anythingllm.api_key
    assert renewable_secret(settings, "ANYTHINGLLM_API_KEY", key) is None


def test_only_the_file_of_the_secret_that_counts_is_read_again(file: Path, tmp_path: Path) -> None:
    """A variable wins over what the settings' file names."""
    config = tmp_path / "settings.toml"
    config.write_text(f'[anythingllm]\napi_key_file = "{file}"\n', encoding="utf-8")
    assert load_settings({}, config).secret_files == {"ANYTHINGLLM_API_KEY": file}
    assert load_settings({"ANYTHINGLLM_API_KEY": NEW}, config).secret_files == {}
