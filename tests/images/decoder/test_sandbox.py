"""Sandbox of decoders: no file but the input, no network, no other process; every format still decodes."""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import tempfile
import threading
from functools import partial

import pytest
import pytest_twisted
from PIL import ImageCms
from twisted.internet import reactor

from filestored.images.decoder import __main__ as decoder_main
from filestored.images.decoder import pillow, plugins, pool, sandbox
from filestored.images.decoder.messages import Request, Status
from filestored.images.decoder.pixel_limits import PixelLimits
from filestored.images.decoder.plugins import prepare
from filestored.images.decoder.pool import DecoderPool
from filestored.images.decoder.resource_limits import ResourceLimits, confine
from filestored.settings import MAX_PIXELS
from tests.daemon_process import read
from tests.images.decodable_images import CAMERA, PICTURE, SAMPLES, encode, four_corners
from tests.images.decoder.camera_corpus import heic
from tests.images.decoder.decoder_processes import (
    LABORIOUS,
    fork_of,
    processes_of,
)
from tests.reactor_wait import until

BOUNDS = ResourceLimits(memory=16 * 1024**3)
"""The test's own process, which forks here, is larger than a decoder process."""

LIMITS = PixelLimits(MAX_PIXELS, 2**30)

prepare(MAX_PIXELS)
libc = ctypes.CDLL(None, use_errno=True)


def confined(function, file=None):
    """Return the result of `function` in a forked decoder, or the name of the errno of its error."""
    parent = os.getpid()
    with tempfile.TemporaryFile() as result:
        kept = [result.fileno(), *([file.fileno()] if file else [])]
        child = os.fork()
        if child == 0:
            try:
                confine(BOUNDS, parent, kept)
                result.write(json.dumps(attempt(function)).encode())
                result.flush()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        result.seek(0)
        return json.loads(result.read() or b'"died"')


def attempt(function):
    try:
        return function()
    except OSError as error:
        return errno.errorcode[error.errno]
    except RuntimeError as error:  # a thread that can't be started
        return str(error)


def system_call(number):
    """A system call without arguments, by its number."""
    if libc.syscall(number, 0, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def connect(family, address):
    with socket.socket(family) as peer:
        peer.connect(address)


def bind(address):
    with socket.socket() as peer:
        peer.bind(address)


def reopen(descriptor):
    os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY))


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "KEY"
    path.write_text("secret")
    return str(path)


# --- what a decoder that was taken over can do -------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda path: os.open("/etc/passwd", os.O_RDONLY),
        lambda path: os.open(path, os.O_RDONLY),
        lambda path: os.open(path + ".new", os.O_WRONLY | os.O_CREAT),
        lambda path: os.open("/proc/self/environ", os.O_RDONLY),
        lambda path: os.open(os.path.dirname(path), os.O_RDWR | os.O_TMPFILE),
        lambda path: reopen(0),
        lambda path: os.listdir("/"),
        lambda path: os.readlink("/proc/self/exe"),
        lambda path: os.mkdir(path + ".dir"),
        lambda path: os.unlink(path),
        lambda path: os.rename(path, path + ".moved"),
        lambda path: os.symlink(path, path + ".link"),
        lambda path: os.link(path, path + ".link"),
        lambda path: os.chmod(path, 0o777),
        lambda path: os.truncate(path, 0),
        lambda path: os.chdir("/"),
    ],
)
def test_sandbox_denies_files_by_name(key, call):
    assert confined(partial(call, key)) in ("EPERM", "EACCES")
    assert os.listdir(os.path.dirname(key)) == ["KEY"]
    assert read(key) == "secret"


@pytest.mark.parametrize(
    "call",
    [
        lambda: socket.socket().close(),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        lambda: socket.socket(socket.AF_UNIX).close(),
        lambda: socket.socketpair(),
        lambda: connect(socket.AF_INET, ("127.0.0.1", 9)),
        lambda: connect(socket.AF_UNIX, "\0abstract"),
        lambda: bind(("127.0.0.1", 0)),
    ],
)
def test_sandbox_denies_the_network(call):
    assert confined(call) in ("EPERM", "EACCES")


@pytest.mark.parametrize(
    "call",
    [
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.fork(),
        lambda: threading.Thread(target=int).start(),
        lambda: os.kill(os.getppid(), 0),
        lambda: os.kill(os.getppid(), signal.SIGTERM),
        lambda: os.kill(1, signal.SIGCONT),
        lambda: os.pidfd_open(1),
        lambda: os.memfd_create("more"),
        lambda: os.setsid(),
    ],
)
def test_sandbox_denies_processes_and_signals(call):
    assert confined(call) in ("EPERM", "can't start new thread")


NEWER_CALLS = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "open_tree": 428,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "process_mrelease": 448,
}
"""System calls by which files and processes are reached; their numbers are those of all architectures."""


