"""Wrong configurations: each is one line on stderr that says what to do, and status 1; no traceback."""

import json
import os
import shlex
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.daemon_process import ROOT, assert_one_line, run

pytestmark = pytest.mark.slow

UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

OPTIONS = {
    # options of filestored: words, and a pattern of the line
    "an unknown option": ("--bogus", "bogus"),
    "a word that is no option": ("words", "see --help"),
    "an option without its value": ("--store", "store requires argument"),
    "an empty store": ("--store ''", "--store: a path is needed"),
    "no size": ("--max-size lots", "--max-size: .* write it like 5GiB"),
    "a size of zero": ("--max-size 0", "--max-size: .*at least one byte"),
    "no reserve": ("--reserve some", "--reserve: .* write it like"),
    "no workers": ("--workers 0", "--workers: .* from 1 to 256"),
    "too many workers": ("--workers 1000", "--workers: .* from 1 to 256"),
    "no connections": ("--max-connections 0", "--max-connections: .* from 1"),
    "no uploads": ("--max-uploads many", "--max-uploads: .* from 1"),
    "no seconds": ("--drain soon", "--drain: .* write it like 30"),
    "negative seconds": ("--drain -1", "--drain: .* write it like 30"),
    "an unknown level": ("--log-level loud", "--log-level: .* choose one of"),
    "an unknown rotation": ("--log-rotation never", "--log-rotation: "),
    "retention without rotation": ("--log-retention 3", "--log-retention needs --log-rotation"),
    "a rotation at no time of day": (
        "--log-rotation 25:00",
        "'25:00' is neither a size such as",
    ),
    "an unknown retention": ("--log-rotation 1MB --log-retention x", "--log-retention: "),
    "a host with a port": ("--host a:80", "--host: .* without a port"),
    "both kinds of registration": ("--open-registration --no-registration", "exclude each other"),
    "an unknown hash": ("--hash crc32", "crc32"),
    # paths
    "one directory for both": ("--store same --images same", "--store and --images .*name two directories"),
    "one directory through a link": ("--store full --images link", "--store and --images .*name two"),
    "images inside the store": ("--store s --images s/images", "inside .*; name two directories"),
    "a store inside the images": ("--images i --store i/store", "inside .*; name two directories"),
    "a store without a parent": ("--store no/such/store", "no/such/store .* create it"),
    "images without a parent": ("--images no/such/images", "no/such/images .* create it"),
    "a store that is a file": ("--store file", "file cannot be used: it is not a directory; name another"),
    "images that are a file": ("--images file", "file cannot be used: it is not a directory; name another"),
    "a store below a file": ("--store file/store", "file/store .* create it"),
    "a store of others": ("--store full", "no FORMAT file, so it is no store; name another path"),
    "images of others": ("--images full", "no FORMAT file, .*; name another path"),
    "a store that others write": ("--store open", "chmod it to 0700"),
    "a store in /proc": ("--store /proc/filestored", "/proc/filestored"),
    "a broken FORMAT": ("--store broken", "FORMAT file cannot be read; restore it"),
    "a newer FORMAT": ("--store newer", "knows formats 1 and 2; install a newer one"),
    "another hash": ("--store md5 --hash sha256", "named by md5, not by sha256 as --hash asks"),
    "an unfinished migration": ("--store moving", "finish it with filestored migrate"),
    "images as a store": ("--store pictures", "pictures cannot be used: unknown hash algorithm"),
    "a store as images": ("--images md5", "md5"),
    "a log without a directory": ("--log no/log", "--log: there is no directory .*; create it"),
    "a log behind a link to nowhere": ("--log nowhere", "--log: there is no directory .*/no; create it"),
    "a log that is a directory": ("--log full", "--log: .* is a directory; name a file"),
    "an access log without a directory": ("--access-log no/log", "--access-log: .*; create it"),
    "an access log that is a directory": ("--access-log full", "--access-log: .*; name a file"),
    # endpoints
    "no endpoint": ("--listen bogus", "--listen bogus: .* write it like 9000"),
    "an empty endpoint": ("--listen ''", "--listen .* write it like 9000"),
    "an unknown endpoint": ("--listen http:80", "--listen http:80: .* write it like 9000"),
    "an address whose backslashes a shell has removed": (
        "--listen tcp6:0:interface=::",
        "--listen tcp6:0:interface=::: interface= is empty; name an address",
    ),
    "a port too high": ("--listen tcp:99999", "--listen tcp:99999: .*is not a port; write it like"),
    "a short port too high": ("--listen 99999", "--listen .*99999.*is not a port; write it like"),
    "a port that is no number": ("--listen tcp:abc", "--listen tcp:abc: 'abc' is not a port; write it like"),
    "no port": ("--listen tcp:", "--listen tcp:: '' is not a port; write it like"),
    "an unknown argument": ("--listen tcp:1:bogus=1", "--listen tcp:1:bogus=1: "),
    "an address of another host": ("--listen 192.0.2.1:0", "name an address of this host"),
    "an address that is none": ("--listen tcp:0:interface=a.invalid", "tcp:0:interface=a.invalid: "),
    "a port in use": ("--listen 127.0.0.1:PORT", "Address already in use; stop the other program, or"),
    "a socket without a directory": ("--listen unix:no/s", "there is no directory .*no; create it"),
    "a socket in the place of a file": ("--listen unix:file", "file is no socket; remove it, or choose"),
    "a socket with a long path": (f"--listen unix:/tmp/{'x' * 110}", "1 to 107 bytes; choose"),
    "a socket without a path": ("--listen unix:", "1 to 107 bytes; choose"),
    "no socket of systemd": ("--listen systemd:domain=INET:index=0", "LISTEN_FDS"),
    "no endpoint of metrics": ("--metrics bogus", "--metrics bogus: .* write it like 9000"),
    "no key": ("--listen ssl:0:privateKey=no.pem:certKey=no.pem", "check privateKey= .*no.pem"),
    "a key that is none": ("--listen ssl:0:privateKey=file:certKey=file", "check privateKey= and certKey="),
}

