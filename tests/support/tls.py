"""A certificate authority for tests, and the certificates it signs for servers and clients on loopback.

Keys are on the curve P-256: they are made in a millisecond each, so every test may have an authority of its own::

    authority = Authority(tmp_path / "ca")
    pair = authority.server()                     # for 127.0.0.1 and localhost
    client = authority.client("alice")
    authority.file                                # what a client has to trust
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both as PEM files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority whose files live in one folder; `file` is its certificate."""

    def __init__(self, folder: Path, name: str = "ocikit tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _called(name)
        cert = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "ca.crt"
        self.file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def server(self, names: Iterable[str] = ("127.0.0.1", "localhost"), *, expired: bool = False) -> Pair:
        """A certificate for a server with these addresses and names."""
        return self._sign("server", list(names), ExtendedKeyUsageOID.SERVER_AUTH, expired=expired)

    def client(self, name: str = "client") -> Pair:
        """A certificate that says who a client is."""
        return self._sign(name, [], ExtendedKeyUsageOID.CLIENT_AUTH, expired=False)

    def _sign(self, name: str, names: list[str], purpose: x509.ObjectIdentifier, *, expired: bool) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_called(name), self._name, key.public_key(), expired=expired).add_extension(
            x509.ExtendedKeyUsage([purpose]), critical=False
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        stem = f"{name}-{cert.serial_number:x}"
        pair = Pair(self.folder / f"{stem}.cert", self.folder / f"{stem}.key")
        pair.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(_pem(key))
        pair.key.chmod(0o600)
        return pair


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now - DAY if expired else now + DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
