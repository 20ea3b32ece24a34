"""Sandbox of a decoder: no files, network or other processes (prctl(2), landlock(7), seccomp(2)).

In: a process with all its files open and all its modules loaded. Out: the same process, irrevocably without
new privileges and without all system calls that decoding does not need. Open descriptors stay usable.

Landlock denies access to the file system by name, TCP, abstract Unix sockets and signals, as far as the
kernel knows them. seccomp then fails all system calls but `ALLOWED` with EPERM. A kernel without one of the
two gets the other; `missing` names what is absent.

A decoder that needs threads may also call `ALLOWED_FOR_THREADS`, and clone(2) for a thread. clone3(2), whose
flags a filter cannot see, is ENOSYS then, after which the C library calls clone(2). The number of threads is
bounded by the address space and the processor time of a decoder, which all its threads share, and by TasksMax
of systemd. RLIMIT_NPROC is no bound: it counts all processes of a user, and root is exempt.

Rejected: a list of forbidden calls, which each new kernel makes incomplete; killing the process at a
forbidden call, because an unusual C library may try a harmless one.
"""

import ctypes
import errno
import os
import platform
import struct

ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "dup": (32, 23),
    "getpid": (39, 172),
    "exit": (60, 93),
    "fcntl": (72, 25),
    "ftruncate": (77, 46),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),  # fstat, as many C libraries call it
    "getrandom": (318, 278),
    "membarrier": (324, 283),
}
"""The system calls that a decoder may make, with their numbers on x86-64 and on AArch64."""

ALLOWED_FOR_THREADS = {"set_robust_list": (273, 99), "rseq": (334, 293)}
"""Further ones of the C library in a new thread."""

_CLONE, _CLONE3 = (56, 220), 435
_CLONE_THREAD_FLAGS = 0x3D0F00  # all flags of a thread by the C library; CLONE_VM to CLONE_CHILD_CLEARTID
_CLONE_DETACHED = 0x400000  # without a meaning to the kernel; musl sets it too

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_… of linux/audit.h
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_GET_SECCOMP = 21
_PR_SET_NO_NEW_PRIVS = 38
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_AND = 0x54  # BPF_ALU|AND|K
_SECCOMP_ALLOW, _SECCOMP_ERRNO = 0x7FFF0000, 0x00050000
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENT = 0, 4, 16  # in struct seccomp_data

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # on all architectures
_CREATE_RULESET_VERSION = 1
_FILE_ACCESSES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP_ACCESSES = {4: 0b11}
_SCOPES = {6: 0b11}  # abstract Unix sockets and signals of processes outside
"""Rights that each version of Landlock's interface can deny (linux/landlock.h)."""

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> list[str]:
    """Return the parts of the sandbox that this kernel or machine lacks."""
    absent = []
    if _landlock_version() < 1:
        absent.append("Landlock")
    if platform.machine() not in _ARCHITECTURES or _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        absent.append("seccomp")
    return absent


def forbid_new_privileges() -> None:
    """Deny new privileges to programs executed by this process. Raises `OSError`."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def apply(*, threads: bool = False) -> None:
    """Apply all available parts of the sandbox to this process, irrevocably. Raises `OSError`.

    `threads` allows new threads of this process.
    """
    absent = missing()
    forbid_new_privileges()
    if "Landlock" not in absent:
        _restrict_by_landlock(_landlock_version())
    if "seccomp" not in absent:
        _restrict_by_seccomp(*_ARCHITECTURES[platform.machine()], threads)


def _landlock_version() -> int:
    return int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION))


def _restrict_by_landlock(version: int) -> None:
    """Deny all rights that this version knows, by a ruleset without rules."""
    rights = [_known(each, version) for each in (_FILE_ACCESSES, _TCP_ACCESSES, _SCOPES)]
    while not rights[-1]:  # older kernels have shorter rulesets
        rights.pop()
    ruleset = struct.pack(f"{len(rights)}Q", *rights)
    descriptor = _checked(_libc.syscall(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), 0))
    try:
        _checked(_libc.syscall(_RESTRICT_SELF, descriptor, 0))
    finally:
        os.close(descriptor)


def _known(rights: dict[int, int], version: int) -> int:
    return sum(bits for since, bits in rights.items() if since <= version)


def _restrict_by_seccomp(architecture: int, column: int, threads: bool) -> None:
    allowed = ALLOWED | ALLOWED_FOR_THREADS if threads else ALLOWED
    clone = _CLONE[column] if threads else None
    program = _filter(architecture, sorted(numbers[column] for numbers in allowed.values()), clone)
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count, padding up to the next pointer, a pointer
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0))


def _filter(architecture: int, numbers: list[int], clone: int | None = None) -> bytes:
    """Return a BPF program that allows these system calls; all others fail with EPERM.

    `clone` is the number of clone(2) if threads are allowed.
    """
    thread_steps = [] if clone is None else _thread_steps(clone)
    count = len(numbers) + len(thread_steps)
    steps = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_JUMP_IF_EQUAL, 0, count + 1, architecture),
        (_LOAD, 0, 0, _AT_NUMBER),
        *((_JUMP_IF_EQUAL, count + 1 - index, 0, number) for index, number in enumerate(numbers)),
        *thread_steps,
        (_RETURN, 0, 0, _SECCOMP_ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _SECCOMP_ERRNO | errno.ENOSYS),
        (_RETURN, 0, 0, _SECCOMP_ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _thread_steps(clone: int) -> list[tuple[int, int, int, int]]:
    """Return the steps before the last three, which fail with EPERM, fail with ENOSYS, and allow."""
    return [
        (_JUMP_IF_EQUAL, 5, 0, _CLONE3),
        (_JUMP_IF_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _AT_ARGUMENT),
        (_AND, 0, 0, 0xFFFFFFFF & ~_CLONE_DETACHED),
        (_JUMP_IF_EQUAL, 2, 0, _CLONE_THREAD_FLAGS),
    ]


def _checked(result: int) -> int:
    """Return the result of a system call, or raise its `OSError`."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
