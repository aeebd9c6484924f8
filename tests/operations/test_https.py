"""AnythingLLM by https with an authority of one's own, and what is told where TLS is wrong."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.app.errors import StartFailedError
from consumer.app.open_servers import open_servers
from tests.certificates import Certificates
from tests.operations.conftest import Operator
from tests.staging import document
from tests.tls_front import tls_before


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def secure(operator: Operator, certificates: Certificates) -> AsyncIterator[str]:
    """The https address of the stage's AnythingLLM."""
    plain, context = operator.stage.simulator.endpoint, certificates.tls_of(certificates.server)
    async with tls_before(plain, context) as endpoint:
        yield endpoint


async def test_documents_are_stored_by_https_with_an_authority_of_one_s_own(
    operator: Operator, certificates: Certificates, secure: str
) -> None:
    """`check` finds nothing, the service stores, and nothing goes the plain way beside it."""
    https = {"ANYTHINGLLM_ENDPOINT": secure, "ANYTHINGLLM_CAFILE": str(certificates.ca)}
    checked = await operator.run("check", "--json", **https)
    operator.stage.publish(document("by-https", ["one", "two"]))
    operator.stage.start(**https)
    await operator.stage.settled()
    await operator.stage.stop()

    assert (checked.code, checked.err) == (0, "")
    assert operator.stage.stored() == {"by-https": ["one", "two"]}


@pytest.mark.parametrize(
    ("server", "authority", "told"),
    [
        ("server", "strange_ca", ["signed by nobody we trust", "ANYTHINGLLM_CAFILE"]),
        ("server", None, ["signed by nobody we trust", "ANYTHINGLLM_CAFILE"]),
        ("expired_server", "ca", ["its certificate has expired", "renew it"]),
        ("other_host", "ca", ["for another host", "127.0.0.1", "ANYTHINGLLM_ENDPOINT"]),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(
    operator: Operator,
    certificates: Certificates,
    server: str,
    authority: str | None,
    told: list[str],
) -> None:
    """By `check` and by `run` the same, in one line; nothing is sent, the key least of all."""
    context = certificates.tls_of(getattr(certificates, server))
    operator.stage.simulator.journal.clear()
    async with tls_before(operator.stage.simulator.endpoint, context) as endpoint:
        changes = {"ANYTHINGLLM_ENDPOINT": endpoint}
        if authority is not None:
            changes["ANYTHINGLLM_CAFILE"] = str(getattr(certificates, authority))
        checked = await operator.run("check", "--json", **changes)
        servers = open_servers(operator.stage.with_settings(**changes), random.Random(1))
        with capture_logs() as logs:
            await servers.connect()
            await servers.look()
            await servers.disconnect()

    (finding,) = [found for found in map(json.loads, checked.lines) if not found["ok"]]
    (waiting,) = [line for line in logs if line["event"] == "start.waiting"]
    for line in (finding["finding"], waiting["error"]):
        assert [] == [word for word in told if word not in line], line
        assert "\n" not in line
        assert operator.stage.simulator.api_key not in line
    assert (checked.code, checked.err) == (3, "")
    assert list(operator.stage.simulator.journal) == []


async def test_https_at_a_plain_port_is_told(operator: Operator) -> None:
    """OpenSSL calls that a wrong version number."""
    endpoint = operator.stage.simulator.endpoint.replace("http:", "https:")
    checked = await operator.run("check", "--json", ANYTHINGLLM_ENDPOINT=endpoint)

    (finding,) = [found for found in map(json.loads, checked.lines) if not found["ok"]]
    assert "is ANYTHINGLLM_ENDPOINT right with https?" in finding["finding"]


async def test_a_file_that_holds_no_authority_is_told(operator: Operator, tmp_path: Path) -> None:
    """No waiting mends it: `run` ends, with a line and no word of a fault in the program."""
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate", encoding="utf-8")
    checked = await operator.run("check", "--json", ANYTHINGLLM_CAFILE=str(junk))
    servers = open_servers(
        operator.stage.with_settings(ANYTHINGLLM_CAFILE=str(junk)), random.Random(1)
    )
    with pytest.raises(StartFailedError, match="can't be read as PEM: check ANYTHINGLLM_CAFILE"):
        await servers.connect()

    (finding,) = [found for found in map(json.loads, checked.lines) if not found["ok"]]
    assert "can't be read as PEM" in finding["finding"]
    assert "ANYTHINGLLM_CAFILE" in finding["what_to_do"]
    assert (checked.code, checked.err) == (3, "")
