"""Resource limits of a decoder (setrlimit(2)), and its other confinement.

A decoder opens all its files before `confine` and needs nothing else. Beyond the memory limit it raises;
beyond the time limit a signal ends it (SIGXCPU). Either refuses the image as too costly. It dies with its
parent. All descriptors but input and result are closed, and `sandbox` denies the rest of the system to a
decoder that a hostile file has taken over.

Rejected: one process with limits for all images. Time adds up, and a decoder taken over by one file would see
the next.
"""

import ctypes
import errno
import math
import os
import resource
import signal
from collections.abc import Collection
from dataclasses import dataclass, replace

from filestored.images.decoder import sandbox
from filestored.settings import MAX_PIXELS

MAX_RESULT_BYTES = 16 * 1024 * 1024
"""Maximum size of a thumbnail that a decoder may write."""

_MAX_DESCRIPTORS = 16
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits per image: `pixels` of a frame, `memory` in bytes, `seconds` of processor time.

    `memory` is that of the image; the interpreter and its libraries are not counted. The default suffices
    for 100 million pixels in all formats but WebP, which needs 16 bytes for each, and AVIF with transparency.
    """

    memory: int = 1024 * 1024 * 1024
    seconds: int = 10
    pixels: int = MAX_PIXELS

    @classmethod
    def for_pixels(cls, pixels: int) -> "ResourceLimits":
        """Return limits that suffice for so many pixels: in proportion, and at least the default ones."""
        factor = max(1.0, pixels / MAX_PIXELS)
        return cls(int(factor * cls().memory), math.ceil(factor * cls().seconds), pixels)

    def for_thumbnails(self) -> "ResourceLimits":
        """Return higher limits, within which each image has a thumbnail that was accepted by these."""
        return replace(self, memory=self.memory * 3 // 2, seconds=self.seconds * 2)


def confine(limits: ResourceLimits, parent: int, kept: Collection[int], *, threads: bool = False) -> None:
    """Confine this process irrevocably; it dies with its parent process, whose id is `parent`.

    Closes all descriptors from 3 on except `kept`. `threads` allows new threads. Raises `OSError`.
    """
    _die_with_parent(parent)
    _close_descriptors(kept)
    _limit(resource.RLIMIT_AS, _address_space_bytes() + limits.memory)
    _limit(resource.RLIMIT_CPU, limits.seconds, limits.seconds + 1)
    _limit(resource.RLIMIT_FSIZE, MAX_RESULT_BYTES)
    _limit(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    _limit(resource.RLIMIT_CORE, 0)
    sandbox.apply(threads=threads)


def _address_space_bytes() -> int:
    """Return the size of the address space of this process; 0 without ``/proc``."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _close_descriptors(kept: Collection[int]) -> None:
    start = 3
    for number in (*sorted(kept), resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        os.closerange(start, number)
        start = number + 1


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill this process with its parent (prctl(2)). Raises if that is dead already."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent is dead")


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit; a lower one of the operator stays."""
    _, most = resource.getrlimit(which)
    wanted = soft if hard is None else hard
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(which, (min(soft, wanted), wanted))
