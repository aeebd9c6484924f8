"""Kafka as a process of this machine's Java: one node, broker and controller in one (KRaft).

Rules this file keeps:

- **The broker never outlives us**, not even when we are killed. A shell starts it, and before
  turning into it (``exec``) leaves a watchdog behind that reads from a pipe whose other end only we
  hold. End of file without the farewell line means that we are gone: it kills the broker and
  removes the data. Linux' parent-death signal would not do: it is sent when the *thread* ends that
  started the process, and our threads come and go with event loops.
- The watchdog is in the broker's process group, and the number of a living group is never given to
  a new process: its ``kill`` can't hit a stranger.
- The broker has a session of its own: Ctrl-C in a terminal reaches us and not it, and we decide.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from consumer.sandbox.errors import SandboxError
from consumer.sandbox.kafka.broker import BROKER_SETTINGS, LocalKafka, free_ports
from consumer.sandbox.kafka.jars import ensure_jars

_STOP_SECONDS = 20.0  # a clean stop takes 0.4 s; after this it is killed
_FORMAT_SECONDS = 60.0
_LOG_TAIL_LINES = 25

# $1 is the data folder, the rest the command. See the module docstring.
_SUPERVISE = """
exec 3<&0 </dev/null
{ read -r farewell <&3 || { kill -KILL $$; rm -rf -- "$1"; }; } &
shift
exec "$@" 3<&-
"""


class JavaKafka(LocalKafka):
    """See `LocalKafka`. The data live in a temporary folder until `close`.

    Args:
        rng: picks the ports and the cluster's id.
    """

    mode = "java"

    def __init__(self, rng: random.Random) -> None:
        self._port, self._controller_port = free_ports(2, rng)
        self._cluster_id = _cluster_id(rng)
        self.bootstrap_servers = f"127.0.0.1:{self._port}"
        self._dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<JavaKafka {self.bootstrap_servers} pid={self.pid}>"

    @property
    def pid(self) -> int | None:
        """The Java process, while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    @property
    def data_folder(self) -> Path | None:
        """Data, settings and log, from `start` to `close`."""
        return self._dir

    async def start(self) -> None:
        """See `LocalKafka.start`."""
        if self.pid is not None:
            return
        jars = await ensure_jars()
        if self._dir is None:
            await asyncio.to_thread(self._prepare, jars)
        self._say_farewell()
        self._process = self._spawn(jars)
        await self._wait_until_ready(self._last_words)

    async def stop(self, *, hard: bool = False) -> None:
        """See `LocalKafka.stop`."""
        process = self._process
        if process is None:
            return
        if hard:
            process.kill()
        else:
            process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        self._say_farewell()

    async def close(self) -> None:
        """See `LocalKafka.close`. The data go anyway, so nothing waits for a clean stop."""
        try:
            await self.stop(hard=True)
        finally:
            self._remove_data()

    def _prepare(self, jars: Path) -> None:
        """Make and format the data folder; it is ours to remove from its first moment on."""
        self._dir = folder = Path(tempfile.mkdtemp(prefix="anythingllm-consumer-kafka-"))
        try:
            (folder / "tmp").mkdir()
            properties = folder / "server.properties"
            properties.write_text(self._properties(folder))
            self._format(jars, folder, properties)
        except BaseException:
            self._remove_data()
            raise

    def _remove_data(self) -> None:
        if self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)
            self._dir = None

    def _properties(self, folder: Path) -> str:
        settings = BROKER_SETTINGS | {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": (
                f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}"
            ),
            "log.dirs": str(folder / "data"),
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def _format_options(self) -> list[str]:
        """What is said at formatting beside the least; SCRAM users, say."""
        return []

    def _format(self, jars: Path, folder: Path, properties: Path) -> None:
        command = [*_java(jars, folder), "kafka.tools.StorageTool", "format"]
        command += ["-t", self._cluster_id, "-c", str(properties), *self._format_options()]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_FORMAT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxError(f"Kafka's data folder could not be formatted: {error}") from error
        if done.returncode != 0:
            raise SandboxError(f"Kafka's data folder could not be formatted:\n{done.stdout}")

    def _spawn(self, jars: Path) -> subprocess.Popen[bytes]:
        folder = self._dir
        if folder is None:
            raise SandboxError("the local Kafka was closed while it was starting")
        command = [*_java(jars, folder), "kafka.Kafka", str(folder / "server.properties")]
        with (folder / "kafka.log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", _SUPERVISE, "sandbox-kafka", str(folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _say_farewell(self) -> None:
        """Dismiss the watchdog of a broker that is down; without the line it would clean up."""
        pipe: IO[bytes] | None = self._process.stdin if self._process is not None else None
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(OSError):
                pipe.write(b"farewell\n")
                pipe.flush()
            with contextlib.suppress(OSError):
                pipe.close()

    def _last_words(self) -> str | None:
        if self.pid is not None or self._dir is None:
            return None
        log = (self._dir / "kafka.log").read_text(errors="replace")
        return "\n".join(log.splitlines()[-_LOG_TAIL_LINES:])


def _java(jars: Path, folder: Path) -> list[str]:
    return [
        "java",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # a short life is better spent running than compiling
        "-XX:-UsePerfData",  # or a killed broker leaves a file of its in the system's /tmp
        f"-Djava.io.tmpdir={folder / 'tmp'}",  # the codecs unpack native libraries there
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        f"{jars}/*",
    ]


def _cluster_id(rng: random.Random) -> str:
    """A Kafka UUID; never one with a dash in front, which Kafka's tools take for an option."""
    while True:
        text = base64.urlsafe_b64encode(rng.randbytes(16)).decode().rstrip("=")
        if not text.startswith("-"):
            return text
