"""Catalog of the images of an account: ids, names and metadata. Blocking, on records alone.

::

    accounts/anna/images/aB3x        the image: name, media type, size, hash, digest of its blob
    accounts/anna/names/cat.png      the claim: the name belongs to image aB3x

An image exists if its record exists and its name is claimed for it. So every change is decided by one atomic
step:

- add: first the record, then the claim, which decides
- replace under the same name: the record alone
- replace under a new name: first the new claim, then the record, which decides; the old claim goes last
- remove: the record, which decides; the claim goes last
- remove all images of an account that is being deleted: first all claims. The record of an image goes after
  its blob, so that a deletion that is continued finds every blob.

Names are compared in NFC; the path of a claim has that form. Before 0.4.0 it had the form of the name, so
claims are also looked for there. An account may hold an image in each form from that time. A crash, or a
failed write, during a change between two forms leaves them in claim and record, which still belong together.

A claim without its image was left by a crash, or belongs to a replacement in progress; the two cannot be told
apart. So a taker of the name first rewrites the record that the claim names (`_rewrite_nonce`): a change
about to be decided there fails and is tried again. Then it replaces the claim. This is safe because each
attempt to replace reads the record before it claims, and all claims and records ever written differ
(``nonce``).
"""

import errno
import re
import secrets
import unicodedata
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from filestored.digest import Digest
from filestored.errors import AlreadyExists, NotFound
from filestored.images.accounts import ACCOUNTS
from filestored.images.catalog_records import ImageRecord, claim_for, claimed_by, read_claim, with_new_nonce
from filestored.images.filenames import canonical, escape
from filestored.interfaces import Image, IRecords
from filestored.storage.health import LACKING, ReadFailed
from filestored.storage.thread_pool import in_parallel

IMAGE_ID = re.compile("[A-Za-z0-9_-]{4}")
"""The form of an image id."""

IMAGES = "images"
NAMES = "names"

STEP_RECORDS = 100
"""Number of records that one step of `Catalog.removal_steps` removes."""

DeleteBlobs = Callable[[list[Digest]], object]
"""Deletes blobs durably, and ignores missing ones. Blocking. Raises `OSError`."""

_PARALLEL_CHANGES = 16
_MAX_ATTEMPTS = 100
_ID_BYTES = 3


@dataclass(frozen=True, slots=True)
class _Found:
    """An image that exists: its stored record and claim, the path of the claim, and the parsed record."""

    record: bytes
    claim: bytes
    place: str
    image: Image


