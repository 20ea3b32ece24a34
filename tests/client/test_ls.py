"""``filestored ls`` of a server, by pages."""

import json
import os

import pytest
import requests

from filestored.client.address import parse_server
from filestored.client.listing import list_files
from filestored.client.server import Server
from tests.client.cutting_proxy import CuttingProxy, Fault
from tests.daemon_process import TIMEOUT


@pytest.fixture(scope="module")
def open_daemon(share_daemon):
    """A daemon whose files can be listed, with 25 files."""
    daemon = share_daemon("--workers", "1", "--open")
    for number in range(25):
        requests.post(daemon.url, data=b"%d" % number, timeout=TIMEOUT)
    return daemon


@pytest.fixture
def stored(open_daemon, environment):
    environment.setenv("FILESTORED_SERVER", open_daemon.url)
    found = requests.get(f"{open_daemon.url}files/", timeout=TIMEOUT).json()["files"]
    assert 25 == len(found)
    return found


@pytest.mark.parametrize("page", [1, 7, 25, 1000])
def test_all_files_are_listed_by_pages(environment, open_daemon, stored, page):
    environment.setattr("filestored.client.listing.PAGE_FILES", page)
    with Server(parse_server(open_daemon.url)) as server:
        assert stored == [file._asdict() for file in list_files(server, "")]
        assert stored[:12] == [file._asdict() for file in list_files(server, "", limit=12)]


def test_forms_of_lines(run, stored):
    hashes = "".join(f"{each['hash']}\n" for each in stored)
    assert (0, hashes, "") == run("ls")
    long = "".join(f"{each['hash']}  {each['modified']}  {each['size']}\n" for each in stored)
    assert (0, long, "") == run("ls", "--long")
    status, out, err = run("ls", "--json", "--after", stored[9]["hash"].upper(), "--limit", "3")
    assert (0, "", stored[10:13]) == (status, err, [json.loads(line) for line in out.splitlines()])


def test_lines_of_a_server_are_those_of_its_store(run, open_daemon, stored):
    for words in ((), ("--long",), ("--json",), ("--after", "8", "--limit", "2")):
        assert run("ls", open_daemon.store, *words) == run("ls", *words)


def test_broken_page_is_requested_again(open_daemon, run, stored):
    with CuttingProxy(open_daemon.port, Fault(response_bytes=500)) as proxy:
        status, out, err = run("ls", "--server", proxy.url)
    assert (0, 25, "") == (status, out.count("\n"), err)


NO_LISTS = [
    b"no list",
    b"[]",
    b'{"files": [{}], "next": null}',
    b'{"files": 1}',
    b'{"files": [], "next": "\\ud800"}',
    b"[" * 200_000,
]


@pytest.mark.parametrize("data", NO_LISTS)
def test_other_response_is_one_line(open_daemon, run, data):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
    with CuttingProxy(open_daemon.port, Fault(reply=head + data)) as proxy:
        expected = (1, "", "filestored: the server has sent no list of files\n")
        assert expected == run("ls", "--server", proxy.url)


@pytest.mark.timeout(20)
def test_list_that_does_not_ascend_is_one_line(open_daemon, run):
    data = b'{"files": [], "next": "%b"}' % (b"0" * 64)
    page = Fault(reply=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    with CuttingProxy(open_daemon.port, page, page, page) as proxy:
        expected = (1, "", "filestored: the list of the server does not ascend\n")
        assert expected == run("ls", "--server", proxy.url)
        assert 2 == len(proxy.received)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS_HEADS = [b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED + b"fffffffffff\r\n", CHUNKED + b"-1\r\n"]


@pytest.mark.parametrize("head", ENDLESS_HEADS)
def test_endless_response_is_one_line(open_daemon, run, head):
    endless = Fault(reply=head + b"[" * (16 << 20))
    with CuttingProxy(open_daemon.port, endless) as proxy:
        expected = (1, "", f"filestored: {proxy.url} has sent too long a response\n")
        assert expected == run("ls", "--server", proxy.url)


def test_neither_store_nor_server_is_status_2(run):
    expected = "filestored: name a STORE, or a server by --server URL or FILESTORED_SERVER\n"
    assert (2, "", expected) == run("ls")
    assert [] == os.listdir()


def test_server_without_lists_is_one_line_that_names_the_options(client_daemon, run):
    status, out, err = run("ls", "--server", client_daemon.url)
    expected = (
        "filestored: 404 There is nothing at this address. "
        "Lists need the right list in an existing bucket, by --access, or a daemon with --open.\n"
    )
    assert (1, "", expected) == (status, out, err)


@pytest.mark.parametrize("words", [("put", "file"), ("link", "0" * 64, "--expires", "7d")])
def test_missing_server_is_an_error_that_names_the_option_and_the_variable(run, capfd, words):
    with pytest.raises(SystemExit):
        run(*words)
    assert "name a server with --server URL, or in FILESTORED_SERVER" in capfd.readouterr().err
