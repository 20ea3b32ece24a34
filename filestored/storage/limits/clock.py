"""Clock of expiry: monotonic, and not stopped while the machine is suspended."""

import time


def boot_seconds() -> float:
    """Return the seconds since the machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
