"""Builds the image with buildah, over a base of the right name that is made of Debian 13.

No registry of images is needed: Debian 13 has Python 3.13, and its packages come from wherever this
machine has Debian's packages from.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.places import DEPLOY, REPOSITORY

BASE = "docker.io/library/python:3.13-slim"
BUILT = "localhost/anythingllm-consumer:made"

_SUITE = "trixie"
_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What pip of this machine may be told about where packages come from; the image must not keep it.
_PIP_OPTIONS = {"index-url", "extra-index-url", "trusted-host", "cert", "proxy"}


class ImageError(Exception):
    """The image can't be built or does not do what it should; the message says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """One that was built, with its files laid out.

    Args:
        root: the folder that holds its files.
        config: what Docker calls its configuration.
    """

    root: Path
    config: dict[str, Any]


@dataclass(slots=True)
class Builder:
    """Runs buildah on a store of images of its own.

    Args:
        folder: where the store is; what is there already is used again.
        tell: gets a line for each step.
    """

    folder: Path
    tell: Callable[[str], None]

    def build(self) -> Image:
        """Build it, with all of its layers anew, and lay out its files.

        Raises:
            ImageError: a step failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._buildah("rm", "--all")  # of a run that was killed
        if not self._buildah("images", "--quiet", "--filter", f"reference={BASE}"):
            self._make_base()
        self.tell("building deploy/Dockerfile")
        self._buildah(*self._build_options(), str(REPOSITORY))
        container = self._start_from(BUILT)
        told = json.loads(self._buildah("inspect", "--type", "image", BUILT))
        root = Path(self._buildah("mount", container))
        return Image(root, told["Docker"]["config"])

    def close(self) -> None:
        """Remove what was laid out, and images of earlier runs; the base stays."""
        self._buildah("rm", "--all")
        self._buildah("rmi", "--prune")

    def _build_options(self) -> list[str]:
        pip = self.folder / "pip.conf"
        pip.write_text(_pip_configuration())
        mounts = [f"{pip}:/etc/pip.conf:ro"]
        if _CERTIFICATES.exists():
            mounts.append(f"{_CERTIFICATES}:{_CERTIFICATES}:ro")
        return [
            *("build", "--isolation", "chroot", "--network", "host", "--pull-never"),
            *("--format", "docker", "--no-cache", "--tag", BUILT),
            *("--file", str(DEPLOY / "Dockerfile"), "--build-arg", "VERSION=made"),
            *(part for mount in mounts for part in ("--volume", mount)),
        ]

    def _make_base(self) -> None:
        self.tell(f"making {BASE} of Debian 13 (debootstrap)")
        root = self.folder / "debian"
        shutil.rmtree(root, ignore_errors=True)
        options = ["--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
        _run(["debootstrap", *options, *_mirror()])
        # The Python of python:3.13-slim is in /usr/local, with pip.
        _run(["chroot", str(root), "/usr/bin/python3", "-m", "venv", "--copies", "/usr/local"])
        for left in (*root.glob("var/cache/apt/archives/*.deb"), root / "etc/apt/sources.list"):
            left.unlink()
        shutil.rmtree(root / "var/lib/apt/lists")
        container = self._start_from("scratch")
        self._buildah("add", "--quiet", container, str(root), "/")
        path = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._buildah("config", "--env", f"PATH={path}", container)
        self._buildah("commit", "--quiet", container, BASE)
        shutil.rmtree(root)

    def _start_from(self, image: str) -> str:
        return self._buildah("from", "--pull-never", image)

    def _buildah(self, *words: str) -> str:
        places = {"--root": self.folder / "store", "--runroot": self.folder / "run"}
        options = [str(part) for pair in places.items() for part in pair]
        # Overlays can't be mounted inside of every container that CI may run in.
        return _run(["buildah", *options, "--storage-driver", "vfs", *words])


def _run(words: Sequence[str]) -> str:
    ended = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise ImageError(f"{words[0]} failed: {ended.stdout[-2000:]}")
    return ended.stdout.strip()


def _mirror() -> list[str]:
    """Where this machine has Debian's packages from; empty: what debootstrap takes by itself."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True
    )
    return [uri for uri in found.stdout.split() if re.search(r"/debian/?$", uri)][:1]


def _pip_configuration() -> str:
    """What pip of this machine is told, as a file."""
    told = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    options: dict[str, str] = {}
    for name, _, value in (line.partition("=") for line in told.stdout.splitlines()):
        option = name.rpartition(".")[2]
        if option in _PIP_OPTIONS:
            options[option] = value.strip("'")
    return "\n".join(["[global]", *(f"{name} = {value}" for name, value in options.items()), ""])
