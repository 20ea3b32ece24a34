"""Downloads: to a file by way of ``FILE.part``, or to stdout; continued by range, and checked by their hash.

A part of an earlier run is hashed, and the rest is requested with ``If-Range``. A connection that breaks is
continued in the same run. The file gets its name after the check and a flush. A part with a wrong hash is
removed, and the error says so.
"""

import http.client
import re

from filestored.client.address import FileAddress
from filestored.client.errors import ConnectionLost, Refused, TemporaryError, TransferError
from filestored.client.hash_thread import HashThread, algorithms_of
from filestored.client.output import Output, PartFile, StandardOutput
from filestored.client.progress import Transfer
from filestored.client.server import Server

STDOUT = "-"
"""The name of standard output."""

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.ASCII)


def download(server: Server, file: FileAddress, name: str, transfer: Transfer) -> None:
    """Fetch a file to the path `name`, or to standard output. Raises `ClientError` and `OSError`."""
    output: Output = StandardOutput() if name == STDOUT else PartFile(name)
    try:
        _Download(server, file, output, transfer).run()
    finally:
        output.close()


class _Download:
    """One file on its way."""

    def __init__(self, server: Server, file: FileAddress, output: Output, transfer: Transfer) -> None:
        self._server = server
        self._file = file
        self._output = output
        self._transfer = transfer
        self._algorithms = algorithms_of(file.hash)
        self._hashers = [each.new() for each in self._algorithms]
        self._tag = f'"{file.hash}"'
        self._restarted = False
        self._size: int | None = None

    def run(self) -> None:
        """Fetch what is missing, check all, and publish it."""
        self._output.update(self._hashers, self._transfer)
        if not (self._output.size and self._is_right()):
            self._fetch_all()
            if not self._is_right():
                names = " or ".join(each.name for each in self._algorithms)
                removed = self._output.discard()
                raise TransferError(f"the bytes received do not have this hash ({names}); {removed}")
        self._output.publish()

    def _is_right(self) -> bool:
        return self._file.hash in [hasher.digest().hex() for hasher in self._hashers]

    def _fetch_all(self) -> None:
        """Fetch the rest, by several requests if connections break."""
        retries = self._server.retries()
        while True:
            before = self._output.size
            try:
                return self._fetch()
            except TemporaryError as error:
                if self._output.size > before and not self._restarted:
                    retries.reset()
                retries.wait(error)

    def _fetch(self) -> None:
        """Fetch the rest by one request."""
        offset = self._output.size
        fields = {"Range": f"bytes={offset}-", "If-Range": self._tag} if offset else {}
        file = self._file
        try:
            with self._server.request("GET", file.target, fields, trusted=file.trusted) as response:
                self._begin(response, offset)
                self._receive(response)
        except Refused as error:
            if error.status != 416:
                raise
            raise TransferError(f"the file is shorter than the part; {self._output.discard()}") from None

    def _begin(self, response: http.client.HTTPResponse, offset: int) -> None:
        """Read the response head: the rest of the file, or all of it."""
        self._tag = response.getheader("ETag") or self._tag
        size = response.length
        if response.status == 206:
            match = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range") or "")
            if match is None or int(match[1]) != offset:
                raise TransferError("the server has sent another range of the file")
            size = int(match[3])
        elif offset:
            self._restarted = True
            self._output.restart()
            self._hashers = [each.new() for each in self._algorithms]
            self._transfer.restart()
        self._size = size
        if size is not None:
            self._transfer.expect(size)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        with HashThread(self._hashers) as hashes:
            while True:
                buffer = hashes.buffer()
                with self._server.line_errors():
                    size = _read_into(response, buffer)
                if not size:
                    break
                self._output.write(memoryview(buffer)[:size])
                hashes.update(buffer, size)
                self._transfer.advance(size)
        if self._output.size < (self._size or 0):  # a range may be shorter than the one requested
            raise ConnectionLost(f"{self._server.address}: the connection ended before the file did")


def _read_into(response: http.client.HTTPResponse, buffer: bytearray) -> int:
    """Receive some bytes; return their number, 0 at the end."""
    if not response.chunked:
        return response.readinto(buffer)
    data = response.read1(len(buffer))  # readinto() needs all bytes of a chunk at once
    buffer[: len(data)] = data
    return len(data)