@pytest.mark.parametrize("number", NEWER_CALLS.values(), ids=NEWER_CALLS)
def test_sandbox_denies_system_calls_not_allowed(number):
    assert confined(partial(system_call, number)) == "EPERM"


def test_sandbox_inherits_only_input_and_result(key):
    def descriptors():
        found = []
        for number in range(64):
            try:
                os.fstat(number)
            except OSError:
                continue
            found.append(number)
        return found

    with open(key) as inherited, tempfile.TemporaryFile() as file, socket.socket():
        os.set_inheritable(inherited.fileno(), True)
        found = confined(descriptors, file)
    assert found[:3] == [0, 1, 2]
    assert len(found) == 5


# --- each part by itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: os.open("/etc/passwd", os.O_RDONLY), "EACCES"),
        (lambda: os.open("/", os.O_RDWR | os.O_TMPFILE), "EACCES"),
        (lambda: os.listdir("/"), "EACCES"),
        (lambda: os.execv("/bin/true", ["true"]), "EACCES"),
        (lambda: bind(("127.0.0.1", 0)), "EACCES"),
        (lambda: connect(socket.AF_INET, ("127.0.0.1", 9)), "EACCES"),
        (lambda: os.kill(os.getppid(), 0), "EPERM"),
        (lambda: os.getpid() > 0, True),
    ],
)
def test_landlock_denies_files_without_seccomp(monkeypatch, call, expected):
    monkeypatch.setattr(sandbox, "missing", lambda: ["seccomp"])
    assert confined(call) == expected


@pytest.mark.parametrize(
    "call", [lambda: os.open("/etc/passwd", os.O_RDONLY), lambda: socket.socket().close(), os.fork]
)
def test_seccomp_denies_files_without_landlock(monkeypatch, call):
    monkeypatch.setattr(sandbox, "missing", lambda: ["Landlock"])
    assert confined(call) == "EPERM"


def test_decoder_without_landlock_and_seccomp_has_no_new_privileges(monkeypatch):
    monkeypatch.setattr(sandbox, "missing", lambda: ["Landlock", "seccomp"])
    assert "NoNewPrivs:\t1" in confined(lambda: read("/proc/self/status"))


