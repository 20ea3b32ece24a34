"""Who may begin an upload: decided before its first byte, without waiting for anything.

An upload enters with the length it announces, and leaves when nothing of it is in progress
any more. Refused are those that are too large, for which there is no room, and all of them while
writes are suspended. Those that will need a place are refused when none could be had now (`places`).

How much room there is, is hearsay (`headroom`): the figure comes with the results of the I/O threads, once
per batch and while large uploads are written, and after each refusal a job asks for a new one. Rejected:
asking the file system here, which may be a dead network disk and would stop the reactor.
"""

from twisted.python.failure import Failure

from filestored.errors import StorageFull, TooLarge, UploadRefused
from filestored.interfaces import IBackend
from filestored.storage.free_space import FreeSpace
from filestored.storage.health import Health
from filestored.storage.threads import Run
from filestored.storage.upload_places import MAX_UNPLACED_BYTES, UploadPlaces


class AdmissionControl:
    """Admission control of one store.

    `max_size` in bytes; `in_flight` counts the uploads inside; `headroom` is the free space.
    """

    def __init__(
        self, backend: IBackend, run: Run, health: Health, *, max_size: int, places: UploadPlaces
    ) -> None:
        self.max_size = max_size
        self.in_flight = 0
        self.refused = 0
        self._backend = backend
        self._run = run
        self._health = health
        self._places = places
        self.headroom = FreeSpace(backend)
        self._asking = False

    def admit(self, length: int | None) -> None:
        """Let an upload of `length` bytes in, None being unknown. Raises `UploadRefused`."""
        try:
            self._check(length or 0)
        except UploadRefused:
            self.refused += 1
            raise
        self.in_flight += 1

    def release(self) -> None:
        """Nothing of an upload that entered is in progress any more."""
        self.in_flight -= 1

    def update_free_space(self, free: int | None) -> None:
        """Note how many bytes may still be written; None when that could not be found out."""
        if free is not None:
            self.headroom.free = free

    def _check(self, length: int) -> None:
        if length > self.max_size:
            raise TooLarge
        self._health.check()
        if length > MAX_UNPLACED_BYTES:
            self._places.check()
        if self.headroom.free < max(length, 1):
            self._ask()
            raise StorageFull

    def _ask(self) -> None:
        if not self._asking:
            self._asking = True
            self._run(self._backend.free_space).addBoth(self._answered)

    def _answered(self, free: int | Failure) -> None:
        self._asking = False
        self.update_free_space(None if isinstance(free, Failure) else free)
