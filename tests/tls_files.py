"""Files of TLS for tests: a root authority, an intermediate one, and a certificate for localhost below it."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority: its certificate and key, signed by `issuer` or by itself."""

    def __init__(self, name, issuer=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = sign(name, self.key, issuer or self, authority=True)

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def sign(name, key, issuer, *, authority=False):
    """Return a certificate of one day for the name and its key."""
    issued_by = issuer.certificate.subject if hasattr(issuer, "certificate") else subject(name)
    now = datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        [
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("encipher_only", "decipher_only"),
        ],
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        .sign(issuer.key, hashes.SHA256())
    )


def subject(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class TLSFiles:
    """Files of a certificate for localhost, below a root and an intermediate authority."""

    def __init__(self, directory):
        self.root = Authority("root")
        self.intermediate = Authority("intermediate", self.root)
        self.key, self.leaf = f"{directory}/key.pem", f"{directory}/leaf.pem"
        self.chain, self.fullchain = f"{directory}/chain.pem", f"{directory}/fullchain.pem"
        self.root_file = f"{directory}/root.pem"
        write(self.root_file, self.root.pem)
        self.renew()

    def renew(self, key=None):
        """Write a key, by default a new one, and its certificate."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        leaf = sign("localhost", key, self.intermediate).public_bytes(serialization.Encoding.PEM)
        write(
            self.key,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        write(self.leaf, leaf)
        write(self.chain, self.intermediate.pem)
        write(self.fullchain, leaf + self.intermediate.pem)

    def endpoint(self, rest="", port=0):
        return f"ssl:{port}:interface=127.0.0.1:privateKey={self.key}{rest or f':certKey={self.fullchain}'}"


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
