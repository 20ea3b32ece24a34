"""Resource limits of a decoder (setrlimit(2)), and its other confinement.

A decoder opens all its files before `confine` and needs nothing else. Beyond the memory limit it raises;
beyond the time limit a signal ends it (SIGXCPU). Both count as a refusal of the image. It dies with its
parent. All descriptors but input and result are closed, and `sandbox` denies the rest of the system to a
decoder that a hostile file has taken over.

Rejected: one process with limits for all images. Time adds up, and a decoder taken over by one file would see
the next.
"""

import ctypes
import errno
import os
import resource
import signal
from collections.abc import Collection
from dataclasses import dataclass

from filestored.images.decoder import sandbox

MAX_RESULT_BYTES = 16 * 1024 * 1024
"""Maximum size of a thumbnail that a decoder may write."""

_MAX_DESCRIPTORS = 16
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Limits per image: `memory` in bytes of address space, `seconds` of processor time.

    The default memory suffices for 100 million pixels in all formats but WebP, which needs 16 bytes for each.
    """

    memory: int = 1024 * 1024 * 1024
    seconds: int = 10


def confine(limits: ResourceLimits, parent: int, kept: Collection[int]) -> None:
    """Confine this process irrevocably; it dies with its parent process, whose id is `parent`.

    Closes all descriptors from 3 on except `kept`. Raises `OSError`.
    """
    _die_with_parent(parent)
    _close_descriptors(kept)
    _limit(resource.RLIMIT_AS, limits.memory)
    _limit(resource.RLIMIT_CPU, limits.seconds, limits.seconds + 1)
    _limit(resource.RLIMIT_FSIZE, MAX_RESULT_BYTES)
    _limit(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    _limit(resource.RLIMIT_CORE, 0)
    sandbox.apply()


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
