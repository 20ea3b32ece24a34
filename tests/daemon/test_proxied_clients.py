"""The proxies of deploy/ before a daemon with --trusted-proxy and --access.

Addresses of clients, image tokens, credentials, early refusals, and secrets in the logs of the proxies.
"""

import os
import re
import signal
import struct
import subprocess
from base64 import b64encode
from functools import partial
from hashlib import sha256
from ipaddress import ip_address
from select import select

import pytest

from filestored.access.signed_links import sign
from filestored.access.tokens import make_secret, sha256_of
from tests.daemon.reverse_proxy import (
    BARE_HAPROXY,
    NAME,
    UPSTREAMS,
    ask,
    connector,
    read_logs,
    running_proxy,
    shipped,
)
from tests.daemon_process import ROOT, TIMEOUT, read, start, until
from tests.tools import find_tool

pytestmark = pytest.mark.slow

CLIENT = "127.0.0.9"
"""Address of loopback from which clients connect; proxies connect from 127.0.0.1."""

FORGED = ("X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.8", "X-Forwarded-Host: evil.example")
SIZE = 64 << 20
SECRETS = (
    "S1gnature-of-a-link",
    "T0ken-of-an-image",
    "Secret-of-a-token",
    "S2gnature-of-a-link",
    "Referer-secret",
)

TOOLS = [pytest.param(tool, marks=pytest.mark.needs(tool)) for tool in UPSTREAMS]


WRITER, READER = make_secret(), make_secret()
ACCESS = f"""
[tokens.writer]
sha256 = "{sha256_of(WRITER).hex()}"
buckets = {{ builds = ["read", "write"], small = ["write"] }}
[tokens.reader]
sha256 = "{sha256_of(READER).hex()}"
buckets = {{ builds = ["read"] }}
[buckets.default]
public = ["read", "write", "delete"]
[buckets.small]
quota = "1 MiB"
"""


