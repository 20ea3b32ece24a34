"""What no record names, removed as a daemon starts. Blocking.

A process that dies may leave the bytes of an image without its record, a record without its claim, a claim
without its record, and a token without its account. Nobody sees any of them; they take room, and
here they go. To tell them from what somebody is just about to make whole, the sweep must be alone:
the caller sees to that.
"""

from collections.abc import Iterator

from filestored.images.accounts import ACCOUNTS, TOKENS, Accounts
from filestored.images.catalog import IMAGES, NAMES
from filestored.images.entries import Entry, claimed_by
from filestored.images.names import escaped
from filestored.interfaces import IBackend, Image, IRecords

_PAGE = 1000


def sweep(records: IRecords, accounts: Accounts, blobs: IBackend) -> int:
    """Remove everything that no record names; returns how many things that was. Raises `OSError`.

    Raises `ValueError` or `LookupError` for a record that can't be read, and then removes no bytes: it may
    name any of them.
    """
    usernames = sorted({name.split("/")[1] for name in records.names(ACCOUNTS)})
    removed = _sweep_tokens(records, accounts, usernames)
    named: set[str] = set()
    for username in usernames:
        kept = dict(_images(records, f"{ACCOUNTS}/{username}"))
        named |= {image.blob.hex for image in kept.values()}
        removed += _sweep_account(records, f"{ACCOUNTS}/{username}", kept)
    return removed + _sweep_blobs(blobs, named)


def _images(records: IRecords, home: str) -> Iterator[tuple[str, Image]]:
    """The images of an account that are there, with their ids."""
    for name in records.names(f"{home}/{IMAGES}"):
        image = Entry.from_record(records.read(name) or b"").image
        claim = records.read(f"{home}/{NAMES}/{escaped(image.name)}")
        identity = name.rpartition("/")[2]
        if claim is not None and claimed_by(claim) == identity:
            yield identity, image


def _sweep_account(records: IRecords, home: str, kept: dict[str, Image]) -> int:
    wanted = {f"{home}/{IMAGES}/{identity}" for identity in kept}
    wanted |= {f"{home}/{NAMES}/{escaped(image.name)}" for image in kept.values()}
    there = {*records.names(f"{home}/{IMAGES}"), *records.names(f"{home}/{NAMES}")}
    return sum(_remove(records, name) for name in there - wanted)


def _sweep_tokens(records: IRecords, accounts: Accounts, usernames: list[str]) -> int:
    wanted = {accounts.place_of_token(username) for username in usernames}
    return sum(_remove(records, name) for name in set(records.names(TOKENS)) - wanted)


def _remove(records: IRecords, name: str) -> bool:
    return records.remove(name, records.read(name) or b"")


def _sweep_blobs(blobs: IBackend, named: set[str]) -> int:
    removed = 0
    page = blobs.digests(None, _PAGE)
    while page:
        orphans = [digest for digest in page if digest.hex not in named]
        for digest in orphans:
            blobs.delete(digest)
        blobs.settle(orphans)
        removed += len(orphans)
        page = blobs.digests(page[-1], _PAGE)
    return removed
