"""Certificate of the servers with TLS: ECDSA on P-256, signed by itself, for this machine and a day."""

import datetime
import ipaddress
import os
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a key and its certificate, both PEM."""

    key: str
    certificate: str


def create(directory: str) -> Certificate:
    """Make a key and its certificate, and write them to a directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    found = Certificate(os.path.join(directory, "key.pem"), os.path.join(directory, "certificate.pem"))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    _write(found.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    _write(found.certificate, _sign(key).public_bytes(pem))
    return found


def _sign(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
