"""A server: requests on connections that are kept, errors, repetitions.

The token is sent to this server only; redirects are not followed. Proxies of the environment are not used.
"""

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event
from typing import Self, TypeVar

from filestored import __version__
from filestored.client.address import ServerAddress
from filestored.client.connection import Body, Connection, read_body
from filestored.client.errors import (
    ClientError,
    ConnectionLost,
    Refused,
    TemporaryError,
    TransferError,
    Unavailable,
    printable,
)

DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each repetition of a request; after the last one it has failed."""

MAX_RETRY_AFTER = 10.0
"""Maximum ``Retry-After`` in seconds that is waited for."""

MAX_ERROR_BYTES = 4096
"""Maximum number of bytes of an error that are read."""

MAX_ANSWER_BYTES = 4 << 20
"""Maximum number of bytes of a response that is read at once; a page of a list has 150 KB."""

NO_FIELDS: Mapping[str, str] = {}

_T = TypeVar("_T")


class Server:
    """A server with its connections; its methods may be called in several threads."""

    def __init__(self, address: ServerAddress, token: str = "", ca_file: str | None = None) -> None:
        self.address = address
        self._token = token
        self._context = _tls_context(ca_file) if address.scheme == "https" else None
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()
        self._aborted = Event()
        self._lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] = NO_FIELDS,
        body: Body | None = None,
        *,
        trusted: bool = True,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; yield the response, if it is a success.

        A request that is not `trusted` gets no token. Raises `Refused`, `Unavailable`, `ConnectionLost`, and
        errors of the body.
        """
        with self._connection() as connection:
            with self.line_errors():
                path = self.address.path + target
                response = connection.exchange(method, path, self._fields(fields, trusted), body)
                self._lost = False
                error = None if response.status < 300 else _refusal(response)
            if error is None:
                yield response
        if error is not None:
            raise error

    def read(
        self, method: str, target: str, fields: Mapping[str, str] = NO_FIELDS, body: Body | None = None
    ) -> bytes:
        """Send a request; return the body. Raises what `request` raises, and `TransferError`."""
        with self.request(method, target, fields, body) as response, self.line_errors():
            data = read_body(response, MAX_ANSWER_BYTES + 1)
            if len(data) > MAX_ANSWER_BYTES:
                raise TransferError(f"{self.address} has sent too long a response")
            if response.length:
                raise http.client.IncompleteRead(data)
            return data

    @contextmanager
    def line_errors(self) -> Iterator[None]:
        """Raise `ConnectionLost` for errors of a connection, `ClientError` for those of its certificate."""
        try:
            yield
        except ClientError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise ClientError(
                f"{self.address}: the certificate is not valid: {error.verify_message}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(f"{self.address}: {_reason(error)}") from None

    def repeated(self, call: Callable[[], _T]) -> _T:
        """Call a function until it raises no `TemporaryError`, a few times; return its result."""
        retries = self.retries()
        while True:
            try:
                return call()
            except TemporaryError as error:
                retries.wait(error)

    def retries(self) -> "Retries":
        """Return the repetitions of one request; few if this server cannot be reached."""
        return Retries(self._wait)

    def abort(self) -> None:
        """End all requests of other threads; later ones fail."""
        self._aborted.set()
        for connection in list(self._used):
            connection.shut_down()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().disconnect()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Yield a new or an idle connection; close it afterwards unless it is idle again."""
        connection = self._find_idle() or Connection(self.address, self._context)
        self._used.add(connection)
        if self._aborted.is_set():
            connection.shut_down()
        try:
            yield connection
        finally:
            self._used.discard(connection)
            if connection.is_finished():
                self._idle.append(connection)
            else:
                connection.disconnect()

    def _find_idle(self) -> Connection | None:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.is_usable():
                    return connection
                connection.disconnect()
        return None

    def _fields(self, fields: Mapping[str, str], trusted: bool) -> dict[str, str]:
        credentials = {"Authorization": f"Bearer {self._token}"} if self._token and trusted else {}
        return {"User-Agent": f"filestored/{__version__}", **credentials, **fields}

    def _wait(self, error: TemporaryError, seconds: float | None) -> None:
        """Wait before a repetition; raise the error if there is none."""
        connected = not isinstance(error, ConnectionLost)
        if seconds is None or (self._lost and not connected):
            self._lost = not connected  # so that the next files do not wait as long
            raise error
        if self._aborted.wait(seconds):
            raise error


class Retries:
    """Repetitions of one request, with growing delays."""

    def __init__(self, wait: Callable[[TemporaryError, float | None], None]) -> None:
        self._wait = wait
        self.reset()

    def reset(self) -> None:
        """Begin anew, after some progress."""
        self._delays = iter(DELAYS)

    def wait(self, error: TemporaryError) -> None:
        """Wait before the next repetition; raise the error instead if there is none."""
        delay = next(self._delays, None)
        if delay is not None and error.seconds is not None:
            delay = None if error.seconds > MAX_RETRY_AFTER else max(delay, error.seconds)
        self._wait(error, delay)


def _refusal(response: http.client.HTTPResponse) -> Refused:
    """Return the error of a response: the line of filestored, or the phrase of the status."""
    data = read_body(response, MAX_ERROR_BYTES)
    is_text = (response.getheader("Content-Type") or "").startswith("text/plain")
    text = printable(data.decode("utf-8", "replace")) if is_text else ""
    if response.status < 400:
        text = "redirects are not followed; name the address that it redirects to"
    line = f"{response.status} {text or printable(response.reason)}"
    retry_after = response.getheader("Retry-After") or ""
    if response.status == 503 and retry_after.isascii() and retry_after.isdecimal():
        return Unavailable(line, float(retry_after))
    return Refused(response.status, line)


def _reason(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "the connection ended before the response did"


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ClientError(f"{ca_file}: {error.strerror}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
