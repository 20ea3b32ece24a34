"""Start: listeners that others reach need rules, and access files that cannot work are one line."""

import os
import re
import socket

import pytest

from filestored.access.rules import AccessRules
from filestored.access.watcher import AccessWatcher
from filestored.errors import AccessFileError
from tests.access.wire.access_files import RIGHTS, Token, access_text, write_access
from tests.access.wire.kept_connection import KeptConnection
from tests.daemon.socket_activation import activation
from tests.daemon_process import assert_one_line, run

ANNA = Token("anna", {"default": RIGHTS})
TEXT = access_text(ANNA)


@pytest.fixture
def refused(tmp_path):
    """A function that runs a daemon with these options to its end, which is one line."""

    def run_refused(pattern: str, *options: str, **more: object) -> str:
        words = ["-n", "filestored", "--store", str(tmp_path / "store"), "--images", str(tmp_path / "images")]
        done = run(*words, *options, cwd=str(tmp_path), **more)
        assert_one_line(done, pattern)
        assert ANNA.secret not in done.stderr
        assert ANNA.sha256.hex() not in done.stderr
        return done.stderr

    return run_refused


# --- listeners -------------------------------------------------------------------------------------------

OPEN_LISTENERS = [
    ("tcp:0",),
    ("tcp:0:interface=0.0.0.0",),
    (r"tcp:0:interface=\:\:",),
    ("tcp:0:interface=127.0.0.1", "tcp:0:interface=0.0.0.0"),
    ("unix:s", "tcp:0"),
]


@pytest.mark.parametrize("listeners", OPEN_LISTENERS)
def test_listener_that_others_reach_needs_rules(refused, tmp_path, listeners):
    refused("--access.*--open", *(word for each in listeners for word in ("--listen", each)))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("address", "allowed"), [("0.0.0.0", False), ("127.0.0.1", True)])
def test_socket_of_systemd_counts_by_its_address(refused, start_daemon, address, allowed):
    with socket.socket() as listening:
        listening.bind((address, 0))
        listening.listen()
        number = listening.fileno()
        os.set_inheritable(number, True)
        options = ["--workers", "1"]
        if not allowed:
            wrap = activation("x", number)
            refused(
                "--access.*--open",
                *options,
                "--listen",
                "systemd:domain=INET:index=0",
                wrap=(*wrap,),
                inherit=(number,),
            )
            return
        daemon = start_daemon(
            *options, listen="systemd:domain=INET:index=0", wrap=activation("x", number), inherit=(number,)
        )
        with KeptConnection(listening.getsockname()[1]) as ask:
            assert 200 == ask("POST", "/", (), b"x").status
        daemon.end()


@pytest.mark.parametrize("listen", ["tcp:0:interface=127.0.0.1", r"tcp:0:interface=\:\:1"])
def test_loopback_without_rules_has_all_rights_but_list(start_daemon, listen):
    daemon = start_daemon("--workers", "1", listen=listen)
    if "127" not in listen:
        return
    with KeptConnection(daemon.port) as ask:
        digest = ask("POST", "/", (), b"x").body.decode()
        assert 200 == ask("GET", f"/files/{digest}").status
        assert "public" in ask("GET", f"/files/{digest}").fields["cache-control"]
        assert 200 == ask("GET", f"/buckets/default/files/{digest}").status
        assert [404, 404] == [ask("GET", target).status for target in ("/files/", "/buckets/default/usage")]
        assert 404 == ask("GET", f"/buckets/other/files/{digest}").status
        assert 200 == ask("DELETE", f"/files/{digest}").status


def test_unix_socket_without_rules_is_served(start_daemon):
    assert "s" == start_daemon("--workers", "1", listen="unix:s").address


def test_open_daemon_gives_all_rights(start_daemon):
    daemon = start_daemon("--workers", "1", "--open", listen="tcp:0:interface=0.0.0.0")
    with KeptConnection(daemon.port) as ask:
        digest = ask("POST", "/", (), b"x").body.decode()
        assert 200 == ask("GET", "/files/").status
        assert 200 == ask("GET", "/buckets/default/usage").status
        assert 404 == ask("GET", "/buckets/other/usage").status
        assert 200 == ask("DELETE", f"/files/{digest}").status


