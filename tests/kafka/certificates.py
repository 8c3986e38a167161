"""Certificates for the secured test broker: one authority, one server, and a client per name, made at test time.

Source: RFC 5280; Kafka takes them as PEM stores (KIP-651).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """Makes the files in ``folder``: ``authority`` and ``server_keystore`` at once, clients on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "streameval test authority")])
        self._certificate = self._issue(self._name, self._key.public_key(), authority=True)
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        certificate, key = self.client("localhost", password=None)
        self.server_keystore = folder / "server.pem"
        self.server_keystore.write_bytes(key.read_bytes() + certificate.read_bytes())

    def _issue(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def client(self, name: str, *, password: str | None) -> tuple[Path, Path]:
        """``(certificate, key)`` files of a client ``CN=name``; the key is encrypted when a password is given."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._issue(subject, key.public_key(), authority=False)
        sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            sealed = serialization.BestAvailableEncryption(password.encode())
        certificate_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed))
        return certificate_file, key_file