@pytest.mark.parametrize(
    ("version", "sizes"), [(1, 8), (2, 8), (3, 8), (4, 16), (5, 16), (6, 24), (7, 24), (99, 24)]
)
def test_landlock_ruleset_matches_its_version(monkeypatch, version, sizes):
    calls = []

    class Libc:
        @staticmethod
        def syscall(*arguments):
            calls.append(arguments)
            return os.dup(0) if arguments[0] == 444 else 0

    monkeypatch.setattr(sandbox, "_libc", Libc)
    sandbox._restrict_by_landlock(version)
    (_, ruleset, size, flags), (number, _, _) = calls
    assert (len(ruleset), size.value, flags, number) == (sizes, sizes, 0, 446)
    files = struct.unpack_from("Q", ruleset)[0]
    assert files.bit_length() == {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    assert files.bit_count() == files.bit_length()


def interpret(program, architecture, number, argument=0):
    """Return the action of a seccomp filter for a system call (linux/filter.h)."""
    steps = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    data = struct.pack("<IIQQ", number, architecture, 0, argument)
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = steps[at]
        if code == 0x06:
            return value
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
            at += 1
        elif code == 0x54:
            accumulator &= value
            at += 1
        else:
            assert code == 0x15
            at += 1 + (if_true if accumulator == value else if_false)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_seccomp_filter_allows_its_calls_and_no_other(machine):
    architecture, column = sandbox._ARCHITECTURES[machine]
    numbers = sorted(each[column] for each in sandbox.ALLOWED.values())
    assert len(numbers) == len(set(numbers))
    program = sandbox._filter(architecture, numbers)
    allowed = {number for number in range(1000) if interpret(program, architecture, number) == 0x7FFF0000}
    assert allowed == set(numbers)
    refusal = 0x00050000 | errno.EPERM
    assert {interpret(program, architecture, number | 0x40000000) for number in numbers} == {refusal}  # x32
    assert {interpret(program, 0x40000003, number) for number in range(500)} == {refusal}  # i386


@pytest.mark.parametrize(("machine", "clone"), [("x86_64", 56), ("aarch64", 220)])
def test_seccomp_filter_with_threads_allows_clone_for_a_thread_only(machine, clone):
    architecture, column = sandbox._ARCHITECTURES[machine]
    numbers = sorted(each[column] for each in sandbox.ALLOWED.values())
    program = sandbox._filter(architecture, numbers, clone)
    allowed = {number for number in range(1000) if interpret(program, architecture, number) == 0x7FFF0000}
    assert allowed == set(numbers)
    of_threads = {"glibc": 0x3D0F00, "musl": 0x7D0F00}
    others = (0x11, 0, 0x3C0F00, 0x400011, 0x13D0F00)
    found = {name: interpret(program, architecture, clone, flags) for name, flags in of_threads.items()}
    assert dict.fromkeys(of_threads, 0x7FFF0000) == found
    assert {interpret(program, architecture, clone, flags) for flags in others} == {0x00050000 | errno.EPERM}
    assert interpret(program, architecture, 435) == 0x00050000 | errno.ENOSYS
    assert interpret(program, 0x40000003, clone, 0x3D0F00) == 0x00050000 | errno.EPERM


# --- decoding ----------------------------------------------------------------------------------------

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MORE = {
    "png with a profile": encode(PICTURE, "PNG", icc_profile=PROFILE),
    "jpeg with a profile": encode(PICTURE, "JPEG", icc_profile=PROFILE),
    "png with a broken profile": encode(PICTURE, "PNG", icc_profile=b"nonsense"),
    "jpeg on its side": four_corners(6, "JPEG"),
    "tiff on its side": four_corners(6, "TIFF"),
    "tiff deflate": encode(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    "tiff g4": encode(PICTURE.convert("1"), "TIFF", compression="group4"),
    "sgi rle": SAMPLES["sgi"],
    "large": encode(PICTURE.resize((3000, 2000)), "JPEG"),
}
EVERYTHING = {**SAMPLES, **CAMERA, **MORE}


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_format_decodes_in_the_sandbox_as_outside(name):
    def make():
        media_type, data = pillow.thumbnail(file, 40, 2048, LIMITS)
        return [media_type, data.hex()]

    with tempfile.TemporaryFile() as file:
        file.write(EVERYTHING[name])
        file.seek(0)
        assert confined(lambda: pillow.verify(file, LIMITS), file) is None
        expected = make()
        file.seek(0)
        assert confined(make, file) == expected


def status_of(pid):
    lines = read(f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest_twisted.ensureDeferred
async def test_decoder_of_the_pool_is_in_the_sandbox(make_decoder_pool, blob_of, monkeypatch):
    for name in ("NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "FILESTORED_OPTIONS"):
        monkeypatch.setenv(name, "/secret/place")
    decoder_pool = make_decoder_pool()
    checked = decoder_pool.verify(await blob_of(LABORIOUS), "anna")
    fork = await fork_of(decoder_pool)
    await until(lambda: status_of(fork).get("Seccomp") == "2")
    (decoder_process,) = processes_of(decoder_pool)
    assert (status_of(fork)["NoNewPrivs"], status_of(decoder_process)["NoNewPrivs"]) == ("1", "1")
    targets = [os.readlink(f"/proc/{fork}/fd/{each}") for each in os.listdir(f"/proc/{fork}/fd")]
    assert targets.count("/dev/null") == 3
    assert len(set(targets)) == 3  # its input, which the decoder may have open twice, and its result
    for pid in (fork, decoder_process):
        assert "/secret/place" not in read(f"/proc/{pid}/environ")
    checked.addErrback(lambda _: None).cancel()


def test_decoder_that_cannot_be_confined_decodes_nothing(monkeypatch):
    def fail(*_):
        raise OSError(errno.EPERM, "as told")

    monkeypatch.setattr(decoder_main, "confine", fail)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as result:
        file.write(SAMPLES["gif"])
        file.seek(0)
        with monkeypatch.context() as patched:
            patched.setattr(decoder_main, "_wait", lambda child: None)
            assert (
                decoder_main._decode_in_child(Request(len(SAMPLES["gif"])), file, result, BOUNDS)
                is Status.UNDECIDED
            )


@pytest.mark.parametrize("installed", [True, False])
def test_threads_are_allowed_for_heic_only_where_it_is_decoded(monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(plugins, "FORMATS", [each for each in plugins.FORMATS if each != "HEIF"])
    found = {}
    for name in ("heic", "gif"):
        with tempfile.TemporaryFile() as file:
            file.write(heic() if name == "heic" else SAMPLES["gif"])
            file.flush()
            found[name] = decoder_main._needs_threads(file)
    assert {"heic": installed, "gif": False} == found


class FakeLog:
    """A log that keeps what the kernel lacks."""

    def __init__(self, lines):
        self._lines = lines

    def warn(self, text, absent):
        self._lines.append(absent)


@pytest.mark.parametrize(
    ("absent", "lines"),
    [([], []), (["Landlock"], ["Landlock"]), (["Landlock", "seccomp"], ["Landlock and seccomp"])],
)
def test_missing_sandbox_parts_are_logged_once(monkeypatch, absent, lines):
    logged = []
    monkeypatch.setattr(sandbox, "missing", lambda: absent)
    monkeypatch.setattr(pool, "_log", FakeLog(logged))
    DecoderPool(reactor)
    assert logged == lines