TWISTD = {
    # options of twistd itself
    "a log of twistd": ("--logfile x", "--logfile does not work with filestored: use the option --log after"),
    "syslog of twistd": ("--syslog", "--syslog does not work"),
    "chroot of twistd": ("--chroot /", "--chroot does not work"),
    "no rundir": ("--rundir no", "--rundir: there is no directory no; create it"),
    "a pid file without a directory": ("--pidfile no/pid", "--pidfile: .*; create it, or name another"),
    "a pid file that is a directory": ("--pidfile full", "full cannot be written: name another file"),
    "a pid file with text": ("--pidfile text", "text holds no process id: remove it, or name another"),
    "a pid file of another program": ("--pidfile foreign", "foreign belongs to another program: remove it"),
    "a pid file of a running process": ("--pidfile running", "running names: stop it, remove the file, or"),
    "a user without an entry": (
        "--uid 54321",
        "--uid: no user has the id 54321; create one, or|need root: start as",
    ),
}

REFUSED = {
    # of an unprivileged user
    "another user": ("--uid 0", "", "--uid and --gid need root: start as that user instead"),
    "a store of another owner": ("", "--store owned", "belongs to user 0, .*; start it as the owner, or"),
    "images of another owner": ("", "--images owned", "belongs to user 0, .*; start it as the owner, or"),
    "a store in a directory of root": (
        "",
        "--store owned/store",
        "user 65534 cannot create it in .*; create",
    ),
    "a log that may not be written": ("", "--log owned/log", "--log: user 65534 may not write .*; name"),
    "a log behind a link to root": ("", "--log rooted", "--log: user 65534 may not write .*; name another"),
    "a log file of root": ("", "--log root.log", "--log: user 65534 may not write .*; name another"),
    "an access log of root": ("", "--access-log root.log", "--access-log: user 65534 may not write"),
    "a pid file in a directory of root": ("--pidfile owned/pid", "", "owned/pid cannot be written: name"),
    "a socket in a directory of root": ("", "--listen unix:owned/s", "unix:owned/s: "),
}


AFTER_THE_FORK = {
    "a port in use",
    "an address of another host",
    "an address that is none",
    "a socket in the place of a file",
    "a socket in a directory of root",
    "no socket of systemd",
    "no key",
    "a store in /proc",
}
"""Errors of what a process does in the background, if it goes there."""

BEFORE_THE_FORK = {"an unknown option", "a store that is a file", "a pid file in a directory of root"}
"""Some of the other errors, which end the first process in the same way."""


def both_ways(names):
    """Return parameters: all configurations in the foreground, and those in the background that differ."""
    daemonised = [name for name in names if name in AFTER_THE_FORK | BEFORE_THE_FORK]
    return [
        *(pytest.param(("-n",), name, id=f"{name}-foreground") for name in names),
        *(pytest.param((), name, id=f"{name}-daemonised") for name in daemonised),
    ]


def write_format(path, **fields):
    path.mkdir(mode=0o700)
    (path / "FORMAT").write_text(json.dumps(fields))


@pytest.fixture(scope="module")
def place():
    """A directory with everything that a configuration may be wrong about, writable by every user."""
    with TemporaryDirectory() as name:  # other users cannot reach those of pytest
        yield filled(Path(name))


