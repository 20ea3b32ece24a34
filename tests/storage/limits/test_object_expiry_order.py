"""No order of the requests of uploads and sweeps loses an acknowledged upload in an object store.

The requests are those of the real sink and of the real sweep; the service is a model.
"""

import pytest

from filestored.digest import algorithm
from filestored.errors import EngineError
from filestored.storage.limits import object_expiry
from filestored.storage.limits.object_expiry import MARKER_SECONDS, MAX_SWEEP_SECONDS, ExpiryMarkers
from filestored.storage.object_store.sink import ObjectSink, key_of
from filestored.storage.object_store.spool import Spool
from tests.storage.contract import HELLO
from tests.storage.limits.interleavings import Scene, explore, pause, restart, wait
from tests.storage.limits.model_service import START_SECONDS, ModelService

SHA256 = algorithm("sha256")
DIGEST = SHA256.digest(HELLO)
KEY = key_of(DIGEST)
BEFORE = START_SECONDS - 1000


class Race:
    """One run: an object that has expired, and what happens to it."""

    def __init__(self, kinds: tuple[str, ...], loses_answers: bool, markers: type[ExpiryMarkers]) -> None:
        self.kinds = kinds
        self.service = ModelService(loses_answers)
        self.service.stored[KEY] = (HELLO, BEFORE - 1000, 0)
        self.service.sweeping = kinds.count("sweep")
        self.markers = markers(self.service, self.sleep, lambda: self.service.now)

    def sleep(self, seconds: float) -> None:
        """Wait; what the upload has found before does not matter any more."""
        restart()
        wait()

    def upload(self) -> bool:
        """Upload as a bucket with an expiry does; return whether it is acknowledged."""
        content = Spool("/nowhere").open()
        content.write(HELLO)
        sink = ObjectSink(self.service, content, SHA256, self.markers)
        try:
            while not sink.renew(DIGEST, sink.publish(DIGEST)):
                pass
        except EngineError:
            return False
        return True

    def sweep(self) -> None:
        try:
            self.markers.delete_expired(KEY, BEFORE)
        except EngineError:
            pass
        finally:
            self.service.sweeping -= 1

    def delete_and_upload(self) -> bool:
        """Make a DELETE request, then upload the content again."""
        self.service.delete(KEY)
        return self.upload()

    def write(self) -> None:
        """Write the object, as an upload of another process that dies before it is acknowledged."""
        self.service.put(KEY, HELLO)

    def clock(self) -> None:
        """Let a sweep run out of time, then let markers become old when no request is on its way."""
        pause()
        self.service.now += int(MAX_SWEEP_SECONDS) + 1
        self.service.wait_for_requests()
        self.service.now += int(MARKER_SECONDS - MAX_SWEEP_SECONDS) + 1

    def deliver(self) -> None:
        self.service.deliver()

    def awaken(self) -> bool:
        """Let the time pass after which an upload does not wait any longer."""
        self.service.now += 2 * int(self.service.timeout)
        return True

    def check(self, outcomes: list[object]) -> None:
        if True in outcomes:
            assert KEY in self.service.stored, "an acknowledged upload is lost"
            assert self.service.stored[KEY][1] >= START_SECONDS

    def scene(self) -> Scene:
        actors = [getattr(self, kind) for kind in self.kinds]
        return Scene(actors, self.service.state, self.check, awaken=self.awaken)


def orders(kinds, loses_answers=False, markers=ExpiryMarkers):
    return explore(lambda: Race(kinds, loses_answers, markers).scene())


SCENES = {
    "upload and sweep": (("upload", "sweep", "clock"), False),
    "another upload": (("upload", "write", "sweep"), False),
    "two sweeps": (("upload", "sweep", "sweep"), False),
    "a deletion before the upload": (("delete_and_upload", "sweep", "clock"), False),
    "a lost answer": (("upload", "sweep", "deliver", "clock"), True),
}


@pytest.mark.parametrize("name", SCENES)
def test_no_order_of_requests_loses_an_acknowledged_upload(name):
    assert orders(*SCENES[name]) > 1


class Unconfirmed(ExpiryMarkers):
    """An upload without the look for markers."""

    def confirm(self, key):
        return self._client.find(key) is not None


class Unmarked(ExpiryMarkers):
    """A sweep without a marker."""

    def delete_expired(self, key, before):
        found = self._client.find(key)
        if found is not None and found.changed.timestamp() < before:
            self._client.delete(key, once=True)


class NotLooking(ExpiryMarkers):
    """An upload that does not look whether its object is there in the end."""

    def confirm(self, key):
        super().confirm(key)
        return True


@pytest.mark.parametrize("markers", [Unconfirmed, Unmarked, NotLooking])
def test_expiry_without_one_of_its_steps_loses_an_upload(markers):
    with pytest.raises(AssertionError, match="an acknowledged upload is lost"):
        orders(*SCENES["upload and sweep"], markers)


def test_marker_that_ends_with_its_sweep_loses_an_upload(monkeypatch):
    monkeypatch.setattr(object_expiry, "MARKER_SECONDS", MAX_SWEEP_SECONDS)
    with pytest.raises(AssertionError, match="an acknowledged upload is lost"):
        orders(*SCENES["a lost answer"])
