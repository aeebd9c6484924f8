"""How errors of Kafka's client are worded."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from consumer.kafka import connection
from consumer.kafka.connection import (
    KafkaConnection,
    KafkaUnavailableError,
    explained,
    in_short,
)
from consumer.kafka.tls_refusal import OwnCertificate, has_expired
from tests.certificates import Certificates


@pytest.fixture(autouse=True)
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were looked at once more, of which nothing more was found out."""
    asked: list[str] = []

    async def nothing_more(servers: str, *, has_tls: bool) -> None:
        asked.append(servers)

    monkeypatch.setattr(connection, "why_unreachable", nothing_more)
    return asked


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "TimeoutError: no answer in time"),
        (TimeoutError("no answer within 15 s"), "TimeoutError: no answer within 15 s"),
        (AssertionError(), "AssertionError"),
        (OSError("x" * 400), "OSError: " + "x" * 291),
    ],
)
def test_an_error_without_words_gets_some(error: Exception, told: str) -> None:
    """A line that ends with a colon tells nobody what happened."""
    assert in_short(error) == told


async def test_what_took_too_long_is_told_as_that() -> None:
    """On `/readyz` and in `check`, while no broker answers."""
    with pytest.raises(KafkaUnavailableError, match=r"at k:9092 failed: .*no answer in time$"):
        async with explained("reading end offsets", KafkaConnection("k:9092")):
            raise TimeoutError


def _distrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code, error.verify_message = code, "as OpenSSL says"
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (IllegalSaslStateError("<AIOKafkaConnection>"), "takes no SASL on this port"),
        (SaslAuthenticationFailed("bad credentials"), "bad credentials; check KAFKA_SASL_USERNAME"),
        (UnsupportedSaslMechanismError("<AIOKafkaConnection>"), "takes no PLAIN on this port"),
        (KafkaConnectionError("closed"), "failed: what listens there ended the connection"),
        (KafkaConnectionError("Connection at k:9092 closed"), "failed: what listens there ended"),
        (KafkaConnectionError("odd"), "odd; what listens there ended the connection"),
        (ConnectionResetError(), "ConnectionResetError; is KAFKA_SECURITY_PROTOCOL right"),
        (ConnectionRefusedError("[Errno 111] Connect call failed"), "Connect call failed$"),
        (_distrusted(10), "its certificate has expired; renew it"),
        (_distrusted(9), "its certificate is not valid yet"),
        (_distrusted(62), r"another host \(as OpenSSL says\); .*advertised.listeners"),
        (_distrusted(64), "another host"),
        (_distrusted(20), r"nobody we trust \(as OpenSSL says\); check KAFKA_SSL_CAFILE"),
        (_distrusted(18), "nobody we trust"),
    ],
)
async def test_what_only_the_client_s_log_knows_is_told_with_what_to_do(
    error: Exception, told: str, looked: list[str]
) -> None:
    """Its exception says "Unable to bootstrap" of a wrong password and a wrong CA alike."""
    broker = KafkaConnection("k:9092", sasl_mechanism="PLAIN")

    async def connect() -> None:
        async with explained("connecting", broker):
            logging.getLogger("aiokafka").error('Unable connect to "%s:%s": %s', "k", 9092, error)
            raise KafkaConnectionError("Unable to bootstrap from k:9092")

    with pytest.raises(KafkaUnavailableError, match=told):
        await connect()
    plain = isinstance(error, OSError | KafkaConnectionError) and not isinstance(
        error, ssl.SSLError
    )
    assert looked == (["k:9092"] if plain else [])


@pytest.mark.parametrize(
    ("servers", "host", "told"),
    [
        ("k:9092", "k", "connecting at k:9092 failed: refused"),
        ("[::1]:9092", "::1", "connecting at [::1]:9092 failed: refused"),
        # What the broker calls itself, or one of several: it has to be named.
        ("k:9092", "kafka-1.inside", "connecting at k:9092 failed: kafka-1.inside:9092: refused"),
        ("a:9092,b:9092", "b", "connecting at a:9092,b:9092 failed: b:9092: refused"),
    ],
)
async def test_an_address_is_named_once(servers: str, host: str, told: str) -> None:
    """The client's own line would name it a second and a third time."""

    async def connect() -> None:
        async with explained("connecting", KafkaConnection(servers)):
            refused = OSError("refused")
            logging.getLogger("aiokafka").error(
                'Unable connect to "%s:%s": %s', host, 9092, refused
            )
            raise KafkaConnectionError(f"Unable to bootstrap from {servers}")

    with pytest.raises(KafkaUnavailableError) as failed:
        await connect()
    assert str(failed.value) == told


async def test_a_lost_connection_of_later_is_no_hint_at_settings() -> None:
    """A broker that restarts ends connections as well."""

    async def ask() -> None:
        async with explained("asking", KafkaConnection("k:9092")):
            lost = KafkaConnectionError("Connection at k:9092 closed")
            logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", 1, lost)
            raise KafkaConnectionError("no node")

    with pytest.raises(KafkaUnavailableError) as failed:
        await ask()
    assert "KAFKA_" not in str(failed.value)


async def test_a_warning_tells_where_no_error_does() -> None:
    """A broker that wants SASL ends the connection at the first request: that is a warning."""

    async def connect(*lines: tuple[int, str]) -> None:
        async with explained("connecting", KafkaConnection("k:9092")):
            for level, said in lines:
                cause = ValueError(said)
                logging.getLogger("aiokafka").log(level, 'From "%s:%s": %s', "k", 9092, cause)
            raise KafkaConnectionError("Unable to bootstrap")

    for first, told in ((logging.WARNING, "the warning"), (logging.ERROR, "the error")):
        with pytest.raises(KafkaUnavailableError, match=told):
            await connect((first, told), (logging.WARNING, "a later warning"))


def test_files_that_are_no_certificates_are_named_by_their_setting(tmp_path: Path) -> None:
    """Before anything is connected; a key's password is asked for on no terminal."""
    ours = Certificates(tmp_path)
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate", encoding="utf-8")
    for files, told in (
        ({"ca_file": junk}, "KAFKA_SSL_CAFILE"),
        ({"ca_file": tmp_path / "gone.pem"}, "KAFKA_SSL_CAFILE"),
        ({"cert_file": junk}, "KAFKA_SSL_CERTFILE"),
        ({"cert_file": ours.client, "key_file": ours.server}, "KAFKA_SSL_KEYFILE"),
        ({"cert_file": ours.locked_client, "key_password": "CANARY"}, "KAFKA_SSL_KEY_PASSWORD"),
        ({"cert_file": ours.locked_client}, "KAFKA_SSL_KEY_PASSWORD"),
    ):
        with pytest.raises(KafkaUnavailableError, match=told) as failed:
            KafkaConnection("k:9092", "SSL", **files).client_options()
        assert "CANARY" not in str(failed.value)


def test_whether_our_certificate_has_expired_is_seen_here(tmp_path: Path) -> None:
    """Java's brokers say "certificate unknown" of all that they dislike."""
    ours = Certificates(tmp_path)

    assert has_expired(OwnCertificate(ours.expired_client))
    assert not has_expired(OwnCertificate(ours.client))
    assert not has_expired(OwnCertificate(ours.strange_client))
    assert not has_expired(OwnCertificate(ours.ca))
