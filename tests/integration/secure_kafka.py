"""A broker that speaks TLS, wants a password and our certificate, on this machine."""

from __future__ import annotations

import random
from pathlib import Path

from consumer.sandbox.kafka.broker import free_ports
from consumer.sandbox.kafka.java import JavaKafka
from tests.certificates import HOST, Certificates

USER, PASSWORD = "consumer", "CANARY-kafka-password"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_MECHANISM = "SCRAM-SHA-512"


class SecureKafka(JavaKafka):
    """A broker with three listeners more, each SASL_SSL with SCRAM and client certificates.

    Their server certificates differ: a good one, one that has expired, one of another host.

    Args:
        rng: picks the ports and the cluster's id.
        certificates: of broker and clients.
    """

    def __init__(self, rng: random.Random, certificates: Certificates) -> None:
        super().__init__(rng)
        ports = free_ports(3, rng)
        self.secure, self.expired, self.other_host = (f"{HOST}:{port}" for port in ports)
        self._certificates = certificates

    def settings(self, **changes: str) -> dict[str, str]:
        """Settings of a client that is let in."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.secure,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": _MECHANISM,
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CAFILE": str(self._certificates.ca),
            "KAFKA_SSL_CERTFILE": str(self._certificates.client),
        } | changes

    def _format_options(self) -> list[str]:
        return ["--add-scram", f"{_MECHANISM}=[name={USER},password={PASSWORD}]"]

    def _properties(self, folder: Path) -> str:
        ours = self._certificates
        guarded = {
            "secure": (self.secure, ours.server),
            "expired": (self.expired, ours.expired_server),
            "otherhost": (self.other_host, ours.other_host),
        }
        lines = super()._properties(folder).splitlines()
        (listeners,) = [line for line in lines if line.startswith("listeners=")]
        lines.remove(listeners)
        # Nothing is restarted here; see `oauth_kafka.py`.
        lines = [line for line in lines if not line.startswith("broker.session.timeout.ms=")]
        lines.append(
            ",".join([listeners, *(f"{name.upper()}://{at}" for name, (at, _) in guarded.items())])
        )
        protocols = ",".join(f"{name.upper()}:SASL_SSL" for name in guarded)
        lines += [
            f"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{protocols}",
            f"sasl.enabled.mechanisms={_MECHANISM}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={ours.ca}",
        ]
        for name, (_, identity) in guarded.items():
            of = f"listener.name.{name}"
            lines += [
                f"{of}.ssl.client.auth=required",
                f"{of}.ssl.keystore.type=PEM",
                f"{of}.ssl.keystore.location={identity}",
                f"{of}.{_MECHANISM.lower()}.sasl.jaas.config={_SCRAM} required;",
            ]
        return "".join(f"{line}\n" for line in lines)
