"""Containers: process 1, stale pid files, a read-only root, no home, unknown users, fresh volumes, limits."""

import os
import signal
import subprocess
from functools import partial
from tempfile import TemporaryDirectory

import pytest
import requests
from twisted.scripts._twistd_unix import checkPID

from filestored.daemon.process_setup import collect_ended
from filestored.daemon.startup.pid_file import check, replace
from tests.daemon.socket_activation import activation
from tests.daemon_process import ROOT, children, read, run, until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces")
PROCESS_1 = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
BOTH = pytest.mark.parametrize("tac", [False, True], ids=["plugin", "tac"])


def upload(daemon, data=b"hello"):
    return requests.post(daemon.url, data=data, timeout=30).status_code


# --- pid file --------------------------------------------------------------------------------


@BOTH
def test_foreground_writes_no_pid_file_by_default(tmp_path, monkeypatch, tac):
    if not tac:
        (tmp_path / "twistd.pid").write_text("1")  # of a former container
    monkeypatch.setenv("FILESTORED_OPTIONS", "--listen 192.0.2.1:0")
    where = ["-y", os.path.join(ROOT, "filestored.tac")] if tac else ["filestored"]
    words = [] if tac else ["--listen", "192.0.2.1:0"]
    done = run("-n", *where, *words, cwd=str(tmp_path))
    assert "name an address of this host" in done.stderr
    assert ([] if tac else ["twistd.pid"]) == [name for name in os.listdir(tmp_path) if "pid" in name]


@ROOT_ONLY
@pytest.mark.parametrize("text", ["1", "1\n\n"])
def test_process_1_starts_with_its_own_number_in_the_pid_file(tmp_path, text):
    """A start that fails later, so that no process is left."""
    (tmp_path / "pid").write_text(text)
    words = ("-n", "--pidfile", "pid", "filestored", "--listen", "192.0.2.1:0")
    done = run(*words, cwd=str(tmp_path), wrap=PROCESS_1)
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "name an address of this host" in done.stderr


@ROOT_ONLY
def test_process_1_collects_the_ended_processes_that_it_inherits(start_daemon):
    """A shell of another session leaves a process, as a killed worker leaves its decoders."""
    daemon = start_daemon("--workers", "2", wrap=PROCESS_1, pid_file=False)
    (process_1,) = children(daemon.pid)
    workers = children(process_1)
    enter = ("nsenter", "-t", str(process_1), "-p")
    subprocess.run([*enter, "sh", "-c", "sleep 0.5 & exit"], check=True)
    until(lambda: len(children(process_1)) == 3, "a process is inherited")
    until(lambda: workers == children(process_1), "it is collected")
    assert 200 == upload(daemon)
    os.kill(process_1, signal.SIGTERM)
    until(daemon.ended, "it ends")
    assert 0 == daemon.process.returncode


def test_ended_child_is_collected_in_the_second_check_that_finds_it():
    known = set()
    with subprocess.Popen(["true"]) as awaited:
        os.waitid(os.P_PID, awaited.pid, os.WEXITED | os.WNOWAIT)
        collect_ended(known)
        assert {awaited.pid} == known
        assert 0 == awaited.wait()
        collect_ended(known)
        assert set() == known


def test_pid_file_of_a_killed_daemon_is_stale_although_its_number_is_used_again(start_daemon, tmp_path):
    daemon = start_daemon("--workers", "1", twistd=())
    assert f"{daemon.pid}\n\n" == read(str(tmp_path / "pid"))
    daemon.kill(signal.SIGKILL)
    until(daemon.ended, "it ends")
    (tmp_path / "pid").write_text(f"{os.getpid()}\n\n")
    assert 200 == upload(start_daemon("--workers", "1", twistd=()))


def test_empty_pid_file_is_stale(start_daemon, tmp_path):
    (tmp_path / "pid").touch()
    assert 200 == upload(start_daemon("--workers", "1", twistd=()))


