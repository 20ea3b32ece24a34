"""Response cache with the real tree: the same bytes, or the present state of the file."""

import os
import shutil
import socket
import ssl
import subprocess
from hashlib import md5, sha256

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory

from filestored.daemon.acceptor import accept_from
from filestored.daemon.listeners import ListeningSocket, read_certificate
from filestored.http.factory import TIMEOUT_POLL_SECONDS, HTTPFactory
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.file_cache import MAX_FILE_BYTES, FileCache
from filestored.storage.disk.layout import prepare
from filestored.storage.migration.migrate import migrate
from filestored.storage.store import Store
from filestored.web.site import make_site
from tests.http_clients.blocking import BlockingClient, connect, request_head, request_in_thread
from tests.reactor_wait import until
from tests.tls_files import TLSFiles

CONTENT = os.urandom((1 << 20) + 7) * 5
SIZES = [0, 4096, 16 * 1024, 16 * 1024 + 1, 64 * 1024, 5 << 20]


class Counting(HTTPFactory):
    """A factory that counts parsed requests."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.rendered, self._render = 0, self.render
        self.render = self._count

    def _count(self, request):
        self.rendered += 1
        self._render(request)


class Served:
    """A store on disk, served on a loopback port; the access log is a list."""

    def __init__(self, path, recent=True, hash_name=None):
        self.path = path
        self.recent = recent
        self.lines = []
        algorithm = prepare(path, hash_name)
        self.backend = DiskBackend(path, algorithm, reserve=0, file_cache=FileCache() if recent else None)
        self.store = Store(self.backend, algorithm, maybeDeferred)
        self.factory = Counting(make_site(self.store), reactor, access_log=self)
        self.listening = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.port = self.listening.getHost().port

    def format_entry(self, entry):
        return entry.method, entry.target, entry.status, entry.sent

    def log(self, moment, peer, description, seconds, request_id):
        self.lines.append(description)

    async def keep(self, data):
        """Store bytes; return their hash."""
        upload = self.store.upload()
        upload.write(data)
        return (await upload.commit()).digest.hex

    def file(self, name):
        return os.path.join(self.path, name[:2], name)

    def close(self):
        self.factory.abort()
        pytest_twisted.blockon(self.listening.stopListening())
        pytest_twisted.blockon(self.factory.drain())
        self.backend.close()


@pytest.fixture
def serve(tmp_path):
    """A function that serves the store of the test."""
    running = []

    def start(**how):
        running.append(Served(str(tmp_path / "store"), **how))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture(params=[True, False], ids=["small files at hand", "all from the disk"])
def served(serve, request):
    return serve(recent=request.param, hash_name="sha256")


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", ["/files/{}", "/?file_hash={}", "/?hash={}&name=a%20b.bin"])
@pytest_twisted.ensureDeferred
async def test_cached_response_equals_the_first_except_its_date(served, size, target):
    name = await served.keep(CONTENT[:size])
    asked = request_head(target.format(name))
    first, *others = await request_in_thread(served.port, *[asked] * 3)
    assert (200, CONTENT[:size]) == (first.status, first.body)
    assert [first.undated] * 2 == [other.undated for other in others]
    assert [(b"GET", target.format(name).encode(), 200, size)] * 3 == served.lines
    assert 1 == served.factory.rendered
    in_memory = served.recent and size <= MAX_FILE_BYTES
    assert (3 if in_memory else 2) == served.store.statistics.opened  # a file stays open for the next hit


@pytest.mark.parametrize("size", [64 * 1024, 5 << 20])
@pytest_twisted.ensureDeferred
async def test_deleted_file_is_closed_while_its_connection_stays_open(served, size):
    name = await served.keep(CONTENT[:size])
    asked, delete = request_head(f"/files/{name}"), request_head(f"/files/{name}", method="DELETE")
    with await deferToThread(connect, served.port) as client:
        await deferToThread(client.request, request_head("/health"))
        before = descriptors()
        for _ in range(3):
            assert 200 == (await deferToThread(client.request, asked)).status
        assert before + 1 == descriptors()
        assert 200 == (await deferToThread(client.request, delete)).status
        await until(lambda: before == descriptors())
        assert 404 == (await deferToThread(client.request, asked)).status


@pytest_twisted.ensureDeferred
async def test_file_stays_open_for_its_readers_after_its_cached_response_was_sent_to_others(served):
    """One client reads slowly, others end; the file is deleted and no hit follows."""
    name = await served.keep(CONTENT)
    asked, delete = request_head(f"/files/{name}"), request_head(f"/files/{name}", method="DELETE")
    await request_in_thread(served.port, asked)
    with await deferToThread(connect, served.port, 8192) as slow:
        await deferToThread(slow.send, asked)
        replies = await request_in_thread(served.port, asked, asked, delete)
        assert [200, 200, 200] == [reply.status for reply in replies]
        await deferLater(reactor, 2.5 * TIMEOUT_POLL_SECONDS)
        assert CONTENT == (await deferToThread(slow.read_response)).body


@pytest.mark.parametrize("size", SIZES)
@pytest_twisted.ensureDeferred
async def test_deleted_file_is_not_served_from_cache(served, size):
    """Deleted by another client, and on the same connection."""
    name = await served.keep(CONTENT[:size])
    asked, delete = request_head(f"/files/{name}"), request_head(f"/files/{name}", method="DELETE")

    def converse():
        with connect(served.port) as client, connect(served.port) as other:
            return [
                client.request(asked),
                other.request(asked),
                other.request(delete),
                client.request(asked),
                other.request(asked),
            ]

    assert [200, 200, 200, 404, 404] == [reply.status for reply in await deferToThread(converse)]
    assert (2, 2) == (served.store.statistics.opened, served.store.statistics.not_found)
    await served.keep(CONTENT[:size])
    replies = await request_in_thread(served.port, asked, delete, asked, asked)
    assert [200, 200, 404, 404] == [reply.status for reply in replies]
    assert CONTENT[:size] == replies[0].body


def take_away(path):
    os.unlink(path)


def put_into_quarantine(path):
    os.rename(path, os.path.join(os.path.dirname(path), "..", "quarantine-" + os.path.basename(path)))


def make_a_link_of(path):
    os.rename(path, path + ".moved")
    os.symlink(path + ".moved", path)


def make_a_directory_of(path):
    os.unlink(path)
    os.mkdir(path)


def make_a_pipe_of(path):
    os.unlink(path)
    os.mkfifo(path)


def clear_up(path):
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


@pytest.mark.parametrize("size", [100, 64 * 1024])
@pytest.mark.parametrize(
    "harm", [take_away, put_into_quarantine, make_a_link_of, make_a_directory_of, make_a_pipe_of]
)
@pytest_twisted.ensureDeferred
async def test_file_removed_by_another_process_is_404_until_restored(served, size, harm):
    name = await served.keep(CONTENT[:size])
    asked, before = request_head(f"/files/{name}"), descriptors()
    await request_in_thread(served.port, asked, asked)
    harm(served.file(name))
    assert [404, 404] == [reply.status for reply in await request_in_thread(served.port, asked, asked)]
    if os.path.lexists(served.file(name)):
        clear_up(served.file(name))
    await served.keep(CONTENT[:size])
    back = await request_in_thread(served.port, asked, asked)
    assert [(200, CONTENT[:size])] * 2 == [(reply.status, reply.body) for reply in back]
    await until(lambda: descriptors() <= before)


@pytest.mark.parametrize("size", [100, 64 * 1024])
@pytest.mark.parametrize("other", [0, 99, 101, 16 * 1024 + 1, 64 * 1024 + 1])
@pytest_twisted.ensureDeferred
async def test_cache_is_bypassed_when_the_file_size_changes(served, size, other):
    name = await served.keep(CONTENT[:size])
    asked, before = request_head(f"/files/{name}"), descriptors()
    (first,) = await request_in_thread(served.port, asked)
    with open(served.file(name) + ".other", "wb") as file:
        file.write(b"o" * other)
    os.rename(served.file(name) + ".other", served.file(name))
    replies = await request_in_thread(served.port, asked, asked, asked)
    if served.recent and other <= MAX_FILE_BYTES:  # small files are hashed as they are read
        assert [500] * 3 == [reply.status for reply in replies]
    else:
        assert [b"o" * other] * 3 == [reply.body for reply in replies]
        assert first.fields.keys() == replies[0].fields.keys()
    await until(lambda: descriptors() <= before)


@pytest_twisted.ensureDeferred
async def test_truncated_file_is_never_sent_as_complete(served):
    name = await served.keep(CONTENT[:100_000])
    asked = request_head(f"/files/{name}")
    await request_in_thread(served.port, asked, asked)
    os.chmod(served.file(name), 0o600)
    os.truncate(served.file(name), 70_000)
    assert [CONTENT[:70_000]] * 2 == [
        reply.body for reply in await request_in_thread(served.port, asked, asked)
    ]


class NoProgress:
    """Ignores the progress of a migration."""

    def expect(self, files):
        pass

    def read(self, size):
        pass


@pytest.mark.parametrize("size", [100, 64 * 1024])
@pytest_twisted.ensureDeferred
async def test_cache_keeps_former_and_present_digests_separate(serve, tmp_path, size):
    data = CONTENT[:size]
    algorithm = prepare(str(tmp_path / "store"), "md5")
    backend = DiskBackend(str(tmp_path / "store"), algorithm, reserve=0)
    upload = Store(backend, algorithm, maybeDeferred).upload()
    upload.write(data)
    await upload.commit()
    backend.close()
    migrate(str(tmp_path / "store"), "sha256", NoProgress())
    served, names = serve(), [md5(data).hexdigest(), sha256(data).hexdigest()]
    asked = [request_head(f"/files/{name}") for name in names] * 3
    replies = await request_in_thread(served.port, *asked)
    assert [(data, f'"{name}"') for name in names * 3] == [
        (reply.body, reply.fields["etag"]) for reply in replies
    ]
    assert 2 == served.factory.rendered
    await request_in_thread(served.port, request_head(f"/files/{names[0]}", method="DELETE"))
    assert [404] * 6 == [reply.status for reply in await request_in_thread(served.port, *asked)]


@pytest_twisted.ensureDeferred
async def test_cache_keeps_names_of_the_query_separate(served):
    name = await served.keep(b"hello")
    asked = [request_head(f"/?hash={name}{rest}") for rest in ("", "&name=a", "&name=b", "&name=%C3%A9")] * 2
    replies = await request_in_thread(served.port, *asked)
    dispositions = [reply.fields.get("content-disposition") for reply in replies]
    assert 4 == len(set(dispositions))
    assert dispositions[:4] == dispositions[4:]


@pytest.mark.parametrize("query", ["&name=a&name=b", "&name=%FF"])
@pytest_twisted.ensureDeferred
async def test_error_responses_are_not_cached(served, query):
    """Also if the file is exactly as long as the error response."""
    names = [await served.keep(b"x" * size) for size in range(15, 60)]
    for name in names:
        first, second = await request_in_thread(served.port, *[request_head(f"/?hash={name}{query}")] * 2)
        assert 400 == first.status
        assert first.undated == second.undated
    assert (b"GET", 400) == (served.lines[-1][0], served.lines[-1][2])


OTHER_QUESTIONS = {
    "HEAD": {"method": "HEAD"},
    "DELETE of another tag": {"method": "DELETE", "fields": ['If-Match: "x"']},
    "a range": {"fields": ["Range: bytes=1-3"]},
    "two ranges": {"fields": ["Range: bytes=1-3,5-6"]},
    "no range of it": {"fields": ["Range: bytes=9999999-"]},
    "a range if it is another": {"fields": ["Range: bytes=1-3", 'If-Range: "x"']},
    "unless I have it": {"fields": ['If-None-Match: "{}"']},
    "unless I have another": {"fields": ['If-None-Match: "x"']},
    "unless there is any": {"fields": ["If-None-Match: *"]},
    "if it is that": {"fields": ['If-Match: "{}"']},
    "if it is another": {"fields": ['If-Match: "x"']},
    "HTTP/1.0": {"version": "1.0"},
    "HTTP/1.0 that goes on": {"version": "1.0", "fields": ["Connection: keep-alive"]},
    "the last one": {"fields": ["Connection: close"]},
}


@pytest.mark.parametrize("size", [100, 64 * 1024])
@pytest.mark.parametrize("other", OTHER_QUESTIONS)
@pytest_twisted.ensureDeferred
async def test_conditional_and_range_requests_bypass_the_cache(served, size, other):
    name = await served.keep(CONTENT[:size])
    how = {**OTHER_QUESTIONS[other]}
    fields = [field.format(name) for field in how.pop("fields", [])]
    target = f"/files/{name}"
    await request_in_thread(served.port, request_head(target), request_head(target))
    (truth,) = await request_in_thread(served.port, request_head(target, *fields, "X-Unique: 1", **how))
    for _ in range(3):
        (reply,) = await request_in_thread(served.port, request_head(target, *fields, **how))
        assert _comparable(truth) == _comparable(reply)
    plain = request_head(target)
    if other not in ("HTTP/1.0", "the last one"):
        mixed = await request_in_thread(served.port, *[plain, request_head(target, *fields, **how)] * 3)
        assert [CONTENT[:size]] * 3 == [reply.body for reply in mixed[::2]]
        assert [_comparable(truth)] * 3 == [_comparable(reply) for reply in mixed[1::2]]


def _comparable(reply):
    """Return a response without its date, and without its random boundary."""
    status, lines, body = reply.undated
    boundary = reply.fields.get("content-type", "").partition("boundary=")[2].encode()
    parts = b"\n".join([b"%d" % status, *map(b": ".join, lines), body])
    return parts.replace(boundary, b"BOUNDARY") if boundary else parts


@pytest.mark.parametrize("size", [100, 64 * 1024])
@pytest_twisted.ensureDeferred
async def test_cached_request_with_body_keeps_the_connection_in_sync(served, size):
    """The same head arrives together with its body, then before it."""
    name = await served.keep(CONTENT[:size])
    raw, body = (
        request_head(f"/files/{name}", "Content-Length: 40"),
        request_head("/files/evil").ljust(40, b"x")[:40],
    )

    def converse():
        with connect(served.port) as client:
            together = client.request(raw + body)
        with connect(served.port) as client:
            apart = client.request(raw)
            client.send(body)
            return together, apart, client.ended() if apart.fields.get("connection") == "close" else None

    for _ in range(2):
        together, apart, ended = await deferToThread(converse)
        assert together.body == apart.body == CONTENT[:size]
        assert ended is True


@pytest.mark.parametrize("size", [100, 64 * 1024, 5 << 20])
@pytest_twisted.ensureDeferred
async def test_uploads_and_cached_downloads_alternate_on_one_connection(served, size):
    name = await served.keep(CONTENT[:size])
    asked = request_head(f"/files/{name}")
    new = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    replies = await request_in_thread(served.port, *[asked, new, asked, asked + new, b"", asked] * 2)
    assert [CONTENT[:size]] * 8 == [reply.body for reply in replies if reply.body != hashed(b"hello")]
    assert [200] * 12 == [reply.status for reply in replies]


def hashed(data):
    return sha256(data).hexdigest().encode()


@pytest_twisted.ensureDeferred
async def test_disconnects_during_cached_downloads_leak_no_descriptor(served):
    name = await served.keep(CONTENT)
    asked = request_head(f"/files/{name}")
    await request_in_thread(served.port, asked)
    before = descriptors()

    def vanish(count):
        with connect(served.port, receive_buffer=8192) as client:
            client.send(asked)
            client.connection.recv(count)

    for count in (1, 1000, 100_000) * 5:
        await deferToThread(vanish, count)
    assert CONTENT == (await request_in_thread(served.port, asked))[0].body
    await until(lambda: descriptors() <= before and 17 == len(served.lines))
    assert [(b"GET", f"/files/{name}".encode(), 200, len(CONTENT))] * 17 == served.lines


@pytest_twisted.ensureDeferred
async def test_cached_download_completes_after_the_file_was_deleted(served):
    name = await served.keep(CONTENT)
    asked = request_head(f"/files/{name}")
    await request_in_thread(served.port, asked)

    def converse():
        with connect(served.port, receive_buffer=8192) as client:
            client.send(asked)
            client.connection.recv(1, socket.MSG_PEEK)  # the response has started
            os.unlink(served.file(name))
            client.send(asked)
            return client.read_response(), client.read_response()

    first, second = await deferToThread(converse)
    assert (CONTENT, 404) == (first.body, second.status)


@pytest_twisted.ensureDeferred
async def test_cache_never_confuses_many_files(served):
    names = {await served.keep(CONTENT[: 700 * n]): CONTENT[: 700 * n] for n in range(60)}

    def converse(step):
        with connect(served.port) as client:
            listed = list(names)
            for number in range(400):
                name = listed[number * step % len(listed)]
                assert names[name] == client.request(request_head(f"/files/{name}")).body

    for each in [deferToThread(converse, step) for step in (1, 7, 11, 59)]:
        await each


@pytest.mark.needs("openssl")
@pytest_twisted.ensureDeferred
async def test_connections_of_tls_plugins_bypass_the_cache(served, tmp_path):
    pem = str(tmp_path / "pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", pem, "-out", pem + ".cert"], check=True, capture_output=True)
    asked = [request_head(f"/files/{await served.keep(CONTENT[:size])}") for size in SIZES] * 3
    contexts = DefaultOpenSSLContextFactory(pem, pem + ".cert")
    secure = reactor.listenTCP(0, TLSMemoryBIOFactory(contexts, False, served.factory), interface="127.0.0.1")

    def converse():
        context = ssl.create_default_context(cafile=pem + ".cert")
        context.check_hostname = False
        with connect(secure.getHost().port) as plain, context.wrap_socket(plain.connection) as wrapped:
            client = BlockingClient(wrapped)
            return [client.request(each) for each in asked]

    await request_in_thread(served.port, *asked)
    expected = [CONTENT[:size] for size in SIZES] * 3
    assert expected == [reply.body for reply in await deferToThread(converse)]
    assert len(SIZES) + len(asked) == served.factory.rendered
    await secure.stopListening()


@pytest_twisted.ensureDeferred
async def test_tls_connections_use_the_cache(served, tmp_path):
    files = TLSFiles(tmp_path)
    asked = [request_head(f"/files/{await served.keep(CONTENT[:size])}") for size in SIZES] * 3
    context = ssl.create_default_context(cafile=files.root_file)

    def converse(port):
        with (
            connect(port) as plain,
            context.wrap_socket(plain.connection, server_hostname="localhost") as wrapped,
        ):
            client = BlockingClient(wrapped)
            return [client.request(each) for each in asked]

    with socket.create_server(("127.0.0.1", 0)) as listening:
        certificate = read_certificate(files.endpoint())
        shared = ListeningSocket(files.endpoint(), listening.fileno(), certificate)
        acceptor = accept_from(reactor, shared, served.factory)
        replies = await deferToThread(converse, listening.getsockname()[1])
    assert [CONTENT[:size] for size in SIZES] * 3 == [reply.body for reply in replies]
    assert len(SIZES) == served.factory.rendered
    await acceptor.stopListening()
