"""TLS client on the functions of libssl that the module `ssl` has no methods for."""

import _ssl
import ctypes
import socket

_lib = ctypes.CDLL(_ssl.__file__)  # its libssl
_lib.TLS_client_method.restype = ctypes.c_void_p
_lib.SSL_CTX_new.restype = ctypes.c_void_p
_lib.SSL_new.restype = ctypes.c_void_p

_SET_MAX_VERSION = 124
_TLS_1_2 = 0x0303


class OpenSSLClient:
    """A TLS connection on a connected blocking socket, which it closes. It verifies no certificate."""

    def __init__(self, connection: socket.socket, *, tls12: bool = False) -> None:
        self.connection = connection
        connection.setblocking(True)
        self._context = ctypes.c_void_p(_lib.SSL_CTX_new(ctypes.c_void_p(_lib.TLS_client_method())))
        if tls12:
            _lib.SSL_CTX_ctrl(self._context, _SET_MAX_VERSION, ctypes.c_long(_TLS_1_2), None)
        self._ssl = ctypes.c_void_p(_lib.SSL_new(self._context))
        _lib.SSL_set_fd(self._ssl, connection.fileno())
        assert 1 == _lib.SSL_connect(self._ssl)

    def __enter__(self) -> "OpenSSLClient":
        return self

    def __exit__(self, *_: object) -> None:
        _lib.SSL_free(self._ssl)
        _lib.SSL_CTX_free(self._context)
        self.connection.close()

    def send(self, data: bytes) -> None:
        """Send bytes in as few records as they need."""
        assert len(data) == _lib.SSL_write(self._ssl, data, len(data))

    def update_keys(self, *, request_reply: bool) -> None:
        """Send a KeyUpdate (RFC 8446 section 4.6.3)."""
        assert 1 == _lib.SSL_key_update(self._ssl, int(request_reply))
        assert 1 == _lib.SSL_do_handshake(self._ssl)

    def renegotiate(self) -> bool:
        """Ask for a renegotiation of TLS 1.2; return whether the server agreed."""
        assert 1 == _lib.SSL_renegotiate(self._ssl)
        return bool(_lib.SSL_do_handshake(self._ssl) == 1)

    def send_close_notify(self) -> None:
        """Send no more."""
        assert 0 == _lib.SSL_shutdown(self._ssl)

    def read_to_end(self) -> bytes:
        """Read to the close_notify of the server. Raises `ConnectionError` if the connection ends without."""
        pieces, buffer = [], ctypes.create_string_buffer(1 << 16)
        while (size := _lib.SSL_read(self._ssl, buffer, len(buffer))) > 0:
            pieces.append(buffer.raw[:size])
        if not _lib.SSL_get_shutdown(self._ssl) & 2:
            raise ConnectionError
        return b"".join(pieces)
