"""TLS of server connections: certificate and chain, ALPN, renewal without a restart.

A `Certificate` is text, so one process can read the files and others use it. `ServerTLS` makes the TLS
connections of one listening socket; `ServerTLS.use` replaces the certificate of new connections.

ALPN (RFC 7301): ``http/1.1`` is preferred to ``http/1.0``. A client that offers neither gets the alert
no_application_protocol. A client without ALPN is served.

Rejected: the context of Twisted's `CertificateOptions`. It sends the alert internal_error to each client that
offers protocols, and does not send the chain that stands in the certificate's file.
"""

from dataclasses import dataclass, field
from socket import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

if TYPE_CHECKING:
    from OpenSSL.SSL import Connection, Context

ALPN_PROTOCOLS = (b"http/1.1", b"http/1.0")
"""Names of ALPN, the preferred one first."""

_TLS12_CIPHERS = b"ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES256:ECDH+AES128:RSA+AESGCM:RSA+AES:!aNULL:!MD5:!DSS"
"""Ciphers of TLS 1.2, those of Twisted without finite-field Diffie-Hellman."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A private key and the certificates of its chain, the server's own first; both are PEM."""

    private_key: str = field(repr=False)
    chain: str

    @classmethod
    def from_pem(cls, private_key: bytes, certificates: bytes) -> "Certificate":
        """Return the certificate of a key and its chain, without duplicates. Raises `ValueError`.

        The certificate of the key may stand anywhere in the chain.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificates

        try:
            key: Any = load_pem_private_key(private_key, None)
        except TypeError:
            raise ValueError("the private key needs a passphrase") from None
        except ValueError:
            raise ValueError("the private key is not in PEM format") from None
        except UnsupportedAlgorithm as error:
            raise ValueError(f"the private key cannot be used: {error}") from None
        try:
            chain = list(dict.fromkeys(load_pem_x509_certificates(certificates)))
        except ValueError:
            raise ValueError("the certificate is not in PEM format") from None
        chain.sort(key=lambda each: not _belongs(each, key))
        certificate = cls(private_key.decode("latin-1"), "".join(_pem(each, Encoding.PEM) for each in chain))
        certificate.make_context()
        return certificate

    def make_context(self) -> "Context":
        """Return an OpenSSL context of this certificate. Raises `ValueError` with OpenSSL's reason."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509 import load_pem_x509_certificates
        from OpenSSL import SSL

        own, *others = load_pem_x509_certificates(self.chain.encode("ascii"))
        key: Any = load_pem_private_key(self.private_key.encode("latin-1"), None)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_cipher_list(_TLS12_CIPHERS)
        context.set_alpn_select_callback(_select_protocol)
        if not _belongs(own, key):
            raise ValueError("the private key does not belong to the certificate")
        try:
            context.use_certificate(own)
            context.use_privatekey(key)
            for each in others:
                context.add_extra_chain_cert(each)
        except SSL.Error as error:
            raise ValueError(f"OpenSSL refuses the certificate or its key: {_reasons(error)}") from None
        return context


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """Makes TLS connections with the certificate that was set last."""

    def __init__(self, certificate: Certificate) -> None:
        self.use(certificate)

    def use(self, certificate: Certificate) -> None:
        """Use a certificate for new connections; open ones keep theirs."""
        self._context = certificate.make_context()

    def serverConnectionForTLS(self, protocol: Any) -> "Connection":
        """See `IOpenSSLServerConnectionCreator.serverConnectionForTLS`."""
        from OpenSSL.SSL import Connection

        return Connection(self._context, None)

    def connection_on(self, connection: socket) -> "Connection":
        """Return a connection that reads and writes a non-blocking socket, and expects a handshake."""
        from OpenSSL.SSL import Connection

        tls = Connection(self._context, connection)
        tls.set_accept_state()
        _end_reads_after_each_record(tls)
        return tls


def _select_protocol(connection: "Connection", offered: list[bytes]) -> bytes:
    """Return the protocol of a connection. Raises `Error`: pyOpenSSL sends the alert, Twisted closes."""
    from OpenSSL.SSL import Error

    for protocol in ALPN_PROTOCOLS:
        if protocol in offered:
            return protocol
    raise Error([("SSL routines", "", "no application protocol")])


def _end_reads_after_each_record(connection: Any) -> None:
    """Have a read return after a record without content, such as a KeyUpdate.

    By default OpenSSL reads on while the socket has bytes, which a client can send for ever.
    """
    from OpenSSL import SSL

    library: Any = SSL._lib  # type: ignore[attr-defined]  # pyOpenSSL has no public function
    library.SSL_clear_mode(connection._ssl, library.SSL_MODE_AUTO_RETRY)


def _belongs(certificate: Any, private_key: Any) -> bool:
    """Return whether the private key is that of the certificate, of whichever algorithm."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return bool(certificate.public_key() == private_key.public_key())
    except (UnsupportedAlgorithm, ValueError):
        return False


def _reasons(error: Any) -> str:
    """Return the reasons in an error of pyOpenSSL, such as "ee key too small"."""
    return ", ".join(reason for _, _, reason in error.args[0]) if error.args else "no reason is given"


def _pem(certificate: Any, encoding: Any) -> str:
    pem: bytes = certificate.public_bytes(encoding)
    return pem.decode("ascii")