class Catalog:
    """The images of the account `username`."""

    def __init__(self, records: IRecords, username: str) -> None:
        self.username = username
        self._records = records
        self._home = f"{ACCOUNTS}/{username}"

    def add(self, image: Image) -> str:
        """Add an image; return its id. Raises `AlreadyExists` when its name is taken."""
        identity, record = self._create(image)
        if self._claim(image.name, identity) is None:
            with suppress(OSError):  # without a claim it is not there
                self._records.remove(self._image(identity), record)
            raise _name_taken()
        return identity

    def read(self, identity: str) -> Image:
        """Return the image of an id. Raises `NotFound`."""
        return self._get(identity).image

    def list_into(self, found: dict[str, str]) -> Generator[str | None]:
        """Put the ids of all images by their names into `found`; yield for each record that is read.

        Yields the id of an image that cannot be listed because its records are damaged or unreadable, else
        None. A claim repeats name and id, so claims are read, and a record only where not exactly one claim
        is for it: during a change, or after a crash. Raises `OSError`.
        """
        claims: dict[str, list[str]] = {identity: [] for identity in self._recorded()}
        for _, claim in self._records.read_all(f"{self._home}/{NAMES}"):
            with suppress(ValueError, LookupError):
                identity, name = read_claim(claim or b"")
                claims.get(identity, []).append(name)
            yield None
        for identity, names in claims.items():
            if len(names) == 1:
                found[names[0]] = identity
            else:
                yield self._list_one(identity, found)

    def _list_one(self, identity: str, found: dict[str, str]) -> str | None:
        """Put one image into `found`, if it exists; return the id if its records are damaged."""
        try:
            entry = self._find(identity)
        except (ValueError, LookupError):
            return identity
        except ReadFailed as error:
            if error.errno in LACKING:
                raise
            return identity
        if entry is not None:
            found[entry.image.name] = identity
        return None

    def _recorded(self) -> list[str]:
        """Return the ids of all records, claimed or not."""
        folder = f"{self._home}/{IMAGES}/"
        return [name.removeprefix(folder) for name in self._records.names(folder[:-1])]

    def replace(self, identity: str, image: Image) -> Image:
        """Replace the image of an id; return the old one. Raises `NotFound` or `AlreadyExists`."""
        for _ in range(_MAX_ATTEMPTS):
            old = self._get(identity)
            renamed = image.name != old.image.name
            claim = self._claim(image.name, identity) if renamed else old.claim
            if claim is None:
                raise _name_taken()
            if self._records.replace(self._image(identity), old.record, ImageRecord.of(image).to_record()):
                if renamed:
                    self._release(old.place, old.claim)
                return old.image
            if renamed and self._records.read(self._image(identity)) is None:
                self._release(self._name(image.name), claim)
        raise _contended()

    def remove(self, identity: str) -> Image:
        """Remove an image; return it. Raises `NotFound`."""
        for _ in range(_MAX_ATTEMPTS):
            old = self._get(identity)
            if self._records.remove(self._image(identity), old.record):
                self._release(old.place, old.claim)
                return old.image
        raise _contended()

    def removal_steps(self, delete_blobs: DeleteBlobs) -> Iterator[Callable[[], None]]:
        """Yield the steps of a removal of all images with their blobs. Each raises `OSError`."""
        for names in self._steps(NAMES):
            yield partial(self._remove_records, names)
        for names in self._steps(IMAGES):
            yield partial(self._remove_images, names, delete_blobs)

    def _remove_images(self, names: list[str], delete_blobs: DeleteBlobs) -> None:
        found = in_parallel(self._blob_of, names, _PARALLEL_CHANGES)
        delete_blobs([digest for digest in found if digest is not None])
        self._remove_records(names)

    def _remove_records(self, names: list[str]) -> None:
        in_parallel(self._remove_record, names, _PARALLEL_CHANGES)

    def _steps(self, folder: str) -> Iterator[list[str]]:
        """Return the names of all records in a folder, `STEP_RECORDS` at a time."""
        names = self._records.names(f"{self._home}/{folder}")
        return (names[start : start + STEP_RECORDS] for start in range(0, len(names), STEP_RECORDS))

    def _remove_record(self, name: str) -> None:
        value = self._records.read(name)
        if value is not None:
            self._records.remove(name, value)

    def _blob_of(self, name: str) -> Digest | None:
        """Return the blob of an image record; None if it is damaged, or was removed meanwhile."""
        try:
            return ImageRecord.from_record(self._records.read(name) or b"").image.blob
        except (ValueError, LookupError):
            return None

    def _create(self, image: Image) -> tuple[str, bytes]:
        """Create a record under an unused id; return both. It is invisible without a claim."""
        record = ImageRecord.of(image).to_record()
        for _ in range(_MAX_ATTEMPTS):
            identity = secrets.token_urlsafe(_ID_BYTES)
            if self._records.create(self._image(identity), record):
                return identity, record
        raise OSError(errno.ENOSPC, "there are no ids left in this account")

    def _get(self, identity: str) -> _Found:
        found = self._find(identity) if IMAGE_ID.fullmatch(identity) else None
        if found is None:
            raise NotFound("Image does not exist")
        return found

    def _find(self, identity: str) -> _Found | None:
        """Return the image if it exists; read again when its record changed between the two reads."""
        place = self._image(identity)
        record = self._records.read(place)
        while record is not None:
            image = ImageRecord.from_record(record).image
            for claim_place in [self._name(image.name), *self._former_places(image.name)]:
                claim = self._records.read(claim_place)
                if claim is not None and claimed_by(claim) == identity:
                    return _Found(record, claim, claim_place, image)
            before, record = record, self._records.read(place)
            if before == record:
                return None
        return None

    def _claim(self, name: str, identity: str) -> bytes | None:
        """Claim a name for an image; return the claim, or None when another image has the name."""
        for place in self._former_places(name):
            held = self._records.read(place)
            record = None if held is None else self._record_of_other(held, identity)
            if record is not None and _has_name(record, name):
                return None
        return self._claim_place(name, identity)

    def _claim_place(self, name: str, identity: str) -> bytes | None:
        """Write the claim at the path of the name, in the place of a stale one."""
        claim = claim_for(name, identity)
        for _ in range(_MAX_ATTEMPTS):
            if self._records.create(self._name(name), claim):
                return claim
            held = self._records.read(self._name(name))
            if held is None:
                continue
            record = self._record_of_other(held, identity)
            if record is not None:
                if _has_name(record, name):
                    return None
                if not self._rewrite_nonce(claimed_by(held), record):
                    continue
            if self._records.replace(self._name(name), held, claim):
                return claim
        raise _contended()

    def _record_of_other(self, claim: bytes, identity: str) -> bytes | None:
        """Return the record of the image that a claim names; None for that of `identity` itself."""
        owner = claimed_by(claim)
        return None if owner == identity else self._records.read(self._image(owner))

    def _rewrite_nonce(self, identity: str, record: bytes) -> bool:
        """Make changes in progress of an image fail once; return False when it has changed meanwhile."""
        return self._records.replace(self._image(identity), record, with_new_nonce(record))

    def _release(self, place: str, claim: bytes) -> None:
        """Remove a claim unless it has changed. A stale claim is harmless, so errors are ignored."""
        with suppress(OSError):
            self._records.remove(place, claim)

    def _image(self, identity: str) -> str:
        return f"{self._home}/{IMAGES}/{identity}"

    def _name(self, name: str) -> str:
        return f"{self._home}/{NAMES}/{escape(canonical(name))}"

    def _former_places(self, name: str) -> list[str]:
        """Return other paths of claims from before 0.4.0: of the name as sent, and as macOS composes it."""
        forms = {escape(name), escape(unicodedata.normalize("NFD", name))} - {escape(canonical(name))}
        return [f"{self._home}/{NAMES}/{form}" for form in sorted(forms)]


def _has_name(record: bytes, name: str) -> bool:
    return canonical(ImageRecord.from_record(record).image.name) == canonical(name)


def _name_taken() -> AlreadyExists:
    return AlreadyExists("An image of this name exists")


def _contended() -> OSError:
    return OSError(errno.EBUSY, "the same image or name is changed all the time")
