"""Command line: ``twistd [twistd options] filestored [options]``.

twistd, or ``filestored.tac``, passes the words to `Options`; each value is parsed by a pure function of
``settings``; `Options.settings` is the result. A bad value ends the process with one line on stderr and
status 1, before twistd daemonises.

Rejected: raising `usage.UsageError` to twistd, which prints two pages of help before the reason.
"""

import os
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeVar

from twisted.python import usage

from filestored.daemon.startup import pid_file, twistd_options
from filestored.daemon.startup.daemonize import open_standard_descriptors
from filestored.daemon.startup.endpoint_strings import complete, with_absolute_paths
from filestored.daemon.startup.processors import usable_processors
from filestored.daemon.startup.socket_activation import name_sockets
from filestored.daemon.startup_errors import exit_with
from filestored.digest import ALGORITHMS
from filestored.logs.rotation import Retention
from filestored.logs.rotation_schedule import RotationSchedule
from filestored.settings import (
    ENGINE_TIMEOUT_SECONDS,
    KEEP_ALIVE_SECONDS,
    MAX_CONNECTIONS,
    MAX_PIXELS,
    MAX_UPLOADS,
    VERIFY_RATE,
    LogSettings,
    Settings,
    parse_count,
    parse_host,
    parse_interval,
    parse_level,
    parse_pixels,
    parse_proxy,
    parse_rate,
    parse_seconds,
    parse_size,
    parse_workers,
)
from filestored.storage.disk.format_file import NAME
from filestored.storage.disk.layout import DEFAULT_HASH
from filestored.storage.object_store.url import is_url, parse_url

DEFAULT_ENDPOINT = "tcp:9000:interface=127.0.0.1"
"""Default endpoint."""

_T = TypeVar("_T")


