"""The audit proves that it audited, and the bill of materials is that of the lock."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from consumer import __version__
from tests.conftest import REPOSITORY
from tests.runs.supply_chain import judged, packages_in

LOCK = REPOSITORY / "requirements.lock"
TWO = {"one": "1.0", "two": "2.0"}
GOOD: dict[str, Any] = {"name": "one", "version": "1.0", "vulns": []}
SECOND: dict[str, Any] = {"name": "Two", "version": "2.0", "vulns": []}
BAD = SECOND | {"vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
SKIPPED = {"name": "two", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("found", "code", "told"),
    [
        ([GOOD, SECOND], 0, "audit: done, 2 of 2 packages audited"),
        ([GOOD, BAD], 1, "Two 2.0: PYSEC-1, mended in 2.1"),
        ([GOOD, SKIPPED], 1, "not audited: two 2.0"),
        ([GOOD], 1, "audit: FAILED, 1 of 2 packages audited"),
        ([GOOD, SECOND | {"version": "2.9"}], 1, "not audited: two 2.0"),
        ([SKIPPED], 0, "NOT DONE, no advisory service answers"),
        ([], 0, "NOT DONE"),
    ],
)
def test_what_was_not_audited_is_not_green_by_accident(
    found: list[Mapping[str, Any]], code: int, told: str
) -> None:
    """pip-audit itself ends with "No known vulnerabilities found" where it could ask nobody."""
    verdict = judged(TWO, {"dependencies": found}, "", required=False)
    assert (verdict.code, told in "\n".join(verdict.lines)) == (code, True), verdict


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ("ConnectionError: Connection refused", 0, "NOT DONE"),
        ("Could not connect to OSV's vulnerability feed", 0, "NOT DONE"),
        ("ReadTimeout: read timed out", 0, "NOT DONE"),
        ("requirement file contains invalid specifier", 1, "FAILED"),
        ("without a word", 1, "FAILED"),
    ],
)
def test_an_audit_without_a_report_failed_unless_nobody_can_be_asked(
    said: str, code: int, told: str
) -> None:
    """Where it has to be done, that is red as well."""
    verdict = judged(TWO, None, said, required=False)
    assert (verdict.code, told in verdict.lines[0]) == (code, True), verdict
    assert judged(TWO, None, said, required=True).code == 1
    assert judged(TWO, {"dependencies": []}, said, required=True).code == 1


def test_the_lock_is_read_whole() -> None:
    """Markers choose what is installed here; hashes and comments are no packages."""
    lock = (
        "# a comment\n"
        "one==1.0 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n"
        "two.x[extra]==2.0 ; python_version >= '3.0' \\\n    --hash=sha256:ef\n"
        "three==3.0 ; sys_platform == 'another'\n"
    )
    assert packages_in(lock, here=True) == {"one": "1.0", "two-x": "2.0"}
    assert packages_in(lock, here=False) == {"one": "1.0", "two-x": "2.0", "three": "3.0"}
    ours = packages_in(LOCK.read_text(encoding="utf-8"), here=False)
    assert {"aiohttp", "aiokafka", "pydantic"} <= set(ours)
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    assert len(ours) == sum(line[:1].isalnum() for line in lines)


@contextmanager
def advisories(vulnerable: str) -> Iterator[str]:
    """An advisory service on loopback that knows of one package."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bad = asked["package"]["name"] == vulnerable
            found = {"id": "TEST-1", "summary": "a test", "affected": []}
            body = json.dumps({"vulns": [found]} if bad else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.runs.supply_chain", *words]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def _audited(lock: Path, service: str, **environment: str) -> subprocess.CompletedProcess[str]:
    cache = ("--cache-dir", str(lock.parent / "cache"))
    osv = ("--vulnerability-service", "osv", "--osv-url", service)
    return _command("audit", str(lock), *cache, *osv, **environment)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The service's own, where a cache may lie beside it."""
    copy = tmp_path / "requirements.lock"
    copy.write_text(LOCK.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


@pytest.mark.slow
def test_pip_audit_asks_about_every_locked_package(lock: Path) -> None:
    """Green says how many; one that is vulnerable is named."""
    count = len(packages_in(lock.read_text(encoding="utf-8"), here=True))
    with advisories("nothing") as service:
        clean = _audited(lock, service)
    with advisories("aiohttp") as service:
        vulnerable = _audited(lock, service)

    assert (clean.returncode, clean.stderr) == (0, "")
    assert clean.stdout == f"audit: done, {count} of {count} packages audited\n"
    assert vulnerable.returncode == 1
    assert "aiohttp" in vulnerable.stdout
    assert "TEST-1, mended in no version yet" in vulnerable.stdout


@pytest.mark.slow
def test_an_audit_that_reaches_nobody_says_so(lock: Path) -> None:
    """A lock that can't be read is another thing."""
    nobody = "http://127.0.0.1:9/v1/query"
    offline = _audited(lock, nobody)
    required = _audited(lock, nobody, AUDIT_REQUIRED="1")
    lock.write_text("aiohttp==3.14.5 \\\n    --hash=sha256:zz\nno lock\n", encoding="utf-8")
    broken = _audited(lock, nobody)
    lock.write_text("# nothing\n", encoding="utf-8")
    empty = _audited(lock, nobody)

    codes = [each.returncode for each in (offline, required, broken, empty)]
    assert codes == [0, 1, 1, 1]
    assert "audit: NOT DONE" in offline.stdout
    assert "audit: FAILED, pip-audit gave up" in broken.stdout
    assert "names no packages" in empty.stdout


@pytest.mark.slow
def test_the_bill_of_materials_is_that_of_the_lock(tmp_path: Path) -> None:
    """Each package with its version and hashes, and our own version."""
    file = tmp_path / "build" / "sbom.cdx.json"
    done = _command("sbom", str(LOCK), str(file))

    locked = packages_in(LOCK.read_text(encoding="utf-8"), here=False)
    bill = json.loads(file.read_text(encoding="utf-8"))
    assert (done.returncode, done.stderr) == (0, "")
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "anythingllm-consumer"
    assert bill["metadata"]["component"]["version"] == __version__
    assert {one["name"] for one in bill["components"]} == set(locked)
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])


def test_make_has_both() -> None:
    """Whoever verifies all of it runs them."""
    makefile, ci = REPOSITORY / "Makefile", REPOSITORY / ".ci" / "run"
    for target in ("audit", "sbom"):
        assert f"\n{target}: $(STAMP) ## " in makefile.read_text(encoding="utf-8")
        assert f"\nmake {target}\n" in ci.read_text(encoding="utf-8")
