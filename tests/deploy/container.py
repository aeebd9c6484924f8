"""Runs commands of an image as a container runtime would: as its user, its process 1, read-only.

Nothing but Linux is needed for that: a namespace of mounts and one of processes (`unshare`), and
what gives all rights away (`setpriv`). The network is that of this machine, for its loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.image import Image
from tests.e2e.support import PATIENCE, Process, until

SHARED = Path("/mnt")
"""Where a container sees the folder that is shared with it, read-only."""

# $1: the image's files, $2: the folder to share, $3 and $4: user and group; then the command.
# The last step replaces the shell, so that the command is process 1.
_INSIDE = """
root=$1 shared=$2 user=$3 group=$4; shift 4
mount --bind "$root" "$root"
mount --bind "$shared" "$root/mnt"
mount -o remount,bind,ro,nosuid,nodev "$root/mnt"
mount -t tmpfs -o nosuid,nodev,noexec,size=64m tmpfs "$root/tmp"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro,nosuid "$root"
exec chroot "$root" /usr/bin/setpriv --reuid="$user" --regid="$group" --clear-groups \
    --inh-caps=-all --bounding-set=-all --no-new-privs /usr/bin/env -i "$@"
"""


@dataclass(slots=True)
class Containers:
    """Starts commands of an image; none outlives `close`.

    Args:
        image: what they are of.
        shared: they see it as `SHARED`.
        output: a folder for what they say.
    """

    image: Image
    shared: Path
    output: Path
    started: list[Process] = field(default_factory=list, init=False)

    async def start(self, *words: str, settings: Mapping[str, str]) -> Process:
        """Start the image's program with these words; none: with those that the image has."""
        config = self.image.config
        command = [*config["Entrypoint"], *(words or config["Cmd"])]
        return await self._start(command, settings)

    async def run(self, *words: str, settings: Mapping[str, str]) -> str:
        """What a command of the program says on standard output, once it is done.

        Raises:
            AssertionError: it did not exit with 0.
        """
        process = await self.start(*words, settings=settings)
        code = await process.ended(PATIENCE)
        assert code == 0, f"{' '.join(words)}: exit code {code}\n{process.out}{process.err}"
        return process.out

    async def _start(self, command: list[str], settings: Mapping[str, str]) -> Process:
        config = self.image.config
        user, _, group = config["User"].partition(":")
        environment = [*config["Env"], *(f"{name}={value}" for name, value in settings.items())]
        out, err = (self.output / f"{len(self.started)}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as to_out, err.open("wb") as to_err:
            made = await asyncio.create_subprocess_exec(
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--"),
                *("/bin/sh", "-euc", _INSIDE, "sh"),
                *(str(self.image.root), str(self.shared), user, group),
                *(f"--chdir={config['WorkingDir']}", *environment, *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
            )
        process = Process(made, out, err)
        self.started.append(process)
        return process

    async def close(self) -> None:
        """End what still runs."""
        for process in self.started:
            await process.kill()


async def first_process(container: Process) -> int:
    """The number, on this machine, of the process that is number 1 in the container."""

    def child() -> int:
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text()
        return int(children.split()[0]) if children else 0

    return int(await until(child, "a first process in the container"))


def facts_of(pid: int) -> dict[str, str]:
    """What Linux says about a process, by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def mounts_of(pid: int) -> dict[str, set[str]]:
    """By mount point as the process sees it, the options of the mount on top."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return {fields[4]: set(fields[5].split(",")) for fields in map(str.split, lines)}
