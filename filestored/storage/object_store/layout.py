"""Layout of an object store: ``FORMAT``, as on a disk, and a probe of conditional writes. Blocking.

`prepare` creates ``FORMAT`` in an empty prefix. A prefix with other objects is left alone. Any number of
processes may prepare a store at once.

Records need conditional writes (`records`). Some services accept the conditions and ignore them, so `probe`
makes each write that must fail once.
"""

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filestored.digest import Algorithm, algorithm
from filestored.errors import EngineError, NotFound, UnknownAlgorithm, UnusableStore
from filestored.storage.disk.format_file import StoreFormat, parse
from filestored.storage.disk.layout import BUCKETS, check_algorithm, is_bucket_name
from filestored.storage.object_store.client import FORMAT, ObjectStoreClient
from filestored.storage.object_store.connection import NO_ANSWER

PROBES = "tmp/probe-"
"""Prefix of the objects that `probe` writes."""


@contextmanager
def error_context(client: ObjectStoreClient) -> Iterator[None]:
    """Convert errors within the context to `UnusableStore` with the URL of the store."""
    try:
        yield
    except EngineError as error:
        advice = "; check its endpoint, and the network" if error.reason.endswith(NO_ANSWER) else ""
        raise UnusableStore(f"the object store cannot be used: {error.reason}{advice}") from None
    except (UnusableStore, UnknownAlgorithm) as error:
        raise UnusableStore(f"the object store {client.url} cannot be used: {error}") from None


def prepare(client: ObjectStoreClient, contents: str) -> StoreFormat:
    """Return the format of the store; create it with the text `contents` as ``hash`` in an empty prefix.

    Raises `UnusableStore` or `EngineError`.
    """
    text = client.read_format()
    found = parse(_create(client, contents) if text is None else text)
    if found.moving_to:
        raise UnusableStore("its migration is unfinished; finish it in the directory it was copied from")
    if found.aliases:
        raise UnusableStore(
            "its files also have hashes of a former algorithm, which only a directory supports"
        )
    return found


def prepare_bucket(client: ObjectStoreClient, own: Algorithm, *, create: bool) -> Algorithm:
    """Return the algorithm of a bucket, which `client` is below; `own` is that of a new one.

    Raises `NotFound` if there is none and it is not to be created, `UnusableStore` or `EngineError`.
    """
    if not create and client.read_format() is None:
        raise NotFound
    with error_context(client):
        return check_algorithm(prepare(client, own.name), None, algorithm)


def read_format(client: ObjectStoreClient) -> StoreFormat | None:
    """Return the format of a store; None without one. Raises `UnusableStore` or `EngineError`."""
    text = client.read_format()
    return None if text is None else parse(text)


def bucket_client(store: ObjectStoreClient, name: str) -> ObjectStoreClient:
    """Return the client of a bucket in a store, for one operation: it does not look for ``FORMAT`` again."""
    return store.below(f"{BUCKETS}/{name}", confirms=False)


def bucket_names(store: ObjectStoreClient) -> list[str]:
    """Return the prefixes in ``buckets/`` that are stores, in ascending order. Raises `EngineError`."""
    names = filter(is_bucket_name, store.entries(BUCKETS))
    return [name for name in names if bucket_client(store, name).read_format() is not None]


def _create(client: ObjectStoreClient, contents: str) -> bytes:
    """Create ``FORMAT`` in an empty prefix, unless another process creates it; return its value."""
    other = next(client.objects(), None)
    if other is None:
        client.create(FORMAT, StoreFormat(contents, str(uuid.uuid4())).to_json())
    text = client.read_format()
    if text is not None:
        return text
    if other is None:
        raise UnusableStore(f"its {FORMAT} object cannot be created")
    raise UnusableStore(f"it has other objects, such as {other.key}, but no {FORMAT}; name another prefix")


def probe(client: ObjectStoreClient) -> None:
    """Check that the service writes, and honours the conditions of `create` and `replace`.

    Raises `UnusableStore` or `EngineError`.
    """
    key = f"{PROBES}{secrets.token_hex(8)}"
    client.put(key, b"first\n")
    try:
        first = client.head(key)
        if client.create(key, b"second\n"):
            raise _ignored("If-None-Match: *")
        if not client.replace(key, b"second\n", first.version):
            raise UnusableStore("the service refuses a PUT with If-Match that should succeed")
        if client.replace(key, b"third\n", first.version):
            raise _ignored("If-Match")
    finally:
        with suppress(EngineError):
            client.delete(key)
    try:
        client.head(key)
    except FileNotFoundError:
        return
    except EngineError:
        pass
    raise UnusableStore("the service does not tell that an object is missing; allow to list the bucket")


def _ignored(condition: str) -> UnusableStore:
    return UnusableStore(
        f"the service ignores {condition} of a PUT, so daemons could overwrite each other's accounts; "
        "use one with conditional writes, such as SeaweedFS, Ceph or AWS"
    )
