"""TLS, SCRAM and client certificates on a real broker, and what is told where one of them is wrong.

Whoever is woken by it has to know from one line which it is and which setting to look at.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumer.app import Service, StartFailedError
from consumer.sandbox.kafka.jars import missing_for_java
from consumer.settings import load_settings
from tests.certificates import Certificates
from tests.commands import Commands
from tests.e2e.support import Programs
from tests.integration.secure_kafka import PASSWORD, SecureKafka
from tests.integration.service_fixtures import Stage, open_stage
from tests.staging import document, texts

pytestmark = pytest.mark.kafka

WRONG = "OTHER-kafka-password"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def guarded(certificates: Certificates) -> Iterator[SecureKafka]:
    """One broker for all of these: its start is what takes time."""
    if (missing := missing_for_java()) is not None:
        pytest.skip(missing)
    kafka = SecureKafka(random.Random(), certificates)
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(asyncio.run, kafka.start()).result()
            yield kafka
        finally:
            thread.submit(asyncio.run, kafka.close()).result()


@pytest.fixture
async def stage(guarded: SecureKafka, unique_name: Callable[[str], str]) -> AsyncIterator[Stage]:
    async with open_stage(guarded, unique_name, guarded.settings()) as stage:
        yield stage


@dataclass(frozen=True)
class Refusal:
    """Something that is wrong.

    Args:
        name: of the case.
        told: what the line has to say.
        changes: settings in which a client differs from one that is let in; "" takes one away.
        files: settings that are a file of `Certificates`.
        listener: of the broker.
    """

    name: str
    told: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    listener: str = "secure"

    def settings(self, kafka: SecureKafka, certificates: Certificates) -> dict[str, str]:
        files = {name: str(getattr(certificates, file)) for name, file in self.files}
        listener: str = getattr(kafka, self.listener)
        changes = {"KAFKA_BOOTSTRAP_SERVERS": listener, **dict(self.changes), **files}
        wanted = kafka.settings(**changes)
        return {name: value for name, value in wanted.items() if value}


PASSWORD_IS_WRONG = Refusal(
    "password",
    ("SaslAuthenticationFailed", "KAFKA_SASL_PASSWORD"),
    (("KAFKA_SASL_PASSWORD", WRONG),),
)
REFUSALS = (
    Refusal(
        "user", ("invalid credentials", "KAFKA_SASL_USERNAME"), (("KAFKA_SASL_USERNAME", "x"),)
    ),
    Refusal(
        "mechanism",
        ("takes no SCRAM-SHA-256", "KAFKA_SASL_MECHANISM"),
        (("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256"),),
    ),
    Refusal(
        "authority",
        ("signed by nobody we trust", "KAFKA_SSL_CAFILE"),
        files=(("KAFKA_SSL_CAFILE", "strange_ca"),),
    ),
    Refusal(
        "authority-of-the-system",
        ("signed by nobody we trust", "KAFKA_SSL_CAFILE"),
        (("KAFKA_SSL_CAFILE", ""),),
    ),
    Refusal("expired", ("its certificate has expired", "renew it"), listener="expired"),
    Refusal(
        "host",
        ("for another host", "127.0.0.1", "KAFKA_BOOTSTRAP_SERVERS", "advertised.listeners"),
        listener="other_host",
    ),
    Refusal(
        "no-certificate",
        ("wants a certificate of ours", "KAFKA_SSL_CERTFILE"),
        (("KAFKA_SSL_CERTFILE", ""),),
    ),
    Refusal(
        "strange-certificate",
        ("does not take our certificate", "KAFKA_SSL_CERTFILE"),
        files=(("KAFKA_SSL_CERTFILE", "strange_client"),),
    ),
    Refusal(
        "expired-certificate",
        ("our certificate has expired", "KAFKA_SSL_CERTFILE"),
        files=(("KAFKA_SSL_CERTFILE", "expired_client"),),
    ),
    Refusal(
        "certificate-without-key",
        ("no certificate with its key", "KAFKA_SSL_KEYFILE"),
        files=(("KAFKA_SSL_CERTFILE", "ca"),),
    ),
    Refusal(
        "tls-on-a-plain-port",
        ("no TLS is spoken there", "KAFKA_SECURITY_PROTOCOL"),
        listener="bootstrap_servers",
    ),
    Refusal(
        "no-sasl",
        ("ended the connection", "KAFKA_SECURITY_PROTOCOL"),
        (
            ("KAFKA_SECURITY_PROTOCOL", "SSL"),
            *((f"KAFKA_SASL_{name}", "") for name in ("MECHANISM", "USERNAME", "PASSWORD")),
        ),
    ),
    Refusal(
        "no-tls",
        ("TLS is spoken there", "KAFKA_SECURITY_PROTOCOL"),
        (
            ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
            *((f"KAFKA_SSL_{name}", "") for name in ("CAFILE", "CERTFILE")),
        ),
    ),
)


async def test_documents_go_all_the_way_by_tls_with_a_password_and_a_certificate(
    stage: Stage,
) -> None:
    """Reading, results, commits: nothing of ours complains."""
    with capture_logs() as logs:
        await stage.start()
        for number in range(3):
            await stage.publish(document(f"doc-{number}", texts(f"doc-{number}", 2)))
        await stage.wait_results(3)
        await stage.finish()

    assert stage.connection.bootstrap_servers == stage.kafka.secure  # type: ignore[attr-defined]
    assert set(stage.stored()) == {"doc-0", "doc-1", "doc-2"}
    await stage.assert_all_committed()
    assert [line for line in logs if line["log_level"] not in {"debug", "info"}] == []


async def test_a_wrong_password_is_told(
    guarded: SecureKafka, certificates: Certificates, commands: Commands, stage: Stage
) -> None:
    """`check` and `run` say the same; `run` waits for it, and says so in its log."""
    await _told_by_check(PASSWORD_IS_WRONG, guarded, certificates, commands)
    settings = load_settings(stage.env | PASSWORD_IS_WRONG.settings(guarded, certificates))
    with capture_logs() as logs:
        service = Service(settings)
        running = asyncio.create_task(service.run())
        async with asyncio.timeout(30):
            while not any(line["event"] == "start.waiting" for line in logs):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        service.stop()
        await running

    (waiting, *_) = [line for line in logs if line["event"] == "start.waiting"]
    _judge(PASSWORD_IS_WRONG, waiting["error"])
    with pytest.raises(StartFailedError) as failed:
        await Service(settings, fail_fast=True).run()
    _judge(PASSWORD_IS_WRONG, str(failed.value))


@pytest.mark.slow
async def test_a_password_that_is_mended_in_its_file_is_taken_without_a_restart(
    stage: Stage, tmp_path: Path
) -> None:
    """Every new client reads it again; the certificates' files as well."""
    file = tmp_path / "password"
    file.write_text(WRONG, encoding="utf-8")
    del stage.env["KAFKA_SASL_PASSWORD"]
    stage.env["KAFKA_SASL_PASSWORD_FILE"] = str(file)
    with capture_logs() as logs:
        await stage.start(ready=False)
        async with asyncio.timeout(30):
            while not any(line["event"] == "start.waiting" for line in logs):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        file.write_text(PASSWORD, encoding="utf-8")
        await stage.publish(document("after", ["one"]))
        await stage.wait_results(1)
        await stage.finish()

    assert set(stage.stored()) == {"after"}
    renewed = [line["setting"] for line in logs if line["event"] == "secret.renewed"]
    assert renewed == ["KAFKA_SASL_PASSWORD_FILE"]


