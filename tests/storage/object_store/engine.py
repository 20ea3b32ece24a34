"""An object store in memory whose requests can fail, before or after they have an effect."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import obstore
from obstore.exceptions import GenericError

from filestored.storage.object_store import client as client_module


class LostAnswer(GenericError):
    """A request without an answer."""


class Requests:
    """Requests of a client, as replacements of the functions of obstore: counted, and failing on demand."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self._faults: list[tuple[str, str, bool, Callable[[], None], type[Exception]]] = []

    def fail(
        self,
        name: str,
        key: str = "",
        *,
        applied: bool = False,
        then: Callable[[], None] = lambda: None,
        error: type[Exception] = LostAnswer,
    ) -> None:
        """Make the next request `name` for a key that ends in `key` fail, `applied` or not; call `then`."""
        self._faults.append((name, key, applied, then, error))

    def count(self, name: str) -> int:
        return len([each for each, _ in self.made if each == name])

    def _call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        path = args[1]
        self.made.append((name, path))
        for fault in self._faults:
            if fault[0] == name and path.endswith(fault[1]):
                self._faults.remove(fault)
                if fault[2]:
                    function(*args, **kwargs)
                fault[3]()
                raise fault[4]("status code: 502")
        return function(*args, **kwargs)


@contextmanager
def watched_requests(monkeypatch: Any) -> Any:
    """Replace the functions of obstore in the client for the context."""
    requests = Requests()

    class Obstore:
        def __getattr__(self, name: str) -> Any:
            function = getattr(obstore, name)
            if name not in ("put", "get", "head", "delete", "copy"):
                return function
            return lambda *args, **kwargs: requests._call(name, function, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(client_module, "obstore", Obstore())
        patch.setattr(client_module, "_FIRST_PAUSE_SECONDS", 0.001)
        yield requests
