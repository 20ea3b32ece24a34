"""The page on limits: each row has the value of the program, and each limit of HTTP has a row."""

import inspect
import re
from dataclasses import fields

from filestored import settings
from filestored.access import access_file
from filestored.daemon import backoff
from filestored.daemon.monitoring import monitor
from filestored.daemon.options import Options
from filestored.http.limits import Limits
from filestored.images import filenames
from filestored.images.decoder import pixel_limits, pool
from filestored.images.decoder.resource_limits import ResourceLimits
from filestored.images.thumbnails import cache, thumbnails
from filestored.logs import writer_thread
from filestored.storage import admission, store
from filestored.storage.object_store import client
from filestored.web import listing
from filestored.web.forms import multipart_parser, part_head
from filestored.web.headers import ranges
from filestored.web.imageapi import stream_limit
from tests.docs.pages import text

PAGE = "docs/limits.md"


def size(number: int) -> str:
    """Return a number of bytes as the page has it."""
    for unit, count in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= count:
            return f"{number // count} {unit}"
    return f"{number} bytes"


def seconds(number: float) -> str:
    """Return a time as the page has it."""
    return f"{number:g} s"


def count(number: int) -> str:
    """Return a number as the page has it."""
    return f"{number:,}"


def default(option: str) -> str:
    """Return the default of an option."""
    (found,) = (value for name, _, value, _ in Options.optParameters if name == option)
    assert found is not None
    return found


HTTP = {
    "connections": ("connections of a worker process", count),
    "request_line": ("request line", size),
    "field_line": ("one header line", size),
    "head": ("request line and all header lines", size),
    "fields": ("header lines", count),
    "chunk_line": ("line with the size of a chunk", size),
    "trailers": ("trailers behind a chunked body", size),
    "keep_alive_timeout": ("time between two requests", seconds),
    "head_timeout": ("time from the first byte of a head to its last", seconds),
    "body_stall_timeout": ("time without a byte of a body", seconds),
    "body_window": ("time over which the rate of a body is measured", seconds),
    "body_rate": ("rate of a body over that time", lambda number: f"{size(number)}/s"),
    "write_timeout": ("time in which a client takes nothing of a response", seconds),
    "linger_timeout": ("time in which a refused body is discarded", seconds),
    "linger_stall_timeout": ("time without a byte of a refused body", seconds),
    "linger_drain_timeout": ("the same while the daemon stops", seconds),
}
"""The row of each limit of a connection, and the form of its value."""

OTHERS = {
    "size of an upload; of all files of a form together": size(store.MAX_SIZE),
    "uploads of a worker process that write at once": count(settings.MAX_UPLOADS),
    "bytes of an upload that need no such place": size(admission.MAX_BYTES_WITHOUT_SLOT),
    "rate below which an upload may lose its place": f"{size(admission.MIN_RATE)}/s",
    "free space that uploads leave": (
        f"{size(admission.MAX_DEFAULT_RESERVE_BYTES)}, or {admission.DEFAULT_RESERVE_PERCENT} %"
    ),
    "parts of a form": count(multipart_parser.MAX_PARTS),
    "header of a part": size(multipart_parser.MAX_PART_HEAD_BYTES),
    "header lines of a part": count(part_head.MAX_PART_HEADERS),
    "bytes of a field that is no file": size(multipart_parser.MAX_FIELD_BYTES),
    "bytes of a form beside its files": size(multipart_parser.MAX_FORM_OVERHEAD_BYTES),
    "ranges in one request": count(ranges.MAX_RANGES),
    "files in one page of a list": count(listing.MAX_PAGE_FILES),
    "highest `--keep-alive` and `--drain`": f"{settings.MAX_SECONDS:,} s",
    "time for running requests at a stop": seconds(float(default("drain"))),
    "size of an image file, with the extra `images`": size(pool.MAX_FILE_BYTES),
    "pixels of a frame": count(settings.MAX_PIXELS),
    "frames of an image": count(pixel_limits.MAX_FRAMES),
    "memory of a decoder": size(ResourceLimits().memory),
    "processor time of a decoder": seconds(ResourceLimits().seconds),
    "images that are decompressed at once": count(stream_limit.MAX_STREAMS),
    "images of one account that are decompressed at once": count(stream_limit.MAX_STREAMS_PER_OWNER),
    "width and height of a thumbnail": count(thumbnails.MAX_SIDE_PIXELS),
    "bytes of the name of an image": count(filenames.MAX_NAME_BYTES),
    "thumbnails that are cached": size(cache.MAX_CACHE_BYTES),
    "worker processes at most": count(settings.MAX_WORKERS),
    "time for an operation of the object store": seconds(settings.ENGINE_TIMEOUT_SECONDS),
    "part of an upload into an object store": size(client.PART_BYTES),
    "bytes that `--verify-every` reads per second": f"{size(settings.VERIFY_RATE)}/s",
    "connections to the address of `--metrics`": count(monitor.MAX_CONNECTIONS),
    "size of the access file": size(access_file.MAX_BYTES),
    "quick exits of a worker in a row before a delay": count(backoff.MAX_QUICK_EXITS),
    "delay before the next start of a worker": seconds(backoff.MAX_RESTART_DELAY_SECONDS),
    "text that waits for a log which cannot be written": size(writer_thread.MAX_QUEUED_BYTES),
    "open buckets of a worker process": count(settings.MAX_OPEN_BUCKETS),
}
"""Rows of other limits, with the value of the program."""

DECODERS = {
    "processes": "decoders of a worker process at once",
    "max_waiting": "images that wait for a decoder",
    "max_waiting_each": "images of one account that wait for a decoder",
}
"""Rows of parameters of `DecoderPool`."""

WITHOUT_VALUE = {
    "bytes and files of a bucket",
    "lifetime of the files of a bucket",
    "worker processes",
    "open files of a worker process",
}
"""Rows whose default is no number of the program."""


def rows() -> dict[str, list[str]]:
    """Return the cells behind the first one of each row."""
    lines = re.findall(r"^\| (?!---|limit)(.*) \|$", text(PAGE), re.MULTILINE)
    return {
        first: rest for first, *rest in ([cell.strip() for cell in re.split(r" \|", line)] for line in lines)
    }


def test_limits_on_the_page_have_the_values_of_the_program():
    limits = Limits()
    decoders = inspect.signature(pool.DecoderPool).parameters
    expected = {
        **{row: form(getattr(limits, name)) for name, (row, form) in HTTP.items()},
        **{row: count(decoders[name].default) for name, row in DECODERS.items()},
        **OTHERS,
    }
    assert expected == {row: cells[0] for row, cells in rows().items() if row not in WITHOUT_VALUE}


def test_page_has_each_limit_of_a_connection():
    assert {field.name for field in fields(Limits)} == set(HTTP)


def test_options_of_the_page_are_those_of_the_daemon():
    known = {name for name, *_ in Options.optParameters + Options.optFlags}
    named = {name for cells in rows().values() for name in re.findall(r"`--([a-z-]+)`", cells[1])}
    assert named <= known
    bounds = ("max-", "keep-alive", "drain", "reserve", "workers", "engine-timeout")
    assert {name for name in known if name.startswith(bounds)} <= named
