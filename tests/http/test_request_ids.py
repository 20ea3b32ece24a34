"""Ids of requests: in the response, in the access log, and in the context of the code that answers."""

import re

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource

from filestored.http.rendering import NOT_DONE_YET
from filestored.request_context import current_request_id
from tests.http_clients.in_memory import InMemoryClient

ID = "0f6a.client:1"


class Pieces(list):
    """A consumer of pieces of a body; keeps the id of the context of each."""

    def write(self, data):
        self.append(current_request_id.get().decode())

    def registerProducer(self, producer, streaming):
        """Nothing to do: the body begins by itself."""

    def unregisterProducer(self):
        """Nothing to do."""


class Answering(Resource):
    """Answers with the id of the context: at once, behind a Deferred in a coroutine, or with a failure."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.waiting = Deferred()
        self.pieces = Pieces()

    def render_GET(self, request):
        if request.path == b"/later":
            Deferred.fromCoroutine(self.answer_later(request))
            return NOT_DONE_YET
        if request.path == b"/fails":
            raise ZeroDivisionError
        return current_request_id.get()

    async def answer_later(self, request):
        await self.waiting
        request.write(current_request_id.get())
        request.finish()

    def render_POST(self, request):
        request.body.deliver(self.pieces).addBoth(self.finish, request)
        return NOT_DONE_YET

    def finish(self, result, request):
        self.pieces.write(result)
        request.write(current_request_id.get())
        request.finish()


class Log(list):
    """An access log of ids and statuses."""

    def format_entry(self, entry):
        return entry.status

    def log(self, moment, peer, description, seconds, request_id):
        self.append((request_id.decode(), description))


@pytest.fixture
def root():
    return Answering()


@pytest.fixture
def client(root):
    return InMemoryClient(root, access_log=Log())


def test_response_and_access_log_have_the_id_that_was_sent(client):
    response = client.ask("GET", "/", X_Request_Id=ID)
    assert (ID, ID.encode()) == (response.fields["x-request-id"], response.body)
    assert [(ID, 200)] == client.factory.access_log


def test_response_and_access_log_have_one_made_id(client):
    made = [client.ask("GET", "/", X_Request_Id=value).fields["x-request-id"] for value in ("", "a b", "<a>")]
    assert [(each, 200) for each in made] == client.factory.access_log
    assert 3 == len({each for each in made if re.fullmatch("[0-9a-f]{32}", each)})


def test_requests_of_a_connection_have_ids_of_their_own(client):
    sent = [
        client.ask("GET", "/", X_Request_Id=value).fields["x-request-id"] for value in ("a", "b", "b", "c")
    ]
    assert ["a", "b", "b", "c"] == sent == [each for each, _ in client.factory.access_log]


def test_refused_head_has_a_made_id_in_response_and_access_log(client):
    client.send(b"GET / HTTP/1.1\r\nX-Request-Id: a\r\nHost: \xff\r\n\r\n")
    (response,) = client.answers("GET")
    assert 400 == response.status
    assert [(response.fields["x-request-id"], 400)] == client.factory.access_log
    assert "a" != response.fields["x-request-id"]


def test_coroutine_keeps_the_id_of_its_request_while_others_are_answered(client, root):
    client.send(b"GET /later HTTP/1.1\r\nHost: h\r\nX-Request-Id: first\r\n\r\n")
    waiting = client.transport
    client.connect()
    assert b"second" == client.ask("GET", "/", X_Request_Id="second").body
    root.waiting.callback(None)
    client.transport = waiting
    assert b"first" == client.answers("GET")[0].body
    assert b"" == current_request_id.get()


def test_pieces_of_a_body_are_passed_on_in_the_context_of_their_request(client, root):
    head = "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: {}\r\nContent-Length: 4\r\n\r\n"
    client.send(head.format("a").encode() + b"12")
    client.send(b"3")
    client.send(b"4" + head.format("b").encode() + b"1")
    client.send(b"2")
    client.disconnect()
    pieces = root.pieces
    assert "a" * 4 + "b" * 3 == "".join(pieces)
    assert b"" == current_request_id.get()


def test_failure_of_a_resource_is_logged_in_the_context_of_its_request(client):
    ids = []

    def observe(event):
        ids.append((event.get("request_id"), current_request_id.get()))

    globalLogPublisher.addObserver(observe)
    assert 500 == client.ask("GET", "/fails", X_Request_Id=ID).status
    globalLogPublisher.removeObserver(observe)
    assert [(ID.encode(), ID.encode())] == ids