class Site:
    """A daemon behind proxies: its access log, the token of an account, the path of a listener for PROXY."""

    def __init__(self, directory):
        self.proxied, self.unix = os.path.join(directory, "proxied"), os.path.join(directory, "unix")
        self._log, started = os.path.join(directory, "access"), []
        rules = os.path.join(directory, "access.toml")
        with open(rules, "w", encoding="ascii", opener=partial(os.open, mode=0o600)) as file:
            file.write(ACCESS)
        self.daemon = start(
            directory, started, "--workers", "1", "--host", NAME, "--trusted-proxy", "127.0.0.1",
            *("--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "unix"),
            *("--listen", f"haproxy:unix:{self.proxied}", "--listen", f"unix:{self.unix}"),
            *("--access-log", self._log, "--access", rules, "--max-size", "100 MiB"), hosts=(),
        )  # fmt: skip
        self.token = subprocess.run(
            [find_tool("filestored"), "account", "add", "victim", "--images", f"{directory}/images"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    def clients(self, target):
        """Return the clients of all requests for a target in the access log."""
        return re.findall(rf'^(\S+) .*"\w+ {re.escape(target)} HTTP', read(self._log), re.MULTILINE)

    def ids(self, target):
        """Return the ids of all GET requests for a target in the access log."""
        return re.findall(rf'^.*"GET {re.escape(target)} HTTP.* (\S+)$', read(self._log), re.MULTILINE)

    def assert_clients(self, target, expected):
        """Have the daemon write its access log, and compare."""
        self._assert_logged(self.clients, target, expected)

    def assert_ids(self, target, expected):
        """Have the daemon write its access log, and compare."""
        self._assert_logged(self.ids, target, expected)

    def _assert_logged(self, find, target, expected):
        self.daemon.kill(signal.SIGHUP)
        until(lambda: len(find(target)) >= len(expected), "the access log has all requests")
        assert expected == find(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(str(tmp_path_factory.mktemp("site")))
    yield site
    site.daemon.end()


@pytest.fixture(scope="module")
def content():
    return os.urandom(1 << 20) * (SIZE >> 20)


class Front:
    """A proxy with its configuration in deploy/."""

    def __init__(self, address, directory):
        self.directory = directory
        self.connect = connector(address, CLIENT)
        self.ask = partial(ask, self.connect)
        self.log = partial(read_logs, directory)


@pytest.fixture(scope="module", params=TOOLS)
def front(request, site, tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("front") / request.param)
    text = shipped(request.param, f"127.0.0.1:{site.daemon.port}")
    with running_proxy(request.param, text, directory, tcp=True) as address:
        yield Front(address, directory)


def test_access_log_names_the_client_of_each_proxy_and_no_forged_one(site, front):
    target = f"/files/{os.urandom(32).hex()}"
    for fields in ((), FORGED, FORGED[:1], FORGED[1:]):
        assert 404 == front.ask(target, NAME, *fields).status
    site.assert_clients(target, [CLIENT] * 4)


def test_upload_and_cached_downloads_through_a_proxy_have_the_address_of_the_client(site, front, content):
    sent = os.path.basename(front.directory).encode() + content
    stored = front.ask("/", NAME, *FORGED, "Content-Type: x/y", method="POST", body=sent)
    assert (200, sha256(sent).hexdigest()) == (stored.status, stored.body.decode())
    target, part = stored.fields["location"], "Range: bytes=5-9"
    for number in range(3):
        assert sent[5:10] == front.ask(target, NAME, part, f"X-Request-Id: {number}").body
    site.assert_clients(target, [CLIENT] * 3)
    directories = [os.path.join(front.directory, name) for name in ("body", "proxied")]
    assert [] == [name for each in directories if os.path.exists(each) for name in os.listdir(each)]


def test_response_and_both_logs_have_the_id_that_the_proxy_makes(site, front):
    sent = os.path.basename(front.directory).encode() + b" names requests"
    target = front.ask("/", NAME, "Content-Type: x/y", method="POST", body=sent).fields["location"]
    responses = [front.ask(target, NAME, *fields) for fields in ([], [], ["X-Request-Id: client"], [])]
    ids = [response.fields["x-request-id"] for response in responses]
    assert 4 == len(set(ids) - {"client"})
    site.assert_ids(target, ids)
    until(lambda: all(each in front.log() for each in ids), "the proxy has logged the ids")


@pytest.mark.parametrize("host", [NAME, "localhost", "127.0.0.1"])
def test_image_tokens_are_refused_to_clients_of_a_proxy(site, front, host):
    for call in ("retrieve-token/victim/", "generate-token/other/"):
        for api in ("/imageapi/", "/%69mageapi/", "//imageapi//"):
            refused = front.ask(api + call, host)
            assert refused.status in (403, 404, 421), (api, host)
            assert site.token.encode() not in refused.body


def bearer(secret):
    return f"Authorization: Bearer {secret}"


def basic(secret):
    return f"Authorization: Basic {b64encode(f':{secret}'.encode()).decode()}"


def test_tokens_and_signed_links_work_through_a_proxy(front):
    stored = front.ask(
        "/buckets/builds/", NAME, bearer(WRITER), "Content-Type: x/y", method="POST", body=b"a build"
    )
    assert 200 == stored.status
    target = stored.fields["location"]
    link = f"{target}?{sign(READER, target.encode(), 1 << 33)}&name=a%20b"
    for status, address, fields in (
        (200, target, [bearer(READER)]),
        (200, target, [basic(READER)]),
        (200, link, []),
        (401, target, []),
        (401, target, [bearer("x")]),
        (403, link.replace("expires=8", "expires=9"), []),
    ):
        assert status == front.ask(address, NAME, *fields).status, (address, fields)
    until(lambda: front.log().count(target) >= 6, "the proxy has logged")
    assert sign(READER, target.encode(), 1 << 33).rpartition("=")[2] not in front.log()


EARLY = {
    "no token": (401, "/buckets/builds/", []),
    "token without the right": (403, "/buckets/builds/", [bearer(READER)]),
    "foreign page": (403, "/", ["Origin: http://evil.example"]),
    "more than --max-size": (413, "/buckets/builds/", [basic(WRITER)]),
    "more than the quota": (507, "/buckets/small/", [bearer(WRITER)]),
}


@pytest.mark.parametrize("case", EARLY)
def test_client_reads_an_early_refusal_while_it_uploads(front, case):
    status, target, fields = EARLY[case]
    length = SIZE * 2 if status == 413 else SIZE
    head = [f"POST {target} HTTP/1.1", f"Host: {NAME}", *fields, f"Content-Length: {length}", "", ""]
    with front.connect() as client:
        client.send("\r\n".join(head).encode())
        sent = send_until_answered(client.connection, length)
        assert status == client.read_response("POST").status
    assert sent < length


def send_until_answered(connection, length):
    """Send zeros until a response arrives, or `length` are sent; return how many were."""
    sent = 0
    while sent < length:
        readable, _, _ = select([connection], [connection], [], TIMEOUT)
        if readable:
            break
        sent += connection.send(bytes(min(length - sent, 1 << 16)))
    return sent


def test_log_of_a_proxy_has_no_signature_and_no_token(site, front):
    link, image, secret, escaped, referer = SECRETS
    hidden = f"/files/{'0' * 64}?name=a%20b&%73ignature={escaped}"
    for target in (
        f"/files/{'0' * 64}?key=0123&expires=1&signature={link}",
        f"/files/{'0' * 64}?signature={link}&name=x",
        f"/imageapi/token/{image}/get-image-list/",
        f"//imageapi//token/{image}",
        f"/imageapi/%74oken/{image}/upload-image/",
        f"/imageapi/token/{site.token}/get-image-list/",
        hidden,
    ):
        front.ask(
            target, NAME, f"Authorization: Bearer {secret}", f"Referer: http://{NAME}/?signature={referer}"
        )
    last = f"/nothing-{os.urandom(8).hex()}"
    front.ask(last, NAME)
    until(lambda: last in front.log(), "the proxy has logged")
    assert [] == [each for each in (*SECRETS, site.token) if each in front.log()]
    assert front.log().count("***") >= 6


def test_nginx_for_several_daemons_has_the_same_log_and_the_same_fields():
    texts = [read(os.path.join(ROOT, "deploy", name)) for name in ("nginx.conf", "nginx-balancer.conf")]
    pattern = r"^(?:map|log_format)(?:.|\n)*?\n\n|^ +(?:access_log|proxy_set_header).*\n"
    one, several = ("".join(re.findall(pattern, text, re.MULTILINE)) for text in texts)
    assert one.count("\n") > 15
    assert one == several


def test_direct_client_of_this_machine_gets_no_token_with_a_trusted_proxy(site):
    connect = connector(str(site.daemon.port))
    for host in ("localhost", "127.0.0.1"):
        assert 403 == ask(connect, "/imageapi/retrieve-token/victim/", host).status


@pytest.mark.needs("haproxy")
def test_client_of_a_proxy_that_adds_nothing_gets_no_token(site, tmp_path):
    for number, server in enumerate((f"127.0.0.1:{site.daemon.port}", f"unix@{site.unix}")):
        text = BARE_HAPROXY.format(server=server)
        with running_proxy("haproxy", text, str(tmp_path / f"front{number}")) as address:
            assert 403 == ask(connector(address), "/imageapi/retrieve-token/victim/", "localhost").status


def test_client_of_a_proxy_on_a_unix_socket_is_named(site):
    target = f"/files/{os.urandom(32).hex()}"
    for fields in ([], FORGED[:1], FORGED[1:]):
        ask(connector(site.unix), target, NAME, *fields)
    site.assert_clients(target, ["-", "203.0.113.7", "203.0.113.8"])


def test_only_fields_of_a_trusted_peer_count(site):
    target = f"/files/{os.urandom(32).hex()}"
    for source in ("127.0.0.1", CLIENT):
        ask(connector(str(site.daemon.port), source), target, NAME, FORGED[0])
    site.assert_clients(target, ["203.0.113.7", CLIENT])


def version_2(source):
    """Return a header of version 2 of the PROXY protocol for a client with this address."""
    packed = ip_address(source).packed
    addresses = packed * 2 + struct.pack("!HH", 5555, 80)
    form = b"\x11" if len(packed) == 4 else b"\x21"
    return b"\r\n\r\n\0\r\nQUIT\n\x21" + form + struct.pack("!H", len(addresses)) + addresses


PROXIED = [
    (b"PROXY TCP4 203.0.113.9 127.0.0.1 5555 80\r\n", [], "203.0.113.9"),
    (b"PROXY TCP4 203.0.113.9 127.0.0.1 5555 80\r\n", FORGED[:1], "203.0.113.9"),
    (b"PROXY TCP4 10.0.0.5 127.0.0.1 5555 80\r\n", FORGED[:1], "203.0.113.7"),
    (b"PROXY TCP4 10.0.0.5 127.0.0.1 5555 80\r\n", FORGED, "10.0.0.5"),
    (b"PROXY TCP6 2001:db8::9 ::1 5555 80\r\n", FORGED[:1], "2001:db8::9"),
    (version_2("203.0.113.9"), FORGED[:1], "203.0.113.9"),
    (version_2("10.0.0.5"), FORGED[1:], "203.0.113.8"),
    (version_2("2001:db8::9"), FORGED[:1], "2001:db8::9"),
    (b"PROXY UNKNOWN\r\n", [], "-"),
    (b"PROXY UNKNOWN 1 2\r\n", FORGED[:1], "203.0.113.7"),
    (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", FORGED[:1], "203.0.113.7"),
]


def test_address_of_the_proxy_protocol_is_the_client_unless_it_is_a_trusted_proxy(site):
    target, found = f"/files/{os.urandom(32).hex()}", []
    for header, fields, client in PROXIED:

        def connect(header=header):
            client = connector(site.proxied)()
            client.send(header)
            return client

        ask(connect, target, NAME, *fields)
        found.append(client)
    site.assert_clients(target, found)


@pytest.mark.needs("haproxy")
def test_haproxy_names_the_client_by_the_proxy_protocol(site, tmp_path):
    text = shipped("haproxy", f"unix@{site.proxied} send-proxy-v2")
    target = f"/files/{os.urandom(32).hex()}"
    with running_proxy("haproxy", text, str(tmp_path / "front"), tcp=True) as address:
        connect = connector(address, CLIENT)
        for fields in ((), FORGED):
            assert 404 == ask(connect, target, NAME, *fields).status
        assert 403 == ask(connect, "/imageapi/retrieve-token/victim/", "localhost").status
    site.assert_clients(target, [CLIENT] * 2)
