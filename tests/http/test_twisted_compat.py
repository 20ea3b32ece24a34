"""Compatibility with foreign `twisted.web` resources: they render unchanged."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.task import deferLater
from twisted.web import http, server, static
from twisted.web.iweb import IRequest
from twisted.web.pages import notFound
from twisted.web.resource import NoResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.util import DeferredResource, Redirect
from zope.interface.verify import verifyObject

from filestored.http import rendering
from filestored.interfaces import IBody, IStreamedRequest
from tests.http_clients.in_memory import InMemoryClient


class Probe(Resource):
    """Calls a function of the test with the request, and answers with its result."""

    isLeaf = True

    def __init__(self, probe):
        super().__init__()
        self.render_GET = probe
        self.render_POST = probe


def at_the_root(resource):
    root = Resource()
    root.putChild(b"", resource)
    return root


def probe(look, target="/", **fields):
    """Return the result of `look` for a GET request."""
    seen = []

    def render(request):
        seen.append(look(request))
        return b""

    assert 200 == InMemoryClient(Probe(render)).ask("GET", target, **fields).status
    return seen[0]


def test_request_provides_its_interfaces():
    def look(request):
        return (
            verifyObject(IRequest, request),
            verifyObject(IStreamedRequest, request),
            verifyObject(IBody, request.body),
        )

    assert (True, True, True) == probe(look)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda r: r.uri, b"/a%20b/c?x=1&x=%32&y="),
        (lambda r: r.path, b"/a%20b/c"),
        (lambda r: r.args, {b"x": [b"1", b"2"], b"y": [b""]}),
        (lambda r: r.postpath + r.prepath, [b"a b", b"c"]),
        (lambda r: r.getHeader("X-Probe"), "yes"),
        (lambda r: r.getHeader(b"x-probe"), b"yes"),
        (lambda r: r.getHeader(b"nothing"), None),
        (lambda r: r.requestHeaders.getRawHeaders(b"X-Probe"), [b"yes"]),
        (lambda r: r.getAllHeaders()[b"x-probe"], b"yes"),
        (lambda r: r.getCookie(b"a"), b"b"),
        (lambda r: (r.getUser(), r.getPassword()), (b"Aladdin", b"open sesame")),
        (lambda r: r.getRequestHostname(), b"localhost"),
        (lambda r: str(r.URLPath()), "http://localhost/a%20b/c"),
        (lambda r: r.isSecure(), False),
        (lambda r: r.content.read(), b""),
    ],
)
def test_request_attributes_and_methods(look, expected):
    fields = {"X_Probe": "yes", "Cookie": "a=b; c=d", "Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
    assert expected == probe(look, "/a%20b/c?x=1&x=%32&y=", **fields)


def test_static_data_answers_get_head_and_refuses_post():
    wire = InMemoryClient(at_the_root(static.Data(b"hello", "text/plain")))
    assert (200, b"hello") == ((answer := wire.ask("GET", "/")).status, answer.body)
    assert (200, b"", "5") == (
        (answer := wire.ask("HEAD", "/")).status,
        answer.body,
        answer.fields["content-length"],
    )
    answer = wire.ask("POST", "/", b"x")
    assert (405, "HEAD, GET") == (answer.status, answer.fields["allow"])


@pytest_twisted.ensureDeferred
async def test_static_file_answers_with_last_modified_and_304(tmp_path):
    content = bytes(range(256)) * 4096
    tmp_path.joinpath("a.bin").write_bytes(content)
    wire = InMemoryClient(static.File(str(tmp_path)))
    wire.send(b"GET /a.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    while wire.channel.pending or len(wire.transport.value()) < len(content):
        await deferLater(reactor, 0.001)
    (answer,) = wire.answers("GET")
    assert (200, content) == (answer.status, answer.body)
    modified = answer.fields["last-modified"]
    assert 304 == wire.ask("GET", "/a.bin", If_Modified_Since=modified).status


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("resource", [notFound(), NoResource()])
def test_error_page_is_served(resource):
    root = Resource()
    root.putChild(b"x", resource)
    assert 404 == InMemoryClient(root).ask("GET", "/x").status


def test_redirect_is_served():
    answer = InMemoryClient(Redirect(b"/elsewhere")).ask("GET", "/")
    assert (302, "/elsewhere") == (answer.status, answer.fields["location"])


def test_deferred_resource_is_served():
    resource = DeferredResource(succeed(static.Data(b"later", "text/plain")))
    assert b"later" == InMemoryClient(at_the_root(resource)).ask("GET", "/").body


def test_set_etag_answers_304():
    def render(request):
        return b"" if request.setETag(b'"x"') is http.CACHED else b"whole"

    wire = InMemoryClient(Probe(render))
    assert (200, '"x"') == ((answer := wire.ask("GET", "/")).status, answer.fields["etag"])
    assert 304 == wire.ask("GET", "/", If_None_Match='"y", "x"').status


def test_response_headers_are_sent_and_cannot_be_split():
    def render(request):
        request.setHeader("X-One", "1\r\nInjected: yes")
        request.responseHeaders.addRawHeader(b"X-Two", b"2")
        request.responseHeaders.addRawHeader(b"X-Two", b"3")
        request.addCookie("a", "b;c", path="/", secure=True, httpOnly=True)
        request.write(b"body")
        request.finish()
        return NOT_DONE_YET

    wire = InMemoryClient(Probe(render))
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    lines = wire.received().partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert {b"x-one: 1 injected: yes", b"x-two: 2", b"x-two: 3"} <= set(lines)
    assert b"set-cookie: a=b c; path=/; secure; httponly" in lines


def test_not_done_yet_equals_that_of_twisted():
    assert server.NOT_DONE_YET is rendering.NOT_DONE_YET


def test_response_header_with_an_empty_list_of_values_is_not_sent():
    def render(request):
        request.responseHeaders.setRawHeaders(b"Vary", [])
        request.responseHeaders.setRawHeaders(b"Content-Length", [])
        return b"ok"

    response = InMemoryClient(Probe(render)).ask("GET", "/")
    assert b"ok" == response.body
    assert "vary" not in response.fields
