"""Check of object stores before the daemon starts: ``python -m filestored.daemon.startup.engine_check``.

In: one line of JSON on stdin with the `Settings`. Out: one line of JSON on stdout with the hash algorithm of
the store, or with the reason why it cannot be used.

It is a process of its own, because a process may not fork after it has used ``obstore``, and twistd forks to
run in the background. It creates what is missing in the object stores, and probes them.
"""

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from filestored.daemon.worker_process import child_environment
from filestored.digest import algorithm
from filestored.errors import FilestoredError, UnusableStore
from filestored.settings import Settings
from filestored.storage.disk.layout import DEFAULT_HASH, check_algorithm
from filestored.storage.object_store.url import is_url, parse_url

if TYPE_CHECKING:
    from filestored.storage.object_store.client import ObjectStoreClient

MAX_SECONDS = 7.0
"""Maximum duration of the check."""

_MAX_TIMEOUT_SECONDS = 2.0


def check(settings: Settings) -> str | None:
    """Return the hash algorithm of the store, if that is an object store. Raises `UnusableStore`."""
    if not (is_url(settings.store) or is_url(settings.images)):
        return None
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter
            [sys.executable, "-P", "-m", __name__],
            env=child_environment(),
            input=settings.to_json().encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=MAX_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise UnusableStore(f"the object store did not answer within {MAX_SECONDS:g} s") from None
    except subprocess.CalledProcessError as error:
        raise UnusableStore(f"the check of the object store failed with status {error.returncode}") from None
    found = json.loads(done.stdout)
    if found["error"]:
        raise UnusableStore(found["error"])
    hash_name: str | None = found["hash"]
    return hash_name


def main() -> None:
    """Check the object stores of the settings on stdin."""
    settings = Settings.from_json(sys.stdin.readline())
    result: dict[str, str | None] = {"hash": None, "error": None}
    try:
        result["hash"] = _check(settings)
    except (FilestoredError, OSError) as error:
        result["error"] = str(error)
    except BaseException as error:  # obstore panics, for some endpoints
        result["error"] = f"the object stores could not be checked: {type(error).__name__}"
    sys.stdout.write(json.dumps(result))


def _check(settings: Settings) -> str | None:
    """Prepare both object stores. Raises `UnusableStore`, `UnknownAlgorithm` or `OSError`."""
    timeout = min(settings.engine_timeout, _MAX_TIMEOUT_SECONDS)
    clients = {url: connect(url, timeout) for url in (settings.store, settings.images) if is_url(url)}
    from filestored.images import bucket
    from filestored.storage.object_store import layout, spool

    spool.check(settings.spool)
    hash_name = None
    if is_url(settings.store):
        client = clients[settings.store]
        with layout.error_context(client):
            found = layout.prepare(client, algorithm(settings.hash_name or DEFAULT_HASH).name)
            hash_name = check_algorithm(found, settings.hash_name, algorithm).name
            layout.probe(client)
    if is_url(settings.images):
        bucket.prepare(clients[settings.images])
    return hash_name


def connect(url: str, timeout: float) -> "ObjectStoreClient":
    """Return the client of an object store; makes no request. Raises `UnusableStore`."""
    try:
        from filestored.storage.object_store.client import ObjectStoreClient

        return ObjectStoreClient(parse_url(url), timeout)
    except ImportError as error:
        raise UnusableStore(
            f"object stores need the package {error.name}: in the checkout run pip install '.[s3]'"
        ) from None
    except ValueError as error:
        raise UnusableStore(str(error)) from None


if __name__ == "__main__":
    main()
