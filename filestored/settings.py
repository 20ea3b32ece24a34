"""Settings of the daemon, as values, and their parsers. Pure.

The command line is parsed once into a frozen `Settings`. A worker process receives it as JSON.

Rejected: parsing the options again in each worker; the results could differ.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12} | {
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
"""Bytes per unit of a size, by its name in lower case."""

SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 604_800),
}
"""Seconds per unit of a duration, by its name in lower case."""

MAX_DURATION_SECONDS = 36_525 * 86_400
"""Maximum of a duration, a hundred years; more is a typing error."""

MAX_SECONDS = 86_400
"""Maximum of a timeout in seconds, a day."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Log levels in ascending order of severity."""

MAX_WORKERS = 256
"""Maximum number of worker processes; more are a typing error."""

MAX_CONNECTIONS = 4000
"""Default maximum of connections of one process."""

KEEP_ALIVE_SECONDS = 75.0
"""Default number of seconds between two requests after which a connection is closed.

Longer than proxies wait (nginx 60 s): a proxy should close first, else a request may meet the end of the
connection.
"""

MAX_UPLOADS = 64
"""Default maximum of uploads that write to disk at once in one process."""

MAX_OPEN_BUCKETS = 64
"""Number of open buckets of one process beyond which idle ones are closed at once."""

MAX_HELD_FILES = 16
"""Maximum number of files of a form that have arrived and are not committed. Each may have a descriptor."""


ENGINE_TIMEOUT_SECONDS = 10.0
"""Default maximum of seconds of one operation of an object store."""

VERIFY_RATE = 20 * 2**20
"""Default rate of verification in the background, in bytes per second."""

MAX_PIXELS = 100_000_000
"""Default maximum of pixels of a frame of an image."""

HIGHEST_MAX_PIXELS = 1_000_000_000
"""Highest value of that maximum."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Settings of the log. `file` None means stderr; `logs` parses `rotation` and `retention`."""

    file: str | None = None
    level: str = "INFO"
    rotation: str | None = None
    retention: str | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the daemon.

    `store` and `images` are directories, or URLs of object stores. `max_size` in bytes, `drain`, `keep_alive`
    and `engine_timeout` in seconds; paths are absolute; `hash_name` None means that of the store;
    `access_log` is a path, ``-`` for the log, or empty for none. `max_connections` and `max_uploads` are
    those of each process. `hosts` are names of this server, see `parse_host`. `reserve` is the free space to
    keep in bytes, None for the default. `spool` is the directory of temporary files beside an object store.
    `access` is the path of the access file, empty for none; `open_access` gives all clients all rights.
    `trusted_proxies` are addresses and networks, or ``unix``, see `parse_proxy`. All files are verified in
    the background every `verify_every` seconds, None for never, at `verify_rate` bytes per second. `metrics`
    is the endpoint of metrics, empty for none.
    """

    listen: tuple[str, ...]
    store: str
    images: str
    hash_name: str | None
    max_size: int
    workers: int
    drain: float
    access_log: str
    log: LogSettings
    max_connections: int = MAX_CONNECTIONS
    max_uploads: int = MAX_UPLOADS
    max_pixels: int = MAX_PIXELS
    open_registration: bool = False
    no_registration: bool = False
    hosts: tuple[str, ...] = ()
    keep_alive: float = KEEP_ALIVE_SECONDS
    reserve: int | None = None
    spool: str = ""
    access: str = ""
    open_access: bool = False
    engine_timeout: float = ENGINE_TIMEOUT_SECONDS
    trusted_proxies: tuple[str, ...] = ()
    verify_every: float | None = None
    verify_rate: int = VERIFY_RATE
    metrics: str = ""

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Return the settings that `to_json` wrote."""
        found = json.loads(text)
        lists = {name: tuple(found[name]) for name in ("listen", "hosts", "trusted_proxies")}
        return cls(**{**found, **lists, "log": LogSettings(**found["log"])})


