"""Uploads through nginx, HAProxy and Caddy with the configurations in deploy/, their buffering on and off."""

import os
from contextlib import ExitStack
from functools import partial
from hashlib import sha256

import pytest

from tests.clients.refusals import REFUSALS, refusing_daemons
from tests.clients.uploading_clients import RAW, by_curl
from tests.daemon.reverse_proxy import NAME, ask, connector, curl_options, running_proxy, shipped

pytestmark = pytest.mark.slow

SIZE = 30_000_000
HOST = ("--host", NAME, "--trusted-proxy", "127.0.0.1")
BUFFERING = {
    "nginx": ("proxy_request_buffering off;", "proxy_request_buffering on;"),
    "haproxy": ("mode http\n", "mode http\n    option http-buffer-request\n"),
    "caddy": ("reverse_proxy 127.0.0.1:9000 {", "reverse_proxy 127.0.0.1:9000 {\n\t\tbuffer_requests"),
}
"""Text of each configuration, and text that turns request buffering on."""

VARIANTS = [(tool, buffered) for tool in BUFFERING for buffered in (False, True)]


def parameters(variants):
    return [
        pytest.param(tool, buffered, id=f"{tool} {buffered=}", marks=pytest.mark.needs(tool))
        for tool, buffered in variants
    ]


PROXIES = parameters(VARIANTS)
DRAINING_PROXIES = parameters(variant for variant in VARIANTS if variant != ("caddy", False))
"""Proxies that read all of a refused body. Caddy closes half a second after it, see deploy/Caddyfile."""

CURL = {
    "data": f"{RAW} --data-binary @FILE",
    "data without Expect": f"{RAW} -H Expect: --data-binary @FILE",
    "chunked": "-T -",
    "form": "-F file=@FILE",
}


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    with refusing_daemons(str(tmp_path_factory.mktemp("refusing")), *HOST) as started:
        yield started


@pytest.fixture
def front(tmp_path):
    """A function that starts a proxy in front of a daemon, and returns the address that it listens on."""
    with ExitStack() as running:

        def start(tool, buffered, daemon):
            text = shipped(tool, "127.0.0.1:9000")
            if buffered:
                assert BUFFERING[tool][0] in text
                text = text.replace(*BUFFERING[tool])
            text = text.replace("127.0.0.1:9000", f"127.0.0.1:{daemon.port}")
            directory = str(tmp_path / f"front{daemon.port}")
            return running.enter_context(running_proxy(tool, text, directory))

        yield start


@pytest.fixture
def content(tmp_path):
    """The path of a file, and its bytes."""
    data = os.urandom(1 << 20) * (SIZE >> 20) + b"the end"
    (tmp_path / "x").write_bytes(data)
    return str(tmp_path / "x"), data


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("tool", "buffered"), PROXIES)
def test_proxy_passes_uploads_downloads_and_ranges(front, daemons, content, tool, buffered):
    path, data = content
    address = front(tool, buffered, daemons["plain"])
    digest = sha256(data).hexdigest()
    for options in CURL.values():
        answers = by_curl(f"{options} {curl_options(address)}", [("POST", f"http://{NAME}/", {})], path)
        assert [(200, digest)] == answers
    get = partial(ask, connector(address), f"/files/{digest}", NAME)
    assert data == get().body
    part = get("Range: bytes=1000000-19999999")
    assert (206, data[1_000_000:20_000_000]) == (part.status, part.body)
    assert f"bytes 1000000-19999999/{len(data)}" == part.fields["content-range"]
    assert 304 == get(f'If-None-Match: "{digest}"').status
    assert 200 == ask(connector(address), f"/files/{digest}", NAME, method="DELETE").status


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("tool", "buffered"), PROXIES)
def test_proxy_passes_each_refusal_of_an_upload(front, daemons, content, tool, buffered):
    path, _ = content
    fronts = {name: front(tool, buffered, daemon) for name, daemon in daemons.items()}
    attempts = 3 if (tool, buffered) == ("caddy", False) else 1  # a reset may overtake the response
    expected = {(each.status, each.method): each.status for each in REFUSALS}
    for name, options in CURL.items():
        found = {}
        for each in REFUSALS:
            request = (each.method, f"http://{NAME}/{each.path}", each.fields)
            for _ in range(attempts):
                ((status, text),) = by_curl(f"{options} {curl_options(fronts[each.daemon])}", [request], path)
                if status:
                    break
            found[each.status, each.method] = status if each.text in text else (status, text)
        assert expected == found, name


@pytest.mark.parametrize(("tool", "buffered"), DRAINING_PROXIES)
def test_client_that_sends_all_of_its_body_first_reads_each_refusal(front, daemons, content, tool, buffered):
    fronts = {name: front(tool, buffered, daemon) for name, daemon in daemons.items()}
    found = {}
    for each in REFUSALS:
        fields = ["Content-Type: application/octet-stream", *map(": ".join, each.fields.items())]
        connect = connector(fronts[each.daemon])
        try:
            answer = ask(connect, f"/{each.path}", NAME, *fields, method=each.method, body=content[1])
            found[each.status, each.method] = answer.status if each.text in answer.body.decode() else answer
        except (OSError, EOFError) as error:
            found[each.status, each.method] = repr(error)
    assert {(each.status, each.method): each.status for each in REFUSALS} == found
