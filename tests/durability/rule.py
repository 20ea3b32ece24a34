"""The rule that makes an acknowledged file durable, asked of a list of system calls.

The bytes are sealed, flushed, then named; the name is flushed, then acknowledged. A flush is ``fsync`` or
``fdatasync`` of the very file or directory, or ``syncfs`` of the file system that both are on.
"""

import re
from collections.abc import Callable

from tests.durability.tracing import Call


def broken_rules(calls: list[Call], shard: str, answer: str) -> list[str]:
    """What is wrong with each file that was linked into the directory `shard`; empty when all is well.

    `answer` is how the acknowledgement begins, as strace prints it. Links and answers are taken in
    their order, so upload one file after the other.
    """
    links = [
        call for call in calls if call.name == "linkat" and call.result == 0 and f"{shard}>" in call.args
    ]
    sent = [call for call in calls if call.name in _SENDS and answer in call.args]
    if not links or len(links) != len(sent):
        return [f"{len(links)} links, {len(sent)} answers"]
    wrong = []
    for link, acknowledgement in zip(links, sent, strict=True):
        seal = _seal(calls, link)
        file = seal.args.rsplit(", ", 1)[0]
        if not _flushed(calls, file.__eq__, seal.ended, link.began):
            wrong.append("the bytes are not flushed when they are named")
        if not _flushed(calls, lambda args: args.endswith(f"{shard}>"), link.ended, acknowledgement.began):
            wrong.append("the name is not flushed when it is acknowledged")
    return wrong


def _flushed(calls: list[Call], of: Callable[[str], bool], after: int, before: int) -> bool:
    """Whether a flush began after one moment, and had returned, well, before another."""
    return any(
        call.result == 0
        and after <= call.began
        and call.ended < before
        and (call.name == "syncfs" or (call.name in _FLUSHES and of(call.args)))
        for call in calls
    )


def _seal(calls: list[Call], link: Call) -> Call:
    """The ``fchmod`` that closed the file linked; its first argument is how strace calls the file."""
    source = re.search(r"/proc/self/fd/(\d+)", link.args)
    assert source, link.args
    seals = [call for call in calls if call.name == "fchmod" and call.args.startswith(f"{source[1]}<")]
    return [seal for seal in seals if seal.ended < link.began][-1]


_SENDS = {"sendto", "sendmsg", "write", "writev"}
_FLUSHES = {"fsync", "fdatasync"}
