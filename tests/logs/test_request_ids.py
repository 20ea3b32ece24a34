"""Request ids: the response, the access log and the log of a daemon name the same one."""

import json
import os
import re

import pytest
import requests

from filestored.access.tokens import make_secret
from filestored.logs.access_log import format_end
from filestored.logs.log_line import from_event
from filestored.request_context import call_for_request
from tests.daemon_process import read, until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
MADE = "[0-9a-f]{32}"

COMBINED = re.compile(
    r'(\S+) (\S+) (\S+) \[([\w:/]+\s[+\-]\d{4})\] "(\S+) (\S+)\s*(\S+)?\s*" (\d{3}) (\S+) "([^"]*)" "([^"]*)"'
)
"""The combined format, as log analysers match it."""

IDS = ["client-1", "fe80::1/a=b+c@d~e_f.g", None, "not an id", "x" * 128, "x" * 129]


def get(daemon, path, request_id=None, session=requests):
    headers = {} if request_id is None else {"X-Request-Id": request_id}
    return session.get(daemon.url + path, headers=headers, timeout=30)


def store(daemon, data, request_id="stores"):
    response = requests.post(daemon.url, data=data, headers={"X-Request-Id": request_id}, timeout=30)
    return response.text.strip()


def damage(daemon, digest):
    """Change the first byte of a stored file."""
    path = os.path.join(daemon.store, digest[:2], digest)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"?")


@WORKERS
def test_lines_of_the_access_log_have_duration_and_id_behind_the_combined_format(
    start_daemon, tmp_path, workers
):
    access = str(tmp_path / "access")
    daemon = start_daemon("--workers", workers, "--access-log", access)
    digest, answered = store(daemon, b"hello"), []
    with requests.Session() as session:
        for path in (f"files/{digest}", "nothing", "health"):
            for request_id in IDS * 2:
                response = get(daemon, path, request_id, session)
                answered.append((f"/{path}", response.status_code, response.headers["X-Request-Id"]))
    daemon.end()
    logged = []
    for line in read(access).splitlines():
        found = COMBINED.match(line)
        assert found, line
        if found[5] == "POST":
            continue
        seconds, request_id = line[found.end() :].split()
        assert re.fullmatch(r"\d+\.\d{6}", seconds)
        logged.append((found[6], int(found[8]), request_id))
    assert sorted(answered) == sorted(logged)
    for position, (_, _, request_id) in enumerate(answered):
        sent = IDS[position % len(IDS)]
        assert request_id == sent if sent in (*IDS[:2], IDS[4]) else re.fullmatch(MADE, request_id)
    assert 3 * 6 == len({request_id for _, _, request_id in answered if re.fullmatch(MADE, request_id)})


@WORKERS
def test_json_lines_of_the_access_log_have_the_id(start_daemon, tmp_path, workers):
    daemon = start_daemon("--workers", workers, "--log-json", "--access-log", "-")
    digest = store(daemon, b"hello", "first")
    with requests.Session() as session:
        ids = [get(daemon, f"files/{digest}", each, session).headers["X-Request-Id"] for each in IDS]
    daemon.end()
    lines = [json.loads(line) for line in read(str(tmp_path / "log")).splitlines()]
    found = [line for line in lines if line["source"] == "access"]
    assert sorted(["first", *ids]) == sorted(line["request_id"] for line in found)
    assert all(line["message"].endswith(f" {line['request_id']}") for line in found)
    assert [] == [line for line in lines if "request_id" in line and line["source"] != "access"]


@WORKERS
@pytest.mark.parametrize("size", [5, 100_000])
def test_each_line_that_a_request_causes_has_its_id(start_daemon, workers, size):
    """Logged where a read fails, where a file is compared in an I/O thread, and beside a traceback."""
    daemon = start_daemon("--workers", workers)
    data = b"h" * size
    digest = store(daemon, data)
    for number in range(2):
        damage(daemon, digest)
        read_id, store_id = f"reads-{number}", f"stores-{number}"
        if size <= 64 * 1024:
            assert 500 == get(daemon, f"files/{digest}", read_id).status_code
            until(lambda name=f"[{read_id}]": name in daemon.log, "the failure is logged")
        assert digest == store(daemon, data, store_id)
        line = rf"\| ERROR +\| \d+ \S+ \| \[{store_id}\] {digest} moved to quarantine: "
        until(lambda line=line: re.search(line, daemon.log), "the repair is logged")
    daemon.end()
    named = re.findall(r"^.* \| (.*(?:damaged|unreadable|quarantine).*)$", daemon.log, re.MULTILINE)
    assert named
    assert [] == [line for line in named if not re.match(r"\[(reads|stores)-\d\] ", line)]


@pytest.mark.parametrize("json_option", [(), ("--log-json",)])
def test_id_in_the_form_of_a_secret_is_masked_in_both_logs(start_daemon, tmp_path, json_option):
    access, secret = str(tmp_path / "access"), make_secret()
    daemon = start_daemon("--workers", "1", "--access-log", access, *json_option)
    digest = store(daemon, b"hello")
    damage(daemon, digest)
    for _ in range(2):
        assert secret == get(daemon, f"files/{digest}", secret).headers["X-Request-Id"]
    until(lambda: "damaged" in daemon.log, "the failure is logged")
    daemon.end()
    assert 2 == read(access).count(" ***\n")
    assert '"request_id": "***"' in daemon.log if json_option else "[***]" in daemon.log
    assert secret not in read(access) + daemon.log


@pytest.mark.parametrize(
    ("request_id", "shown"),
    [
        (b"0123abcd", "0123abcd"),
        (b"a-b.c", "a-b.c"),
        (b"fst_0123456789", "***"),
        (b"x:fst_0123456789", "x:***"),
        (b"signature=abc", "signature=***"),
        (b"/imageapi/token/s3cr3t/x", "/imageapi/token/***/***"),
        (b"authorization:abc", "authorization:***"),
    ],
)
def test_secret_in_an_id_is_masked(request_id, shown):
    assert f" 0.500000 {shown}" == format_end(0.5, request_id)
    assert shown == call_for_request(request_id, from_event, {"log_format": "x"}).request_id


def test_line_has_the_id_of_its_event_else_that_of_the_context():
    assert "" == from_event({"log_format": "x"}).request_id
    assert "a" == call_for_request(b"a", from_event, {"log_format": "x"}).request_id
    assert "b" == call_for_request(b"a", from_event, {"log_format": "x", "request_id": b"b"}).request_id
    assert "" == call_for_request(b"a", from_event, {"log_format": "x", "request_id": b""}).request_id