def filled(top):
    top.chmod(0o777)
    (top / "file").write_text("no directory, no key, no socket\n")
    (top / "text").write_text("text")
    (top / "foreign").write_text("4194304\n")
    (top / "running").write_text(str(os.getpid()))
    (top / "full").mkdir(mode=0o700)
    (top / "full" / "file").touch()
    (top / "link").symlink_to("full")
    (top / "nowhere").symlink_to("no/log")
    (top / "rooted").symlink_to("owned/log")
    (top / "open").mkdir()
    (top / "open").chmod(0o777)
    (top / "owned").mkdir(mode=0o755)
    (top / "root.log").touch(0o644)
    write_format(top / "newer", format=9, hash="sha256", id="x")
    write_format(top / "md5", format=1, hash="md5", id="x")
    write_format(top / "moving", format=2, hash="md5", id="x", moving_to="sha256")
    write_format(top / "pictures", format=1, hash="images", id="x")
    (top / "broken").mkdir(mode=0o700)
    (top / "broken" / "FORMAT").write_text("{")
    return top


@pytest.fixture(scope="module")
def used_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def words_of(options, port=0):
    words = shlex.split(options.replace("PORT", str(port)))
    return words if "--listen" in words else ["--listen", "tcp:0:interface=127.0.0.1", *words]


@pytest.mark.parametrize(("twistd", "name"), both_ways(OPTIONS))
def test_wrong_option_is_one_line(place, used_port, twistd, name):
    options, pattern = OPTIONS[name]
    assert_one_line(run(*twistd, "filestored", *words_of(options, used_port), cwd=str(place)), pattern)
    assert not (place / "twistd.pid").exists()


@pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
@pytest.mark.parametrize("name", TWISTD)
def test_wrong_option_of_twistd_is_one_line(place, twistd, name):
    options, pattern = TWISTD[name]
    done = run(*twistd, *options.split(), "filestored", *words_of("--store new"), cwd=str(place))
    assert_one_line(done, pattern)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(("twistd", "name"), both_ways(REFUSED))
def test_missing_permission_is_one_line(place, twistd, name):
    of_twistd, options, pattern = REFUSED[name]
    words = [*twistd, *of_twistd.split(), "filestored", *words_of(options)]
    assert_one_line(run(*words, cwd=str(place), wrap=UNPRIVILEGED), pattern)


@pytest.mark.parametrize("options", ["--max-uploads '", '--store "x', "--listen 'tcp:1"])
def test_open_quote_in_the_environment_of_the_tac_is_one_line(place, monkeypatch, options):
    monkeypatch.setenv("FILESTORED_OPTIONS", options)
    done = run("-n", "-y", os.path.join(ROOT, "filestored.tac"), cwd=str(place))
    assert_one_line(done, "FILESTORED_OPTIONS: No closing quotation; quote its words as in a shell")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a namespace")
@pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
def test_read_only_file_system_is_one_line(place, twistd):
    script = (
        "mkdir -p ro && mount -t tmpfs none ro && mkdir -m 700 ro/empty && mount -o remount,ro ro && "
        'exec "$@"'
    )
    for options, pattern in (
        ("--store ro/x", "ro/x .* create it"),
        ("--store ro/empty", "Read-only file system; mount it"),
    ):
        done = run(
            *(*twistd, "filestored", "--images", "new", *words_of(options)),
            cwd=str(place),
            wrap=("unshare", "--mount", "sh", "-c", script, "sh"),
        )
        assert_one_line(done, pattern)


def test_daemon_that_is_killed_while_it_starts_is_one_line(place, tmp_path):
    """The first process ends, although the daemon sends no message."""
    code = (
        "import os, signal, sys\n"
        "from filestored.daemon import lifecycle\n"
        "lifecycle.Daemon.startService = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from twisted.scripts.twistd import run\n"
        "run()\n"
    )
    done = run(
        *("-c", code, "filestored", *words_of("")),
        cwd=str(tmp_path),
        wrap=("sh", "-c", 'python=$1; shift 2; exec "$python" "$@"', "sh"),
    )
    assert_one_line(done, "ended while it started; see its log")


def test_failed_start_is_in_the_log_file_without_a_traceback(place, used_port):
    done = run("-n", "filestored", *words_of("--listen 127.0.0.1:PORT --log log", used_port), cwd=str(place))
    assert_one_line(done, "Address already in use")
    log = (place / "log").read_text()
    assert 1 == log.count("Address already in use")
    assert "Traceback" not in log


def test_stdin_and_stdout_may_be_closed(tmp_path):
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&-', "sh", "true"], check=False)
    assert 0 == done.returncode
    done = run(
        *("filestored", *words_of("--listen tcp:99999")),
        cwd=str(tmp_path),
        wrap=("sh", "-c", 'exec "$@" <&-', "sh"),
    )
    assert_one_line(done, "is not a port")