def test_listener_that_others_reach_is_served_with_rules(start_daemon, tmp_path):
    path = write_access(str(tmp_path / "rules.toml"), TEXT)
    daemon = start_daemon("--workers", "1", "--access", path, listen="tcp:0:interface=0.0.0.0")
    with KeptConnection(daemon.port) as ask:
        assert 401 == ask("POST", "/", (), b"x").status


# --- the access file -------------------------------------------------------------------------------------

ACCEPTED_MODES = [0o600, 0o400, 0o640]
REFUSED_MODES = [0o604, 0o602, 0o601, 0o644, 0o666]


@pytest.fixture
def fault_in(tmp_path):
    """A function that reads an access file, which cannot work, as the daemon does; returns the fault."""

    def read(content: bytes, mode: int = 0o600) -> str:
        path = tmp_path / "rules.toml"
        path.write_bytes(content)
        path.chmod(mode)
        with pytest.raises(AccessFileError) as caught:
            AccessWatcher(None, str(path), None).read()
        text = str(caught.value)
        assert 0 == text.count("\n")
        assert str(path) in text
        assert not {ANNA.secret, ANNA.sha256.hex()} & set(text.split("'"))
        return text

    return read


@pytest.mark.parametrize("mode", REFUSED_MODES)
def test_access_file_that_others_may_use_is_refused(fault_in, mode):
    assert "other users" in fault_in(TEXT.encode(), mode)


@pytest.mark.parametrize("mode", ACCEPTED_MODES)
def test_access_file_of_its_owner_or_group_is_accepted(tmp_path, mode):
    path = write_access(str(tmp_path / "rules.toml"), TEXT, mode)
    assert AccessRules.parse(TEXT) == AccessRules.from_json(AccessWatcher(None, path, None).read())


BROKEN = {
    "no TOML": ("[tokens.anna", "rules.toml"),
    "unknown table": ("[token.anna]\nx = 1\n", "token"),
    "unknown key": (TEXT + "[buckets.b]\nqouta = 1\n", "qouta"),
    "unknown right": (access_text(Token("anna", {"default": ["red"]})), "tokens.anna.buckets.default"),
    "hash of another length": ('[tokens.anna]\nsha256 = "ab"\n', "tokens.anna.sha256"),
    "secret for its hash": (f'[tokens.anna]\nsha256 = "{ANNA.secret}"\n', "tokens.anna.sha256"),
    "no hash": ("[tokens.anna]\nexpires = 2027-03-01\n", "sha256"),
    "text for a date": (access_text(Token("bert", {}, expires="'soon'")), "tokens.bert.expires"),
    "bad name of a bucket": (TEXT + "[buckets.No_Name]\n", "No_Name"),
    "bad quota": (TEXT + "[buckets.b]\nquota = 'much'\n", "buckets.b.quota"),
    "bad expiry": (TEXT + "[buckets.b]\nexpire = 'never'\n", "buckets.b.expire"),
    "bad count": (TEXT + "[buckets.b]\nmax_files = -1\n", "buckets.b.max_files"),
    "public text": (TEXT + "[buckets.b]\npublic = 'read'\n", "buckets.b.public"),
    "two tokens of one secret": (TEXT + TEXT.replace("anna", "bert"), "sha256"),
    "large file": (TEXT + "#" * (1 << 20), "MiB|large"),
    "no text": ("\udcff", "UTF-8|utf-8|text"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_access_file_that_cannot_work_names_the_fault(fault_in, case):
    text, pattern = BROKEN[case]
    assert re.search(pattern, fault_in(text.encode("utf-8", "surrogateescape")))


STARTS = [
    (BROKEN["unknown key"][0], 0o600, "rules.toml: buckets.b.qouta"),
    (BROKEN["secret for its hash"][0], 0o600, "rules.toml: tokens.anna.sha256"),
    (TEXT, 0o604, "rules.toml: other users"),
    (None, None, "none.toml"),
]


@pytest.mark.parametrize(("text", "mode", "pattern"), STARTS)
def test_daemon_with_an_access_file_that_cannot_work_is_refused_in_one_line(
    refused, tmp_path, text, mode, pattern
):
    path = (
        str(tmp_path / "none.toml")
        if text is None
        else write_access(str(tmp_path / "rules.toml"), text, mode)
    )
    refused(pattern, "--access", path)
    assert not (tmp_path / "store").exists()
