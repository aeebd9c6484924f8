"""What the locked packages are, and whether any of them is known to be vulnerable.

``python -m tests.runs.supply_chain audit requirements.lock`` is ``make audit``: pip-audit asks an
advisory service about each package. It ends well without having asked anybody, where the service
knows none of them (a mirror, say): so what was audited is counted, and fewer than the lock has is
red. Where no service answers at all nothing was audited: that is said, and is no failure unless
``AUDIT_REQUIRED`` is set.

``python -m tests.runs.supply_chain sbom requirements.lock FILE`` is ``make sbom``: a CycloneDX bill
of materials, with the hashes of the lock, counted in the same way.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from consumer import __version__

_REQUIREMENT = re.compile(r"^[A-Za-z0-9][^\\#\n]*==[^\\#\n]*", re.MULTILINE)
_NO_ANSWER = re.compile(r"connect|timed? ?out|resolve|unreachable|proxy", re.IGNORECASE)
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it went: an exit code, and lines about it."""

    code: int
    lines: tuple[str, ...]


def packages_in(lock: str, *, here: bool) -> dict[str, str]:
    """The packages of a lock file with their versions.

    Args:
        lock: its text.
        here: only those that are installed on this platform and Python, as pip-audit takes them.
    """
    found: dict[str, str] = {}
    for line in _REQUIREMENT.findall(lock):
        wanted = Requirement(line.strip())
        if not here or wanted.marker is None or wanted.marker.evaluate():
            (pin,) = wanted.specifier
            found[canonicalize_name(wanted.name)] = pin.version
    return found


def judged(
    locked: Mapping[str, str], report: Mapping[str, Any] | None, said: str, *, required: bool
) -> Verdict:
    """What pip-audit's report is worth.

    Args:
        locked: what should have been audited.
        report: its JSON; None where it wrote none.
        said: its last words.
        required: whether it is red that nothing could be audited.
    """
    found = [] if report is None else report["dependencies"]
    audited: dict[str, str] = {
        canonicalize_name(one["name"]): one["version"] for one in found if "vulns" in one
    }
    if report is None and not _NO_ANSWER.search(said):
        return Verdict(1, (f"audit: FAILED, pip-audit gave up: {said}",))
    if not audited:
        why = said if report is None else "it knows none of these packages"
        line = f"audit: NOT DONE, no advisory service answers ({why}); 0 of {len(locked)} packages"
        return Verdict(int(required), (line,))
    missing = [f"{name} {locked[name]}" for name in locked if audited.get(name) != locked[name]]
    vulnerable = [_vulnerability(one, each) for one in found for each in one.get("vulns", ())]
    counted = f"{len(locked) - len(missing)} of {len(locked)} packages audited"
    if missing:
        vulnerable.append(f"not audited: {', '.join(missing)}")
    word = "FAILED" if vulnerable else "done"
    return Verdict(int(bool(vulnerable)), (*vulnerable, f"audit: {word}, {counted}"))


def _vulnerability(package: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    fixed = ", ".join(found.get("fix_versions", ())) or "no version yet"
    return f"{package['name']} {package['version']}: {found['id']}, mended in {fixed}"


def audit(lock: Path, options: Sequence[str], *, required: bool) -> Verdict:
    """Run pip-audit over a lock file; it resolves and installs nothing."""
    locked = packages_in(lock.read_text(encoding="utf-8"), here=True)
    if not locked:
        return Verdict(1, (f"audit: FAILED, {lock} names no packages",))
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    said = (done.stderr.strip().splitlines() or ["without a word"])[-1][:300]
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
    return judged(locked, report, said, required=required)


def sbom(lock: Path, file: Path) -> Verdict:
    """Write the bill of materials, of all platforms, and count what is in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", str(lock)]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-file", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        return Verdict(1, (f"sbom: FAILED\n{done.stderr.strip()[-2000:]}",))
    bill = json.loads(done.stdout)
    bill["metadata"]["component"]["version"] = __version__
    locked = packages_in(lock.read_text(encoding="utf-8"), here=False)
    listed = {canonicalize_name(one["name"]): one["version"] for one in bill["components"]}
    if listed != locked:
        differ = sorted(name for name, _ in listed.items() ^ locked.items())
        return Verdict(1, (f"sbom: FAILED, it differs from the lock in {', '.join(differ)}",))
    file.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    return Verdict(0, (f"sbom: {file}, {len(listed)} packages, CycloneDX {bill['specVersion']}",))


def main(words: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    match words:
        case ["audit", lock, *options]:
            required = bool(os.environ.get("AUDIT_REQUIRED"))
            verdict = audit(Path(lock), options, required=required)
        case ["sbom", lock, file]:
            verdict = sbom(Path(lock), Path(file))
        case _:
            verdict = Verdict(2, (__doc__ or "",))
    print("\n".join(verdict.lines), flush=True)
    return verdict.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
