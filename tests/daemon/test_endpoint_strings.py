"""Short endpoint strings, and sockets without names: pure functions."""

import pytest

from filestored.daemon.startup.endpoint_strings import check, complete
from filestored.daemon.startup.socket_activation import name_sockets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9000", "tcp:9000"),
        (":9000", "tcp:9000"),
        ("*:9000", "tcp:9000"),
        ("127.0.0.1:9000", "tcp:9000:interface=127.0.0.1"),
        ("localhost:9000", "tcp:9000:interface=localhost"),
        ("files.example.org:9000", "tcp:9000:interface=files.example.org"),
        ("[::1]:9000", "tcp6:9000:interface=\\:\\:1"),
        ("[::]:9000", "tcp6:9000:interface=\\:\\:"),
        ("tcp:9000", "tcp:9000"),
        ("tcp6:9000", "tcp6:9000"),
        ("ssl:443", "ssl:443"),
        ("unix:/run/9", "unix:/run/9"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ("٣", "٣"),
        ("9000\n", "9000\n"),
        ("", ""),
    ],
)
def test_short_endpoint_is_completed_and_others_stay(text, expected):
    assert expected == complete(text)


@pytest.mark.parametrize(
    "text",
    [
        *("tcp:0", "tcp:65535", "tcp:port=80", "tcp:80:interface=\\:\\:1", "ssl:443:privateKey=a", "tcp6:1"),
        *("unix:/tmp/s", "unix:address=/tmp/s:mode=660", "unix:/tmp/a\\:b", "haproxy:tcp:80", "other:x"),
    ],
)
def test_endpoint_that_can_be_listened_on_is_accepted(text):
    assert None is check(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "tcp:65536",
            "tcp:-1",
            "tcp:abc",
            "tcp:",
            "tcp:interface=127.0.0.1",
            "tcp:port=x",
            "ssl:x",
            "tcp6:٣",
        ),
        *(
            "haproxy:tcp:x",
            "haproxy:haproxy:tcp:port=1",
            "unix:",
            "unix:/nonexistent/s",
            "unix:/etc/passwd",
            "unix:/tmp/" + "x" * 103,
        ),
        *("unix:/tmp/s:mode=-1", "unix:/tmp/s:mode=rw", "unix:/tmp/s:mode=7777", "unix:/tmp/s:mode="),
        *("tcp:9000:backlog=-1", "tcp:9000:backlog=0", "ssl:9000:backlog=many", "unix:/tmp/s:backlog=-5"),
    ],
)
def test_endpoint_that_cannot_be_listened_on_is_refused(text):
    with pytest.raises(ValueError, match=r"port|socket|directory|once|backlog"):
        check(text)


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"LISTEN_FDS": "1"}, "unknown"),
        ({"LISTEN_FDS": "2"}, "unknown:unknown"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "http"}, "http:unknown"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"}, "a"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}, "http"),
        ({"LISTEN_FDS": "0"}, None),
        ({"LISTEN_FDS": "many"}, None),
        ({"LISTEN_FDS": "99999999999"}, None),
        ({}, None),
    ],
)
def test_sockets_without_names_are_named(environment, names):
    name_sockets(environment)
    assert names == environment.get("LISTEN_FDNAMES")
