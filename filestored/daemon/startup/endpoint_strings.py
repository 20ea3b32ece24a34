r"""Endpoint strings: short forms are completed, and faults are found that Twisted reports late or unclearly.

``9000`` and ``:9000`` are ``tcp:9000``, on all IPv4 addresses; ``127.0.0.1:9000`` and ``localhost:9000`` are
``tcp:9000:interface=…``; ``[::1]:9000`` is ``tcp6:9000:interface=\:\:1``. Pure, except `check`.

``haproxy:`` before an endpoint stands for the PROXY protocol: each connection begins with a line or a block
of bytes that names the client. It comes before TLS, as proxies send it.
"""

import os
import re
import stat

MAX_UNIX_PATH_BYTES = 107
"""Maximum length of the path of a Unix socket (unix(7))."""

UNIX_MODE = "660"
"""Mode of a Unix socket, unless the endpoint sets it: a client needs write permission (unix(7))."""

EXAMPLES = "write it like 9000, 127.0.0.1:9000, [::1]:9000, tcp:9000 or unix:/run/filestored.sock"

PROXY_PREFIX = "haproxy:"
"""Prefix of an endpoint whose connections begin with a header of the PROXY protocol."""

_PORT = re.compile(r":?([0-9]+)", re.ASCII)
_IPV4_PORT = re.compile(r"(localhost|\*|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+):([0-9]+)", re.ASCII)
_IPV6_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\]:([0-9]+)", re.ASCII)
_UNESCAPED_COLON = re.compile(r"(?<!\\):")
_KEYWORD = re.compile(r"([A-Za-z]+)=(.*)", re.DOTALL)
_TLS_FILES = ("privateKey", "certKey", "extraCertChain")


def complete(text: str) -> str:
    """Return the endpoint string of Twisted for a short form; any other text as it is."""
    if found := _PORT.fullmatch(text):
        return f"tcp:{found[1]}"
    if found := _IPV4_PORT.fullmatch(text):
        return f"tcp:{found[2]}" if found[1] == "*" else f"tcp:{found[2]}:interface={found[1]}"
    if found := _IPV6_PORT.fullmatch(text):
        address = found[1].replace(":", "\\:")
        return f"tcp6:{found[2]}:interface={address}"
    return text


def without_proxy(text: str) -> str:
    """Return the endpoint behind `PROXY_PREFIX`, if that is there."""
    return text.removeprefix(PROXY_PREFIX)


def check(text: str) -> None:
    """Raise `ValueError` for an endpoint that cannot be listened on, by its port, path, mode or backlog."""
    kind, _, rest = without_proxy(text).partition(":")
    if kind == "haproxy":
        raise ValueError(f"{PROXY_PREFIX} stands before an endpoint once")
    if kind in ("tcp", "tcp6", "ssl"):
        port = _argument(rest, "port")
        if not re.fullmatch("[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
            raise ValueError(f"{port!r} is not a port; {EXAMPLES}")
        if _arguments(rest)[1].get("interface") == "":
            raise ValueError("interface= is empty; name an address, or leave the word out")
    elif kind == "unix":
        _check_unix_path(_argument(rest, "address"))
        _check_unix_mode(_arguments(rest)[1].get("mode"))
    if kind in ("tcp", "tcp6", "ssl", "unix"):
        _check_backlog(_arguments(rest)[1].get("backlog"))


def with_absolute_paths(text: str, base: str) -> str:
    """Return the string of an ``ssl:`` endpoint with absolute paths of its files; any other as it is.

    Raises `ValueError` for arguments that are not supported.
    """
    files = tls_files(text)
    if not files:
        return text
    kind, _, rest = without_proxy(text).partition(":")
    positional, named = _arguments(rest)
    paths = [f"{name}={_escape(os.path.join(base, path))}" for name, path in files.items()]
    others = [f"{name}={value}" for name, value in named.items() if name not in files]
    prefix = PROXY_PREFIX if text.startswith(PROXY_PREFIX) else ""
    return prefix + ":".join([kind, *positional[:1], *paths, *others])


def tls_files(text: str) -> dict[str, str]:
    """Return the paths in an ``ssl:`` endpoint by their names in Twisted; empty for other types.

    Raises `ValueError` for arguments that are not supported.
    """
    kind, _, rest = without_proxy(text).partition(":")
    if kind != "ssl":
        return {}
    positional, named = _arguments(rest)
    for name in ("sslmethod", "dhParameters"):
        if name in named:
            raise ValueError(f"{name} is not supported: TLS 1.2 and 1.3 are served, with elliptic curves")
    found = {"privateKey": "server.pem"} | dict(zip(_TLS_FILES, positional[1:3], strict=False))
    found |= {name: named[name] for name in _TLS_FILES if name in named}
    return {name: _unescape(path) for name, path in found.items()}


def with_unix_mode(text: str) -> str:
    """Return the endpoint string with `UNIX_MODE` added, if it is a Unix socket without a mode.

    Twisted's default of 0666 would let every local user connect and retrieve any token.
    """
    kind, _, rest = without_proxy(text).partition(":")
    positional, named = _arguments(rest)
    if kind != "unix" or len(positional) > 1 or "mode" in named:
        return text
    return f"{text}:mode={UNIX_MODE}"


def _arguments(rest: str) -> tuple[list[str], dict[str, str]]:
    """Return the positional and the named arguments of an endpoint string, escaped as they are."""
    arguments = _UNESCAPED_COLON.split(rest)
    named = {found[1]: found[2] for each in arguments if (found := _KEYWORD.match(each))}
    return [each for each in arguments if not _KEYWORD.match(each)], named


def _argument(rest: str, keyword: str) -> str:
    """Return the first positional argument, or that of `keyword`; empty if there is neither."""
    positional, named = _arguments(rest)
    return _unescape(named.get(keyword) or [*positional, ""][0])


def _escape(path: str) -> str:
    return re.sub(r"([\\:=])", r"\\\1", path)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _check_unix_path(path: str) -> None:
    if not path or len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise ValueError(
            f"the path of a Unix socket has 1 to {MAX_UNIX_PATH_BYTES} bytes; choose another one"
        )
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        raise ValueError(f"there is no directory {directory}; create it")
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ValueError(f"{path} is no socket; remove it, or choose another path")


def _check_unix_mode(mode: str | None) -> None:
    if mode is not None and not re.fullmatch("0?[0-7]{3}", mode, re.ASCII):
        raise ValueError(f"{mode!r} is not the mode of a Unix socket; write it like 660")


def _check_backlog(backlog: str | None) -> None:
    if backlog is not None and not re.fullmatch("[1-9][0-9]{0,8}", backlog, re.ASCII):
        raise ValueError(f"{backlog!r} is not a backlog; write it like 1024")
