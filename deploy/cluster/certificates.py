"""Certificates of an authority that exists for as long as its folder: made when servers of a test or of a trial start."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from schemas.common.clock import utc_now

_LIFE = timedelta(days=2)
STORE_PASSWORD = "changeit"  # Java wants one; the files are their owner's alone, and live as long as the servers
"""Password of the PKCS #12 files."""


class Authority:
    """A certificate authority in a folder. `ca` is the file that clients and servers trust."""

    def __init__(self, folder: Path, name: str = "Cauce test authority") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            _begun(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(_pem(self._certificate))
        self.java_truststore = folder / "ca.p12"
        self.java_truststore.write_bytes(
            pkcs12.serialize_java_truststore(
                [pkcs12.PKCS12Certificate(self._certificate, b"ca")],
                serialization.BestAvailableEncryption(STORE_PASSWORD.encode()),
            )
        )

    def issue(self, name: str) -> Certificate:
        """A key and a certificate for `127.0.0.1` and `localhost`, of a server or of a client that is called so."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            _begun(subject, self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        made = Certificate(self.folder, name)
        plain = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(made.key, plain)
        _write(made.chain, _pem(certificate) + _pem(self._certificate))
        _write(made.java_pem, plain + _pem(certificate) + _pem(self._certificate))
        _write(
            made.java_keystore,
            pkcs12.serialize_key_and_certificates(
                name.encode(),
                key,
                certificate,
                [self._certificate],
                serialization.BestAvailableEncryption(STORE_PASSWORD.encode()),
            ),
        )
        return made


class Certificate:
    """Files of one key: `key` and `chain` in PEM, both in `java_pem`, and `java_keystore` in PKCS #12."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key, self.chain = folder / f"{name}.key", folder / f"{name}.pem"
        self.java_pem, self.java_keystore = folder / f"{name}.java.pem", folder / f"{name}.p12"


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = utc_now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