@pytest.mark.slow
@pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal.name for refusal in REFUSALS])
async def test_each_refusal_is_told_in_one_line(
    guarded: SecureKafka,
    certificates: Certificates,
    programs: Programs,
    stage: Stage,
    refusal: Refusal,
) -> None:
    """By `check` in its table, by `run --fail-fast` at its end: no secret and no traceback."""
    await _told_by_check(refusal, guarded, certificates, programs.commands)
    changed = refusal.settings(guarded, certificates)
    kept = {name: value for name, value in stage.env.items() if not name.startswith("KAFKA_S")}
    ended = await programs.run("run", "--fail-fast", settings=kept | changed | {"ADMIN_PORT": "0"})

    (line,) = ended.err.splitlines()
    assert ended.code == 1
    _judge(refusal, line)
    logged = [json.loads(each) for each in ended.out.splitlines()]
    expected = {"admin.listening", "anythingllm.reached", "settings.warning"}
    assert {each["event"] for each in logged} <= expected


async def _told_by_check(
    refusal: Refusal, kafka: SecureKafka, certificates: Certificates, commands: Commands
) -> None:
    settings = refusal.settings(kafka, certificates) | {"ANYTHINGLLM_API_KEY": "k"}
    ended = await commands.run("check", "--json", settings=settings)
    found = {each["subject"]: each for each in map(json.loads, ended.lines)}
    assert (ended.code, found["Kafka"]["ok"]) == (3, False)
    assert {json.loads(line)["event"] for line in ended.err.splitlines()} <= {"settings.warning"}
    _judge(refusal, found["Kafka"]["finding"])


def _judge(refusal: Refusal, line: str) -> None:
    assert "\n" not in line
    assert [] == [word for word in refusal.told if word not in line], line
    for secret in (PASSWORD, WRONG):
        assert secret not in line
    assert "Traceback" not in line
