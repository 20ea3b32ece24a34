"""Programs and libraries that upload a file, each run as a process of its own.

`CLIENTS` maps the name of a client to its function: it gets requests as ``(method, url, fields)`` and the
path of a file, sends one after the other, each over a connection of its own, and returns a list of statuses
and bodies. Status 0 and an error message stand for a client that reports no response.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any
from urllib.parse import urlsplit

from tests.clients.python_client import CLIENTS as PYTHON_CLIENTS

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 110
PYTHON = (sys.executable, os.path.join(HERE, "python_client.py"))
NODE = ("node", os.path.join(HERE, "node_client.mjs"))

Request = tuple[str, str, Mapping[str, str]]
Answer = tuple[int, str]
Send = Callable[[Sequence[Request], str], list[Answer]]


def run(words: Sequence[str], **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run a client to its end."""
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False, **more)


def by_library(program: Sequence[str], name: str, requests: Sequence[Request], path: str) -> list[Answer]:
    """Run a program that reads its requests as JSON."""
    done = run(program, input=json.dumps({"client": name, "file": path, "requests": requests}))
    assert 0 == done.returncode, done.stderr
    return [(status, body) for status, body in json.loads(done.stdout)]


def by_curl(options: str, requests: Sequence[Request], path: str) -> list[Answer]:
    """Run curl once for each request; exit status 0 means that it read a response without an error."""
    answers = []
    for method, url, fields in requests:
        words = _filled(options, FILE=path, TARGET=urlsplit(url).path)
        words += [word for name, value in fields.items() for word in ("-H", f"{name}: {value}")]
        with open(path, "rb") as file:
            done = run(["curl", "-sS", "-X", method, "-w", "\n%{http_code}", *words, url], stdin=file)
        body, _, status = done.stdout.rpartition("\n")
        answers.append((int(status), body) if done.returncode == 0 else (0, done.stderr))
    return answers


def by_wget(options: str, requests: Sequence[Request], path: str) -> list[Answer]:
    """Run wget once for each request; exit statuses 6 and 8 mean that it read a 401, or another error."""
    answers = []
    for method, url, fields in requests:
        words = _filled(options, FILE=path, METHOD=method)
        words += [f"--header={name}: {value}" for name, value in fields.items()]
        done = run(["wget", "-nv", "-S", "-t", "1", "-O", "-", "--content-on-error", *words, url])
        status = re.findall(r"^  HTTP/1\.1 (\d+)", done.stderr, re.MULTILINE)[-1:]
        answers.append((int(*status), done.stdout) if done.returncode in (0, 6, 8) else (0, done.stderr))
    return answers


def _filled(words: str, **values: str) -> list[str]:
    """Split words at blanks, and replace the upper-case names of `values` in them."""
    return [reduce(lambda text, each: text.replace(*each), values.items(), word) for word in words.split()]


RAW = "-H Content-Type:application/octet-stream"
CURL = {
    "data": f"{RAW} --data-binary @FILE",
    "data without Expect": f"{RAW} -H Expect: --data-binary @FILE",
    "data of HTTP/1.0": f"{RAW} --http1.0 --data-binary @FILE",
    "file": "-T FILE --request-target TARGET",
    "file without Expect": "-H Expect: -T FILE --request-target TARGET",
    "chunked": "-T -",
    "chunked without Expect": "-H Expect: -T -",
    "form": "-F note=text -F file=@FILE",
    "form without Expect": "-H Expect: -F note=text -F file=@FILE",
    "chunked form": "-H Transfer-Encoding:chunked -F file=@FILE",
}
WGET = {
    "file": "--header=Content-Type:application/octet-stream --method=METHOD --body-file=FILE",
}
NODE_CLIENTS = [
    "fetch bytes",
    "fetch chunked",
    "fetch form",
    "axios bytes",
    "axios file",
    "axios chunked",
    "axios form",
]

CLIENTS: dict[str, Send] = {
    **{f"curl {name}": partial(by_curl, words) for name, words in CURL.items()},
    **{f"wget {name}": partial(by_wget, words) for name, words in WGET.items()},
    **{name: partial(by_library, PYTHON, name) for name in PYTHON_CLIENTS},
    **{name: partial(by_library, NODE, name) for name in NODE_CLIENTS},
}


def tools(name: str) -> tuple[str, ...]:
    """Return the tools of a client, as the marker ``needs`` takes them."""
    first = name.split()[0]
    return {"curl": ("curl",), "wget": ("wget",), "fetch": ("node",), "axios": ("node", "axios")}.get(
        first, ()
    )