class Options(usage.Options):
    """Options of filestored.

    `owns_process` says whether twistd was started for filestored alone, as ``twistd filestored`` is.
    """

    owns_process = False
    pid_file = ""
    longdesc = (
        "A file server that stores equal files once, under their hash. Relative paths start at twistd's "
        "--rundir, else at the current directory."
    )
    optParameters: ClassVar[list[list[str | None]]] = [
        ["store", None, "store", "Directory of the files, created if missing; or URL of an object store."],
        ["images", None, "images", "Directory of accounts and images, created if missing; or such a URL."],
        [
            "spool",
            None,
            None,
            "Directory of temporary files beside an object store. [default: $TMPDIR, else /var/tmp]",
        ],
        [
            "engine-timeout",
            None,
            f"{ENGINE_TIMEOUT_SECONDS:g}",
            "Seconds for an operation of the object store, with repetitions; then it is 503.",
        ],
        [
            "hash",
            None,
            None,
            f"Algorithm of a new store: {' '.join(ALGORITHMS)}. [default: {DEFAULT_HASH}]",
        ],
        ["max-size", None, "5GiB", "Maximum size of an upload: 5GiB, 500MB, or bytes."],
        [
            "max-connections",
            None,
            str(MAX_CONNECTIONS),
            "Maximum connections of each worker; at the limit an idle one is closed, else it is 503.",
        ],
        [
            "max-uploads",
            None,
            str(MAX_UPLOADS),
            "Maximum uploads that write in each worker; at the limit a slow one is ended, else it is 503.",
        ],
        [
            "max-pixels",
            None,
            f"{MAX_PIXELS // 10**6}M",
            "Maximum pixels in a frame, as 100M; twice that for a JPEG, and for all frames together.",
        ],
        [
            "reserve",
            None,
            None,
            "Disk space that must stay free: 1GiB, or 0. [default: 256MiB, or 5 % of a smaller disk]",
        ],
        [
            "access",
            None,
            None,
            "File of tokens, their rights, and buckets; filestored token writes it. [default: no tokens]",
        ],
        ["workers", None, "auto", "Number of worker processes; auto is one for each usable processor."],
        ["log", None, None, "File of the log. [default: stderr; in the background filestored.log]"],
        ["log-level", None, "INFO", "Minimum level to log: debug info warning error critical."],
        [
            "log-rotation",
            None,
            None,
            "When to rotate both logs: '100 MB', '1 day', '00:00' or 'monday'; old files are gzipped.",
        ],
        ["log-retention", None, None, "Rotated files to keep: 7, or '10 days'."],
        [
            "access-log",
            None,
            None,
            "File of the access log, in combined format; - writes it to the log. [default: off]",
        ],
        [
            "metrics",
            None,
            None,
            "Endpoint, as of --listen, of /metrics, /livez and /readyz. It needs no credentials: let only "
            "monitors reach it. It names no files but corrupt ones. [default: off]",
        ],
        ["drain", None, "30", "Seconds to wait for running requests at a stop."],
        [
            "keep-alive",
            None,
            f"{KEEP_ALIVE_SECONDS:g}",
            "Seconds between two requests on a connection.",
        ],
        [
            "verify-every",
            None,
            "0",
            "Compare all files with their names in the background, as often as this: 30d; 0 is never.",
        ],
        [
            "verify-rate",
            None,
            f"{VERIFY_RATE // 2**20}MiB/s",
            "Maximum bytes per second that are read for it.",
        ],
    ]
    optFlags: ClassVar[list[list[str | None]]] = [
        ["log-json", None, "Log one JSON object in each line."],
        [
            "open",
            None,
            "Give all clients all rights, also on addresses that other machines reach; instead of --access.",
        ],
        [
            "open-registration",
            None,
            "Allow generate-token and retrieve-token for all clients; otherwise only from the same machine.",
        ],
        [
            "no-registration",
            None,
            "Refuse generate-token and retrieve-token to all clients; create accounts with filestored "
            "account. Behind a proxy this or --trusted-proxy is necessary.",
        ],
    ]
    compData = usage.Completions(
        optActions={
            "store": usage.CompleteDirs(),
            "images": usage.CompleteDirs(),
            "spool": usage.CompleteDirs(),
            "log": usage.CompleteFiles(),
            "access": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.docs = {name: " ".join((text or "").split()) for name, text in self.docs.items()}
        self._endpoints: list[str] = []
        self._hosts: list[str] = []
        self._trusted_proxies: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Port, address or Twisted endpoint to listen on, repeatable: 80 on all addresses, 127.0.0.1:80,
        [::1]:80, unix:/run/f.sock, ssl:443:privateKey=key.pem:certKey=fullchain.pem,
        systemd:domain=INET:index=0. A Unix socket gets mode 660, or that of unix:/run/f.sock:mode=666.
        [default: tcp:9000:interface=127.0.0.1]
        """  # noqa: D205, D400, D415  # twistd shows this whole text as help
        self._endpoints.append(complete(endpoint))

    def opt_host(self, name: str) -> None:
        """Name of this server besides localhost and addresses, repeatable; on a loopback address the response
        to other names is 421. Necessary behind a proxy that passes Host on.
        """  # noqa: D205  # twistd shows this whole text as help
        try:
            self._hosts.append(parse_host(name))
        except ValueError as error:
            raise usage.UsageError(f"--host: {error}") from None

    def opt_trusted_proxy(self, place: str) -> None:
        """Address or network of a reverse proxy, or unix for Unix sockets, repeatable: its X-Forwarded-For or
        Forwarded names the client. With it no TCP client counts as one of this machine.
        """  # noqa: D205  # twistd shows this whole text as help
        try:
            self._trusted_proxies.append(parse_proxy(place))
        except ValueError as error:
            raise usage.UsageError(f"--trusted-proxy: {error}") from None

    def opt_version(self) -> None:
        """Print the version and exit."""
        from filestored import __version__

        print(f"filestored {__version__}")  # noqa: T201  # the answer to a question on the command line
        raise SystemExit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Parse the words; an error ends the process with one line."""
        open_standard_descriptors()
        name_sockets(os.environ)
        try:
            super().parseOptions(options)
        except (usage.UsageError, ValueError, OSError) as error:
            exit_with(error)

    def parse_environment(self) -> None:
        """Parse the words in FILESTORED_OPTIONS, which are quoted as in a shell."""
        try:
            words = shlex.split(os.environ.get("FILESTORED_OPTIONS", ""))
        except ValueError as error:
            exit_with(f"FILESTORED_OPTIONS: {error}; quote its words as in a shell")
        self.parseOptions(words)

    def parseArgs(self, *words: str) -> None:
        """Refuse words that are not options."""
        if words:
            raise usage.UsageError(_unexpected(words[0]))

    def postOptions(self) -> None:
        """Check the options of twistd, then parse every value."""
        self._twistd = twistd_options.find(self)
        self.settings = self._read()
        _check_overlap(self.settings.store, self.settings.images)
        if self._twistd is not None:
            self.pid_file = twistd_options.check(self._twistd)
        self.owns_process = getattr(self, "parent", None) is not None

    def replace_pid_file(self) -> None:
        """Remove a stale pid file, after all other checks; another one ends the process with one line."""
        if self.pid_file:
            try:
                pid_file.replace(self.pid_file, self._twistd)
            except ValueError as error:
                exit_with(error)

    def _read(self) -> Settings:
        if self["open-registration"] and self["no-registration"]:
            raise usage.UsageError("--open-registration and --no-registration exclude each other")
        if self["access"] is not None and self["open"]:
            raise usage.UsageError("--access and --open exclude each other")
        return Settings(
            access="" if self["access"] is None else self._path("access"),
            listen=self._listen(),
            store=self._place("store"),
            images=self._place("images"),
            spool=self._spool(),
            engine_timeout=self._parsed("engine-timeout", _parse_timeout),
            **self._flags(),
            hosts=tuple(self._hosts),
            trusted_proxies=tuple(self._trusted_proxies),
            metrics=self._parsed("metrics", self._endpoint),
            hash_name=self["hash"],
            max_size=self._parsed("max-size", parse_size),
            workers=self._parsed("workers", partial(parse_workers, processors=usable_processors)),
            drain=self._parsed("drain", parse_seconds),
            access_log="-" if self["access-log"] == "-" else self._file("access-log") or "",
            log=self._read_log(),
            max_connections=self._parsed("max-connections", parse_count),
            max_uploads=self._parsed("max-uploads", parse_count),
            keep_alive=self._parsed("keep-alive", parse_seconds),
            max_pixels=self._parsed("max-pixels", parse_pixels),
            reserve=self._parsed("reserve", _parse_reserve),
            verify_every=self._parsed("verify-every", parse_interval),
            verify_rate=self._parsed("verify-rate", parse_rate),
        )

    def _flags(self) -> dict[str, bool]:
        """Return the settings that are on or off, by name."""
        names = {
            "open_access": "open",
            "open_registration": "open-registration",
            "no_registration": "no-registration",
        }
        return {setting: bool(self[option]) for setting, option in names.items()}

    def _listen(self) -> tuple[str, ...]:
        base = os.path.abspath(self._rundir())
        try:
            return tuple(with_absolute_paths(each, base) for each in self._endpoints or [DEFAULT_ENDPOINT])
        except ValueError as error:
            raise usage.UsageError(f"--listen: {error}") from None

    def _endpoint(self, text: str | None) -> str:
        """Return an endpoint string with absolute paths; empty for none. Raises `ValueError`."""
        return with_absolute_paths(complete(text), os.path.abspath(self._rundir())) if text else ""

    def _read_log(self) -> LogSettings:
        retention = self["log-retention"]
        if retention and not self["log-rotation"]:
            raise usage.UsageError("--log-retention needs --log-rotation")
        self._parsed("log-rotation", lambda text: RotationSchedule.parse(text) if text else None)
        self._parsed("log-retention", lambda text: Retention.parse(text) if text else None)
        return LogSettings(
            file=self._file("log"),
            level=self._parsed("log-level", parse_level),
            rotation=self["log-rotation"] or None,
            retention=retention or None,
            json=bool(self["log-json"]),
        )

    def _parsed(self, name: str, parse: Callable[[str], _T]) -> _T:
        try:
            return parse(self[name])
        except ValueError as error:
            raise usage.UsageError(f"--{name}: {error}") from None

    def _path(self, name: str) -> str:
        if not self[name] or "\0" in self[name]:
            raise usage.UsageError(f"--{name}: a path is needed")
        return os.path.abspath(os.path.join(self._rundir(), self[name]))

    def _place(self, name: str) -> str:
        """Return the path of a directory, or the URL of an object store."""
        return str(self._parsed(name, parse_url)) if is_url(self[name]) else self._directory(name)

    def _spool(self) -> str:
        if self["spool"] is not None:
            return self._directory("spool")
        return os.path.realpath(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108  # files have no name

    def _directory(self, name: str) -> str:
        """Return the path of a directory; symbolic links are followed once, for all processes."""
        return os.path.realpath(self._path(name))

    def _file(self, name: str) -> str | None:
        """Return the absolute path of a file that can be created; None for an empty value."""
        if not self[name]:
            return None
        path = self._path(name)
        end = path if os.path.exists(path) else os.path.realpath(path)  # a link may lead to a new file
        directory = os.path.dirname(end)
        if not os.path.isdir(directory):
            raise usage.UsageError(f"--{name}: there is no directory {directory}; create it")
        if os.path.isdir(path):
            raise usage.UsageError(f"--{name}: {path} is a directory; name a file")
        target = end if os.path.exists(end) else directory
        if not os.access(target, os.W_OK) and not _is_read_only(target):
            raise usage.UsageError(f"--{name}: user {os.geteuid()} may not write {path}; name another file")
        return path

    def _rundir(self) -> str:
        return "" if self._twistd is None else str(self._twistd["rundir"])


def _unexpected(word: str) -> str:
    """Return the error about a word that is not an option."""
    port = f"; to set the port write --listen {word}" if word.isdecimal() else "; see --help"
    return f"unexpected argument {word!r}{port}"


def _check_overlap(store: str, images: str) -> None:
    """Raise `UsageError` unless the directories are apart; an existing one inside the other is accepted."""
    if is_url(store) != is_url(images):
        return
    outer, inner = sorted((store, images), key=len)
    if outer == inner:
        raise usage.UsageError(f"--store and --images are both {outer}; name two directories")
    if f"{inner}/".startswith(f"{outer.rstrip('/')}/") and not os.path.exists(os.path.join(inner, NAME)):
        raise usage.UsageError(f"--store and --images: {inner} is inside {outer}; name two directories")


def _is_read_only(path: str) -> bool:
    """Return whether the file system is read-only; the daemon serves without a log file then."""
    return os.path.exists(path) and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _parse_timeout(text: str) -> float:
    """Return a number of seconds from 1 to 60. Raises `ValueError`."""
    seconds = parse_seconds(text)
    if not 1 <= seconds <= 60:
        raise ValueError(f"{text!r} is not a number of seconds from 1 to 60")
    return seconds


def _parse_reserve(text: str | None) -> int | None:
    """Return a size that may be 0; None for the default. Raises `ValueError`."""
    return None if text is None else parse_size(text, min_bytes=0)