@pytest.mark.parametrize(
    ("text", "options"),
    [("", "--nonsense"), ("4194304", "--store no/store"), ("4194304\n\n", "--log-level loud")],
)
def test_start_that_is_refused_keeps_a_stale_pid_file(tmp_path, text, options):
    (tmp_path / "pid").write_text(text)
    done = run("-n", "--pidfile", "pid", "filestored", *options.split(), cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert text == (tmp_path / "pid").read_text()


FOREIGN = [
    "notes\n",
    "notes\n\n",
    "4194304\n",
    "4194304 \n\n",
    "\n",
    "\n\n",
    "1\n2\n\n",
    "12345678901\n\n",
    "1\n\n\n",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_file_of_another_program_is_no_pid_file_and_is_kept(tmp_path, text):
    (tmp_path / "pid").write_text(text)
    for function in (check, partial(replace, config={})):
        with pytest.raises(ValueError, match="the pid file "):
            function(str(tmp_path / "pid"))
    assert text == (tmp_path / "pid").read_text()


def test_start_with_the_file_of_another_program_as_pid_file_is_refused(tmp_path):
    (tmp_path / "pid").write_text("notes\n\n")
    done = run("-n", "--pidfile", "pid", "filestored", "--listen", "192.0.2.1:0", cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "the pid file " in done.stderr
    assert "notes\n\n" == (tmp_path / "pid").read_text()


def test_fifo_is_no_pid_file_and_is_kept(tmp_path):
    os.mkfifo(tmp_path / "pid")
    done = run("-n", "--pidfile", "pid", "filestored", "--listen", "192.0.2.1:0", cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "is not a regular file" in done.stderr
    assert (tmp_path / "pid").is_fifo()


def test_pid_file_is_read_by_a_shell_and_by_twistd(start_daemon, tmp_path):
    daemon = start_daemon("--workers", "1", twistd=())
    script = 'kill -0 $(cat pid) && kill -0 "$(cat pid)" && read -r pid <pid && kill -0 "$pid"'
    assert 0 == subprocess.run(["sh", "-c", script], cwd=tmp_path, check=False).returncode
    with pytest.raises(SystemExit, match=f"PID {daemon.pid}\n"):
        checkPID(str(tmp_path / "pid"))


@pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
def test_second_daemon_with_the_pid_file_of_a_running_one_is_refused(start_daemon, tmp_path, twistd):
    daemon = start_daemon("--workers", "1", twistd=())
    done = run(*twistd, "--pidfile", "pid", "filestored", "--listen", "127.0.0.1:0", cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert f"stop process {daemon.pid}" in done.stderr
    assert f"{daemon.pid}\n\n" == read(str(tmp_path / "pid"))
    assert 200 == upload(daemon)


# --- the environment -------------------------------------------------------------------------


@ROOT_ONLY
def test_daemon_serves_with_a_read_only_root_and_without_a_home(start_daemon):
    with TemporaryDirectory() as top:
        script = f'mount -o bind {top} {top} && mount -o remount,bind,ro / && cd / && exec "$@"'
        daemon = start_daemon(
            *("--workers", "2", "--store", f"{top}/store", "--images", f"{top}/images"),
            log=False,
            environment={"HOME": "/nonexistent", "TMPDIR": "/nonexistent"},
            wrap=("unshare", "--mount", "sh", "-c", script, "sh"),
            pid_file=False,
        )
        assert 200 == upload(daemon)
        assert 201 == requests.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=30).status_code
        daemon.end()
        log = read(os.path.join(daemon.directory, "stderr"))
        assert "Traceback" not in log
        assert "dropin" not in log


@ROOT_ONLY
@pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
def test_user_without_an_entry_gets_as_far_as_its_endpoint(twistd):
    wrap = ("env", "-u", "HOME", "setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    with TemporaryDirectory() as top:
        os.chmod(top, 0o777)
        done = run(*twistd, "filestored", "--listen", "192.0.2.1:0", cwd=top, wrap=wrap)
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "name an address of this host" in done.stderr


def test_daemon_starts_with_closed_standard_descriptors(start_daemon):
    daemon = start_daemon("--workers", "2", twistd=(), wrap=("sh", "-c", 'exec "$@" <&- >&-', "sh"))
    assert 200 == upload(daemon)


@ROOT_ONLY
@pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
def test_missing_proc_is_one_line(tmp_path, twistd):
    (tmp_path / "empty").mkdir()
    wrap = ("unshare", "--mount", "sh", "-c", 'mount --bind empty /proc && exec "$@"', "sh")
    done = run(*twistd, "filestored", "--listen", "127.0.0.1:0", cwd=str(tmp_path), wrap=wrap)
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "/proc is not mounted, through which new files are linked; mount it" in done.stderr


# --- volumes and limits ----------------------------------------------------------------------


def test_fresh_volumes_and_links_to_them_are_accepted(start_daemon, tmp_path):
    for name in ("files", "pictures"):
        (tmp_path / name / "lost+found").mkdir(parents=True)
        (tmp_path / name).chmod(0o700)
        (tmp_path / f"link-{name}").symlink_to(name)
    links = ("--store", str(tmp_path / "link-files"), "--images", str(tmp_path / "link-pictures"))
    assert 200 == upload(start_daemon("--workers", "2", *links))
    assert (tmp_path / "files" / "FORMAT").is_file()
    assert (tmp_path / "pictures" / "FORMAT").is_file()


@ROOT_ONLY
def test_owner_of_the_directory_at_the_end_of_a_link_counts(tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 54321, 54321)
    (tmp_path / "store").symlink_to("theirs")
    done = run("-n", "filestored", "--listen", "127.0.0.1:0", cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "theirs cannot be used: it belongs to user 54321" in done.stderr


@ROOT_ONLY
def test_small_volume_is_filled_up_to_its_reserve(start_daemon, tmp_path):
    """200 MB, of which 5 % stay free; the start line of the log names both."""
    os.mkdir(tmp_path / "volume")
    script = f'mount -t tmpfs -o size=200M,mode=700 none {tmp_path}/volume && exec "$@"'
    daemon = start_daemon(
        *("--workers", "1", "--store", str(tmp_path / "volume" / "store")),
        wrap=("unshare", "--mount", "sh", "-c", script, "sh"),
    )
    assert 200 == upload(daemon, b"x" * 150_000_000)
    assert 507 == upload(daemon, b"y" * 50_000_000)
    assert "/volume/store (leaving 10 MiB free), images" in daemon.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_limit_of_file_sizes_refuses_an_upload_with_413(start_daemon, workers):
    daemon = start_daemon("--workers", workers, wrap=("sh", "-c", 'ulimit -f 2000; exec "$@"', "sh"))
    assert 413 == upload(daemon, b"x" * 5_000_000)
    assert 413 == upload(daemon, (b"x" * 1000 for _ in range(5000)))
    assert 200 == upload(daemon)
    assert 200 == requests.get(f"{daemon.url}health", timeout=30).status_code
    assert "Traceback" not in daemon.log


def test_limit_of_open_files_that_is_too_low_is_one_line(tmp_path):
    done = run(
        *("-n", "filestored", "--workers", "1", "--listen", "127.0.0.1:0"),
        cwd=str(tmp_path),
        wrap=("sh", "-c", 'ulimit -n 300; exec "$@"', "sh"),
    )
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert "Too many open files; raise the limit" in done.stderr


# --- socket activation without names ---------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_socket_without_a_name_is_accepted(start_daemon, workers):
    daemon = start_daemon("--workers", workers, listen="systemd:domain=INET:index=0", wrap=activation(None))
    assert 200 == upload(daemon)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:0", "localhost:0", "0", ":0"])
def test_short_endpoint_serves(start_daemon, endpoint):
    assert 200 == upload(start_daemon("--workers", "1", "--open", listen=endpoint))
