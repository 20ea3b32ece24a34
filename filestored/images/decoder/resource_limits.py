"""The bounds within which a decoder works: what the kernel lets one process have (setrlimit(2)).

A decoder has all its files open before `confine` and needs nothing else. Beyond the memory it gets no more,
and raises; beyond the time a signal ends it (SIGXCPU). Both mean: not an image that we would touch. When its
parent ends, it does. All descriptors but its input and its result are closed, and `sandbox` closes the rest
of the system to a decoder that a hostile file has taken over.

Rejected: one process with bounds for all pictures. Time adds up, and a decoder that was taken over by one
file would see the next.
"""

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Collection
from dataclasses import dataclass

from filestored.images.decoder import sandbox

RESULT = 16 * 1024 * 1024
"""Bytes of the largest thumbnail that a decoder may write."""

_DESCRIPTORS = 16
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """`memory` in bytes of address space, `seconds` of processor time; both per picture.

    The default memory is enough for 100 million pixels in all formats but WebP, whose decoder takes
    16 bytes for each.
    """

    memory: int = 1024 * 1024 * 1024
    seconds: int = 10


def confine(bounds: ResourceLimits, parent: int, kept: Collection[int]) -> None:
    """Put this process behind the bounds, for ever; it ends with `parent`, whose process id that is.

    Its descriptors from 3 on are closed, but for those `kept`. Raises `OSError`.
    """
    _ends_with(parent)
    _close_descriptors(kept)
    _limit(resource.RLIMIT_AS, bounds.memory)
    _limit(resource.RLIMIT_CPU, bounds.seconds, bounds.seconds + 1)
    _limit(resource.RLIMIT_FSIZE, RESULT)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    _limit(resource.RLIMIT_CORE, 0)
    sandbox.enter()


def _close_descriptors(kept: Collection[int]) -> None:
    start = 3
    for number in (*sorted(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        os.closerange(start, number)
        start = number + 1


def _ends_with(parent: int) -> None:
    """Have the kernel end us when our parent does (prctl(2)), or now, if that was before."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent is no more")


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; the operator's own, when lower, stays."""
    _, most = resource.getrlimit(which)
    wanted = soft if hard is None else hard
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(which, (min(soft, wanted), wanted))
