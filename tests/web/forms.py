"""Builders of multipart/form-data bodies, and a store that receives them without HTTP."""

from collections.abc import Iterable
from hashlib import sha256

from twisted.internet.defer import Deferred, maybeDeferred

from filestored.digest import algorithm
from filestored.storage.memory import MemoryBackend
from filestored.storage.store import Store
from filestored.web.errors import HTTPError
from filestored.web.forms.all_files import AllFiles
from filestored.web.forms.multipart_parser import MultipartParser

BOUNDARY = "----b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(data, disposition='form-data; name="file"; filename="x.bin"', *lines):
    head = [f"Content-Disposition: {disposition}", *lines, "", ""]
    return "\r\n".join(head).encode() + data


def form(*parts, end=b"--\r\n", boundary=BOUNDARY):
    mark = b"--" + boundary.encode()
    return mark + b"".join(b"\r\n" + each + b"\r\n" + mark for each in parts) + end


def name_of(data: bytes) -> bytes:
    """Return the hash under which `data` is stored."""
    return sha256(data).hexdigest().encode()


def store_form(pieces: Iterable[bytes], boundary: str | bytes) -> list[bytes] | int:
    """Write a form in pieces; return the hashes of its files, or the status of the error."""
    own = algorithm("sha256")
    store = Store(MemoryBackend(own), own, maybeDeferred)
    raw = boundary if isinstance(boundary, bytes) else boundary.encode()
    files = AllFiles(store.upload_series(), MultipartParser(raw, 1 << 30))

    async def write() -> list[bytes]:
        for piece in pieces:
            files.write(piece)
        await files.finish()
        return [stored.digest.hex.encode() for stored in await files.commit()]

    outcomes: list[list[bytes]] = []
    errors: list[Exception] = []
    Deferred.fromCoroutine(write()).addCallbacks(
        outcomes.append, lambda failure: errors.append(failure.value)
    )
    files.abort()
    assert store.uploads_in_flight == 0
    if not errors:
        return outcomes[0]
    if not isinstance(errors[0], HTTPError):
        raise errors[0]
    return errors[0].status
