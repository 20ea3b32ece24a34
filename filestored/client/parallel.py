"""Several transfers at once, in threads, with results in the order of the files."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from filestored.client.server import Server
from filestored.errors import FilestoredError

_T = TypeVar("_T")
_R = TypeVar("_R")


def in_order(
    server: Server, work: Callable[[_T], _R], items: Sequence[_T], jobs: int
) -> Iterator[tuple[_T, _R | FilestoredError | OSError]]:
    """Call `work` for each item in at most `jobs` threads; yield each item with its result, or its error.

    When the caller stops before the end, as after SIGINT, the requests that run are ended.
    """
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="transfer")
    try:
        futures = [pool.submit(work, item) for item in items]
        for item, future in zip(items, futures, strict=True):
            outcome: _R | FilestoredError | OSError = _outcome(future)
            yield item, outcome
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        server.abort()
        raise
    finally:
        pool.shutdown()


def _outcome(future: Future[_R]) -> _R | FilestoredError | OSError:
    try:
        return future.result()
    except (FilestoredError, OSError) as error:
        return error
