"""Status of verification, for metrics and readiness: counters of all passes, and findings."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_NAMED_FILES = 100
"""Maximum number of corrupt files that are named, and looked for after their pass."""


@dataclass
class VerificationStatus:
    """Figures of all stores that are verified; `files` to `unreadable` count from the start of the daemon.

    `last_finished` is the time since 1970 at which the last pass over all files ended, 0 for never;
    `last_corrupt` the number of its corrupt files. `corrupt_files` are names of the last or running pass,
    ``ab…`` or ``bucket/ab…``. Both are without healed files, which are looked up now and then.
    """

    running: bool = False
    files: int = 0
    bytes: int = 0
    corrupt: int = 0
    unreadable: int = 0
    last_finished: float = 0.0
    last_corrupt: int = 0
    corrupt_files: Sequence[str] = ()
