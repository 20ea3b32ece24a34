"""A store in an object store and its buckets, for verification; and its state, the object `STATE`.

The state has a holder. A process claims the object by writing its own name into it, on the condition that the
version is that of its read. Each save is such a conditional write, and shows that the holder lives; after
`MAX_SILENCE_SECONDS`, by the clock of the service, another process claims it. A holder whose write fails has
lost it, and ends. So any number of daemons verify one at a time.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from tempfile import gettempdir

from filestored.errors import EngineError, OutcomeUnknown, VerificationRunning
from filestored.storage.disk import format_file
from filestored.storage.disk.layout import check_algorithm
from filestored.storage.limits.object_expiry import ExpiryMarkers
from filestored.storage.object_store.backend import ObjectBackend
from filestored.storage.object_store.client import ObjectInfo, ObjectStoreClient
from filestored.storage.object_store.layout import (
    PROBES,
    bucket_client,
    bucket_names,
    error_context,
    read_format,
)
from filestored.storage.object_store.spool import Spool
from filestored.storage.verification.content import Naming
from filestored.storage.verification.object_files import ObjectFiles
from filestored.storage.verification.state import State, parse

STATE = ".verification"
"""Key of the state."""

MAX_SILENCE_SECONDS = 180.0
"""Age of the state from which its holder counts as dead; it saves every 15 s, and a request takes 10 s."""


class ObjectPlace:
    """The store of `client`; see `Place`."""

    def __init__(self, client: ObjectStoreClient, naming: Naming | None = None) -> None:
        self._client = client
        self._naming = naming or Naming()

    def buckets(self) -> Sequence[str]:
        """See `Place`."""
        return ["", *bucket_names(self._client)]

    @contextmanager
    def opened(
        self, bucket: str, before: float | None, chunk_bytes: int, count: Callable[[int], None]
    ) -> Iterator[ObjectFiles | None]:
        """See `Place`; removes old markers of processes that have died."""
        client = bucket_client(self._client, bucket) if bucket else self._client
        with error_context(client):
            found = read_format(client)
            own = None
            if found is not None or not bucket:
                own = check_algorithm(format_file.required(found), None, self._naming.lookup)
        if own is None:
            yield None
            return
        ExpiryMarkers(client).remove_old(service_time(self._client))
        backend = ObjectBackend(client, own, Spool(gettempdir()))
        yield ObjectFiles(client, backend, own, self._naming.new_check, before, chunk_bytes, count)

    @contextmanager
    def claimed(self) -> Iterator["ObjectState"]:
        """See `Place`."""
        with error_context(self._client):
            format_file.required(read_format(self._client))
        state = ObjectState(self._client)
        state.claim()
        try:
            yield state
        finally:
            state.release()


class ObjectState:
    """The object of the state; see `RecordedState`. Raises `EngineError`."""

    def __init__(self, client: ObjectStoreClient) -> None:
        self._client = client
        self._holder = secrets.token_hex(8)
        self._state = State()
        self._info: ObjectInfo | None = None

    def claim(self) -> None:
        """Become the holder. Raises `VerificationRunning` while another process is."""
        try:
            text, self._info = self._client.read(STATE)
        except FileNotFoundError:
            text = b""
        self._state = parse(text)
        if self._info is not None and _holder(text):
            silence = (service_time(self._client) - self._info.changed).total_seconds()
            if silence < MAX_SILENCE_SECONDS:
                raise self._running()
        self.save(self._state)

    def load(self) -> State:
        """See `RecordedState`."""
        return self._state

    def save(self, state: State) -> None:
        """See `RecordedState`. Raises `VerificationRunning` if another process has claimed it."""
        self._write(state, self._holder)

    def release(self) -> None:
        """End the claim; without effect if another process has it, or the service is away."""
        with suppress(EngineError, VerificationRunning):
            self._write(self._state, "")

    def _write(self, state: State, holder: str) -> None:
        self._state = state
        text = state.to_json(holder=holder, mark=secrets.token_hex(4))
        try:
            if self._info is None:
                written = self._client.create(STATE, text)
            else:
                written = self._client.replace(STATE, text, self._info.version)
        except OutcomeUnknown:
            written = False
        if not written and not self._has(text):
            raise self._running()
        self._info = self._client.head(STATE)

    def _has(self, text: bytes) -> bool:
        """Return whether the object is this one, after a request without an answer."""
        try:
            return self._client.read(STATE)[0] == text
        except FileNotFoundError:
            return False

    def _running(self) -> VerificationRunning:
        return VerificationRunning(
            f"another process verifies {self._client.url}, or did less than {MAX_SILENCE_SECONDS:g} s ago"
        )


def service_time(client: ObjectStoreClient) -> datetime:
    """Return the time by the clock of the service. Raises `EngineError`."""
    key = f"{PROBES}{secrets.token_hex(8)}"
    client.put(key, b"\n")
    try:
        return client.head(key).changed
    finally:
        with suppress(EngineError):
            client.delete(key)


def _holder(text: bytes) -> str:
    try:
        return str(json.loads(text).get("holder", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""
