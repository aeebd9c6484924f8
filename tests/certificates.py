"""Authorities and certificates for a moment, and an https server that has one."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

HOST = "127.0.0.1"
LOCK = "CANARY-key-password"


@dataclass(frozen=True)
class Certificates:
    """Two authorities that know nothing of each other, and what they sign, as files of a folder.

    Args:
        folder: where the files are; gone with the test.
    """

    folder: Path

    @cached_property
    def _ours(self) -> trustme.CA:
        return trustme.CA()

    @cached_property
    def _strange(self) -> trustme.CA:
        return trustme.CA()

    @cached_property
    def ca(self) -> Path:
        """The authority that servers and clients share."""
        return self._authority("ca", self._ours)

    @cached_property
    def strange_ca(self) -> Path:
        """An authority that has signed nothing of theirs."""
        return self._authority("strange-ca", self._strange)

    @cached_property
    def server(self) -> Path:
        """Key and certificate of this machine, signed by `ca`."""
        return self._identity("server", self._ours.issue_cert(HOST))

    @cached_property
    def expired_server(self) -> Path:
        """The same, over since yesterday."""
        return self._identity("expired-server", self._expired(HOST))

    @cached_property
    def other_host(self) -> Path:
        """Key and certificate of another machine."""
        return self._identity("other-host", self._ours.issue_cert("kafka.example"))

    @cached_property
    def client(self) -> Path:
        """Ours: key and certificate in one file."""
        return self._identity("client", self._ours.issue_cert("consumer@example.org"))

    @cached_property
    def expired_client(self) -> Path:
        """Ours, over since yesterday."""
        return self._identity("expired-client", self._expired("consumer@example.org"))

    @cached_property
    def strange_client(self) -> Path:
        """Signed by an authority that the server does not know."""
        return self._identity("strange-client", self._strange.issue_cert("consumer@example.org"))

    @cached_property
    def locked_client(self) -> Path:
        """Ours, with a key that the password `LOCK` opens."""
        return self._identity("locked-client", self._ours.issue_cert("consumer@example.org"), LOCK)

    def tls_of(self, server: Path) -> ssl.SSLContext:
        """What a server of this process speaks https with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        return context

    def _expired(self, name: str) -> trustme.LeafCert:
        now = datetime.now(UTC)
        return self._ours.issue_cert(
            name, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
        )

    def _authority(self, name: str, ca: trustme.CA) -> Path:
        path = self.folder / f"{name}.pem"
        ca.cert_pem.write_to_path(path)
        return path

    def _identity(self, name: str, leaf: trustme.LeafCert, password: str = "") -> Path:
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        told = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,  # the only form that Kafka reads
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption(),
        )
        path = self.folder / f"{name}.pem"
        path.write_bytes(told + b"".join(each.bytes() for each in leaf.cert_chain_pems))
        return path