def parse_size(text: str, *, min_bytes: int = 1) -> int:
    """Parse a number of bytes: ``5GiB``, ``500 MB``, ``1024``. Raises `ValueError`."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([a-z]*)", text.strip().lower(), re.ASCII)
    if match is None or match[2] not in UNITS:
        raise ValueError(f"{text!r} is not a size; write it like 5GiB, 500MB or 1048576")
    size = int(match[1]) * UNITS[match[2]]
    if size < min_bytes:
        raise ValueError("a size is at least one byte")
    return size


def parse_rate(text: str) -> int:
    """Parse a number of bytes per second: ``100MiB/s``, or ``100MiB``. Raises `ValueError`."""
    try:
        return parse_size(text.strip().lower().removesuffix("/s"))
    except ValueError:
        raise ValueError(f"{text!r} is not a rate; write it like 100MiB/s") from None


def format_size(size: int) -> str:
    """Return a number of bytes for people, in the form of `parse_size`: ``256 MiB``."""
    for unit, count in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= 10 * count or (size >= count and size % count == 0):
            return f"{size // count} {unit}"
    return f"{size} B"


def format_count(count: int, noun: str) -> str:
    """Return a number with a regular noun, in the plural unless it is one: ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def parse_workers(text: str, processors: Callable[[], int]) -> int:
    """Parse a number of processes: ``4``, or ``auto`` for `processors`. Raises `ValueError`."""
    if text.strip().lower() == "auto":
        return min(MAX_WORKERS, processors())
    if not re.fullmatch("[0-9]{1,4}", text.strip(), re.ASCII) or not 1 <= int(text) <= MAX_WORKERS:
        raise ValueError(f"{text!r} is neither auto nor a number of processes from 1 to {MAX_WORKERS}")
    return int(text)


def parse_count(text: str) -> int:
    """Parse a number from 1 to 999,999. Raises `ValueError`."""
    if not re.fullmatch("[0-9]{1,6}", text.strip(), re.ASCII) or int(text) < 1:
        raise ValueError(f"{text!r} is not a number from 1 to 999999")
    return int(text)


def parse_pixels(text: str) -> int:
    """Parse a number of pixels up to 1000M: ``100M``, ``250k``, ``1000000``. Raises `ValueError`."""
    match = re.fullmatch(r"([0-9]{1,10})\s*([km]?)p?", text.strip().lower(), re.ASCII)
    pixels = int(match[1]) * {"": 1, "k": 10**3, "m": 10**6}[match[2]] if match else 0
    if not 1 <= pixels <= HIGHEST_MAX_PIXELS:
        raise ValueError(f"{text!r} is not a number of pixels up to 1000M; write it like 100M or 5000000")
    return pixels


def parse_seconds(text: str) -> float:
    """Parse a duration in seconds, zero to `MAX_SECONDS`. Raises `ValueError`."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"{text!r} is not a number of seconds up to a day; write it like 30 or 2.5")
    return seconds


def parse_duration(text: str) -> float:
    """Parse a duration, in seconds: ``30 days``, ``90d``, ``12h``, ``10 min``. Raises `ValueError`."""
    match = re.fullmatch(r"([0-9]{1,10})\s*([a-z]+)", text.strip().lower(), re.ASCII)
    if match is None or match[2] not in SECONDS:
        raise ValueError(f"{text!r} is not a duration; write it like 30 days, 12h or 10 min")
    seconds = int(match[1]) * SECONDS[match[2]]
    if not 1 <= seconds <= MAX_DURATION_SECONDS:
        raise ValueError(f"{text!r} is not from one second to a hundred years")
    return float(seconds)


def parse_interval(text: str) -> float | None:
    """Parse a duration; None for 0, which means never. Raises `ValueError`."""
    return None if text.strip() == "0" else parse_duration(text)


def format_duration(seconds: float) -> str:
    """Return a duration for people, in the form of `parse_duration`: ``30 d``."""
    for unit, count in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % count == 0:
            return f"{seconds / count:.0f} {unit}"
    return f"{seconds:.0f} s"


def parse_level(text: str) -> str:
    """Parse a log level, in any case. Raises `ValueError`."""
    level = text.strip().upper()
    if level not in LEVELS:
        raise ValueError(f"{text!r} is not a level; choose one of {', '.join(LEVELS)}")
    return level


def parse_host(text: str) -> str:
    """Parse a host name or address without a port. Raises `ValueError`."""
    name = text.strip().lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?", name, re.ASCII) and not _is_ipv6(name):
        raise ValueError(f"{text!r} is not a host name; write it like files.example.org, without a port")
    return name


def parse_proxy(text: str) -> str:
    """Parse an address, a network, or ``unix``; return an address as a network. Raises `ValueError`."""
    name = text.strip().lower()
    if name == "unix":
        return name
    try:
        network = _unmapped(ip_network(name))
    except ValueError:
        raise ValueError(
            f"{text!r} is neither an address, nor a network like 10.0.0.0/8 without further bits, nor unix"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} are all addresses: every client could name another one as its own")
    return str(network)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4-mapped addresses as one of IPv4."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def _is_ipv6(text: str) -> bool:
    """Return whether `text` is an IPv6 address without a zone."""
    try:
        return IPv6Address(text).scope_id is None
    except ValueError:
        return False
