"""Durability rule of an acknowledged file, checked on a list of system calls.

The bytes are sealed, flushed, then named; the name is flushed, the flush is confirmed, then the name is
acknowledged. A flush is ``fsync`` or ``fdatasync`` of the file or directory, or ``syncfs`` of its file
system. ``fsync`` of a directory is confirmed by a later call that reports a shutdown of the file system:
 ``fsync`` or ``pread64`` of ``FORMAT``; ``syncfs`` needs no confirmation.
"""

import os
import re
from collections.abc import Callable

from tests.durability.tracing import Call


def broken_rules(calls: list[Call], shard: str, answer: str) -> list[str]:
    """Return the errors of all files linked into the directory `shard`; empty without errors.

    `answer` is the beginning of the acknowledgement, as strace prints it. Links and answers are matched in
    order, so files are uploaded one after the other.
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
        wrong += _wrong_with_name(calls, shard, link.ended, acknowledgement.began)
    return wrong


def unconfirmed(calls: list[Call], answer: str) -> list[str]:
    """Return the last directory flushed before each such answer without a confirmation between."""
    found = []
    for sent in (call for call in calls if call.name in _SENDS and answer in call.args):
        flushes = [call for call in calls if _is_of_directory(call) and call.ended < sent.began]
        if flushes and not _confirmed(calls, flushes[-1].ended, sent.began):
            found.append(flushes[-1].args)
    return found


def _wrong_with_name(calls: list[Call], shard: str, after: int, before: int) -> list[str]:
    """Return the errors of the flushes of a name between its link and its acknowledgement."""
    flushed = [
        call.ended
        for call in calls
        if call.name in _FLUSHES and call.args.endswith(f"{shard}>") and after <= call.began < before
    ]
    if not flushed and not _flushed(calls, lambda args: False, after, before):
        return ["the name is not flushed when it is acknowledged"]
    if flushed and not _confirmed(calls, flushed[0], before):
        return ["the flush of the name is not confirmed when it is acknowledged"]
    return []


def _confirmed(calls: list[Call], after: int, before: int) -> bool:
    confirmations = [call for call in calls if call.name in _CONFIRMS and "/FORMAT>" in call.args]
    return _flushed(calls, lambda args: False, after, before) or any(
        call.result >= 0 and after <= call.began and call.ended < before for call in confirmations
    )


def _is_of_directory(call: Call) -> bool:
    path = re.search(r"<(.*)>$", call.args)
    return call.name in _FLUSHES and call.result == 0 and path is not None and os.path.isdir(path[1])


def _flushed(calls: list[Call], of: Callable[[str], bool], after: int, before: int) -> bool:
    """Return whether a flush began after one position and returned, without error, before another."""
    return any(
        call.result == 0
        and after <= call.began
        and call.ended < before
        and (call.name == "syncfs" or (call.name in _FLUSHES and of(call.args)))
        for call in calls
    )


def _seal(calls: list[Call], link: Call) -> Call:
    """Return the ``fchmod`` of the linked file; its first argument is the file as strace prints it."""
    source = re.search(r"/proc/self/fd/(\d+)", link.args)
    assert source, link.args
    seals = [call for call in calls if call.name == "fchmod" and call.args.startswith(f"{source[1]}<")]
    return [seal for seal in seals if seal.ended < link.began][-1]


_SENDS = {"sendto", "sendmsg", "write", "writev"}
_FLUSHES = {"fsync", "fdatasync"}
_CONFIRMS = {"fsync", "pread64"}
