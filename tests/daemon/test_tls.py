"""TLS endpoints: ALPN, chains, renewal on SIGHUP; alone and with workers."""

import hashlib
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from filestored.daemon.listeners import read_certificate
from filestored.daemon.startup.endpoint_strings import with_absolute_paths
from tests.daemon_process import TIMEOUT, run, until
from tests.http_clients.blocking import BlockingClient, request_head
from tests.tls_files import TLSFiles, write

EXPECTING = (
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/b\r\nContent-Length: 5\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def files(tmp_path):
    return TLSFiles(tmp_path)


@pytest.fixture(scope="module")
def kept_files(tmp_path_factory):
    """Files that no test changes."""
    return TLSFiles(tmp_path_factory.mktemp("tls"))


def connect(daemon, files, *protocols):
    """Return a TLS connection that trusts the root, and offers these protocols by ALPN."""
    context = ssl.create_default_context(cafile=files.root_file)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(daemon.connect(), server_hostname="localhost")


def served(daemon, files):
    """Return the certificate that new connections get."""
    with connect(daemon, files) as connection:
        return connection.getpeercert(binary_form=True)


def health(connection):
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection.recv(4096)


@WORKERS
@pytest.mark.needs("curl")
def test_curl_which_offers_h2_is_served_with_http_1_1(share_daemon, kept_files, workers):
    daemon = share_daemon("--workers", workers, listen=kept_files.endpoint())
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--cacert",
        kept_files.root_file,
        "--write-out",
        " %{http_version}",
    ]
    found = subprocess.run(
        [*command, f"https://localhost:{daemon.port}/health"], capture_output=True, text=True, check=True
    )
    assert found.stdout.endswith(" 1.1")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        (("http/1.1",), "http/1.1"),
        (("h2", "http/1.0", "http/1.1"), "http/1.1"),
        (("http/1.0",), "http/1.0"),
    ],
)
def test_alpn_chooses_http_1_1(share_daemon, kept_files, offered, chosen):
    daemon = share_daemon("--workers", "1", listen=kept_files.endpoint())
    with connect(daemon, kept_files, *offered) as connection:
        assert chosen == connection.selected_alpn_protocol()
        assert health(connection).startswith(b"HTTP/1.1 200 ")


def test_client_of_h2_only_gets_the_alert_no_application_protocol(share_daemon, kept_files):
    daemon = share_daemon("--workers", "1", listen=kept_files.endpoint())
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        connect(daemon, kept_files, "h2")
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_tls_versions_are_served(share_daemon, kept_files, version):
    daemon = share_daemon("--workers", "1", listen=kept_files.endpoint())
    context = ssl.create_default_context(cafile=kept_files.root_file)
    context.minimum_version = context.maximum_version = version
    with context.wrap_socket(daemon.connect(), server_hostname="localhost") as connection:
        assert health(connection).startswith(b"HTTP/1.1 200 ")


def test_tls_on_an_ipv6_address(start_daemon, files):
    endpoint = files.endpoint().replace("127.0.0.1", "\\:\\:1")
    daemon = start_daemon("--workers", "1", "--access-log", "-", listen=endpoint)
    context = ssl.create_default_context(cafile=files.root_file)
    with (
        socket.create_connection(("::1", daemon.port), timeout=TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert health(connection).startswith(b"HTTP/1.1 200 ")
    until(lambda: "::1 - - [" in daemon.log, "the log has the client")


@WORKERS
def test_large_file_comes_back_over_tls_on_one_connection(share_daemon, kept_files, workers):
    daemon = share_daemon("--workers", workers, listen=kept_files.endpoint())
    data, trust = os.urandom(16_000_000), {"verify": kept_files.root_file, "timeout": 60}
    with requests.Session() as session:
        url = f"https://localhost:{daemon.port}/"
        name = session.post(url, data=data, headers={"Content-Type": "a/b"}, **trust).text.strip()
        assert hashlib.sha256(data).hexdigest() == name
        assert data == session.get(f"{url}files/{name}", **trust).content


@pytest.mark.parametrize("where", ["certKey", "extraCertChain", "privateKey"])
def test_chain_is_sent_from_each_file_that_may_hold_it(start_daemon, files, where):
    if where == "privateKey":
        with open(files.key, "ab") as key, open(files.fullchain, "rb") as chain:
            key.write(chain.read())
    rest = {
        "certKey": f":certKey={files.fullchain}",
        "extraCertChain": f":certKey={files.leaf}:extraCertChain={files.chain}",
        "privateKey": ":backlog=50",
    }[where]
    daemon = start_daemon("--workers", "1", listen=files.endpoint(rest))
    assert served(daemon, files)  # verified against the root alone


@WORKERS
def test_sighup_brings_the_renewed_certificate_into_all_workers(start_daemon, files, workers):
    daemon = start_daemon("--workers", workers, listen=files.endpoint())
    old = served(daemon, files)
    with connect(daemon, files) as before:
        assert health(before).startswith(b"HTTP/1.1 200 ")
        files.renew()
        daemon.kill(signal.SIGHUP)
        until(lambda: "new connections get the new certificate" in daemon.log, "the log says so")
        until(lambda: all(old != served(daemon, files) for _ in range(8)), "every worker has it")
        assert health(before).startswith(b"HTTP/1.1 200 ")
    assert {served(daemon, files) for _ in range(8)} == {ssl.PEM_cert_to_DER_cert(first(files.leaf))}


def first(path):
    with open(path, encoding="ascii") as file:
        return file.read()


@WORKERS
@pytest.mark.parametrize("broken", ["key", "fullchain"])
def test_broken_renewal_is_one_error_line_and_keeps_the_old_certificate(start_daemon, files, workers, broken):
    daemon = start_daemon("--workers", workers, listen=files.endpoint())
    old = served(daemon, files)
    write(getattr(files, broken), b"broken")
    daemon.kill(signal.SIGHUP)
    until(lambda: "the certificate in use is kept" in daemon.log, "the log says so")
    assert {old} == {served(daemon, files) for _ in range(8)}
    assert 1 == sum("ERROR" in line for line in daemon.log.splitlines())
    assert "Traceback" not in daemon.log


def test_replaced_worker_gets_the_certificate_in_use_while_the_files_are_broken(start_daemon, files):
    daemon = start_daemon("--workers", "2", listen=files.endpoint())
    old = served(daemon, files)
    write(files.key, b"broken")
    killed = daemon.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(daemon.workers()) - set(killed)) == 2, "both are replaced")
    assert old == served(daemon, files)


def test_key_of_another_certificate_is_refused(files):
    other = files.key + ".other"
    os.rename(files.key, other)
    files.renew()
    with pytest.raises(ValueError, match="the private key does not belong to the certificate"):
        read_certificate(f"ssl:1:privateKey={other}:certKey={files.fullchain}")


def test_reason_of_openssl_is_in_the_error_of_a_small_key(files):
    files.renew(rsa.generate_private_key(65537, 1024))
    with pytest.raises(ValueError, match="ee key too small"):
        read_certificate(files.endpoint())


UNKNOWN_CURVE = b"""-----BEGIN EC PRIVATE KEY-----
MGkCAQEEHQBsc4aUMsTbxk7MkBkhOmen8qrQ2EQkOEbsxpxAoAcGBSuBBAAgoTwD
OgAEl32hfxTJrmXWDpLGPbPDgXL+FHEZGDDifDYJenU9dhSEQvqmsUlBhnS3XEeV
0MnmsveGvpW6ZlI=
-----END EC PRIVATE KEY-----
"""
"""A key on the curve secp224k1, which the package cryptography lacks."""

UNKNOWN_CURVE_CERTIFICATE = b"""-----BEGIN CERTIFICATE-----
MIIBaTCCARigAwIBAgIUWHpGYqTJCvCUgBOc2/UVNr/yWB8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MB4XDTI2MTEyNjA4NDAzMVoXDTI2MTEyOTA4
NDAzMVowFDESMBAGA1UEAwwJbG9jYWxob3N0ME4wEAYHKoZIzj0CAQYFK4EEACAD
OgAEl32hfxTJrmXWDpLGPbPDgXL+FHEZGDDifDYJenU9dhSEQvqmsUlBhnS3XEeV
0MnmsveGvpW6ZlKjUzBRMB0GA1UdDgQWBBTuRaEiW9TQUxKGVMr+SSiHmi0s6jAf
BgNVHSMEGDAWgBTuRaEiW9TQUxKGVMr+SSiHmi0s6jAPBgNVHRMBAf8EBTADAQH/
MAoGCCqGSM49BAMCAz8AMDwCHB/fhyYrPThX4FSnhV5+oNr0YQ+Cu8E5oklNVv0C
HBdR2BwdrKgMTL5MEnUgDCVIRiIF9o86h3F6mB8=
-----END CERTIFICATE-----
"""
"""Its certificate, signed by itself."""


def test_key_on_an_unknown_curve_is_refused(files):
    write(files.key, UNKNOWN_CURVE)
    with pytest.raises(ValueError, match=r"the private key cannot be used: Curve .* is not supported"):
        read_certificate(files.endpoint())


def test_renewed_key_on_an_unknown_curve_is_one_error_line(start_daemon, files):
    daemon = start_daemon("--workers", "1", listen=files.endpoint())
    old = served(daemon, files)
    write(files.key, UNKNOWN_CURVE)
    daemon.kill(signal.SIGHUP)
    until(lambda: "the certificate in use is kept" in daemon.log, "the log says so")
    assert (old, False) == (served(daemon, files), "Traceback" in daemon.log)


@pytest.mark.parametrize(("broken", "reason"), [("small", "ee key too small"), ("curve", "is not supported")])
def test_daemon_does_not_start_with_an_unusable_key(files, tmp_path, broken, reason):
    if broken == "small":
        files.renew(rsa.generate_private_key(65537, 1024))
    else:
        write(files.key, UNKNOWN_CURVE)
        write(files.fullchain, UNKNOWN_CURVE_CERTIFICATE)
    options = ["--listen", files.endpoint(), "--store", str(tmp_path / "s"), "--images", str(tmp_path / "i")]
    done = run("-n", "filestored", *options, cwd=str(tmp_path))
    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith("filestored: --listen ssl:0:")
    assert reason in done.stderr


def test_certificate_of_the_key_is_sent_first_whatever_the_order_of_the_file(files):
    with open(files.leaf, "rb") as leaf:
        write(files.fullchain, files.intermediate.pem + leaf.read() * 2)
    chain = read_certificate(files.endpoint()).chain
    assert first(files.leaf) + files.intermediate.pem.decode() == chain


def test_private_key_is_not_in_the_repr(files):
    assert "PRIVATE" not in repr(read_certificate(files.endpoint()))


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        ("tcp:80", "tcp:80"),
        ("ssl:1:privateKey=k:certKey=c", "ssl:1:privateKey=/d\\:e/k:certKey=/d\\:e/c"),
        ("ssl:1:k:c:interface=\\:\\:", "ssl:1:privateKey=/d\\:e/k:certKey=/d\\:e/c:interface=\\:\\:"),
        ("ssl:privateKey=k:port=1", "ssl:privateKey=/d\\:e/k:port=1"),
        ("ssl:1:privateKey=/a\\:k", "ssl:1:privateKey=/a\\:k"),
        ("ssl:1", "ssl:1:privateKey=/d\\:e/server.pem"),
        ("haproxy:tcp:80", "haproxy:tcp:80"),
        ("haproxy:ssl:1:privateKey=k", "haproxy:ssl:1:privateKey=/d\\:e/k"),
    ],
)
def test_paths_of_tls_endpoints_become_absolute(text, absolute):
    assert absolute == with_absolute_paths(text, "/d:e")


@pytest.mark.parametrize("prefix", ["", "haproxy:"])
def test_paths_of_tls_endpoints_start_at_rundir(start_daemon, files, tmp_path, prefix):
    start_daemon(
        "--workers",
        "2",
        listen=f"{prefix}ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=fullchain.pem",
        twistd=("-n", "--rundir", str(tmp_path)),
    )


@pytest.mark.parametrize("word", ["sslmethod=TLSv1_METHOD", "dhParameters=dh.pem"])
def test_unsupported_words_of_tls_endpoints_are_named(word):
    with pytest.raises(ValueError, match=word.partition("=")[0]):
        with_absolute_paths(f"ssl:1:{word}", "/")


PROXY_HEADERS = {
    "192.0.2.7": b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n",
    "192.0.2.8": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\x08\xc0\0\2\1\x13\x88\x01\xbb",
}
"""Headers of versions 1 and 2 by the client that they name."""


def connect_as_proxy(daemon, files, header=PROXY_HEADERS["192.0.2.7"]):
    """Return a TLS connection that begins with a header of the PROXY protocol, and offers ALPN."""
    context = ssl.create_default_context(cafile=files.root_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = daemon.connect()
    plain.sendall(header)
    return context.wrap_socket(plain, server_hostname="localhost")


@WORKERS
def test_proxy_header_comes_before_tls(start_daemon, files, workers):
    daemon = start_daemon("--workers", workers, "--access-log", "-", listen=f"haproxy:{files.endpoint()}")
    for header in PROXY_HEADERS.values():
        with connect_as_proxy(daemon, files, header) as connection:
            assert "http/1.1" == connection.selected_alpn_protocol()
            assert health(connection).startswith(b"HTTP/1.1 200 ")
    until(lambda: all(client in daemon.log for client in PROXY_HEADERS), "the log has the clients")
    assert "https://" in daemon.log
    old = proxied_certificate(daemon, files)
    files.renew()
    daemon.kill(signal.SIGHUP)
    until(lambda: all(old != proxied_certificate(daemon, files) for _ in range(8)), "every worker renews")
    assert "Traceback" not in daemon.log


@pytest.mark.parametrize("client", PROXY_HEADERS)
@pytest.mark.parametrize("cut", [16, 20, 100])
def test_proxy_header_in_two_pieces_and_a_large_file_behind_it(share_daemon, kept_files, client, cut):
    daemon = share_daemon("--workers", "1", "--access-log", "-", listen=f"haproxy:{kept_files.endpoint()}")
    context = ssl.create_default_context(cafile=kept_files.root_file)
    header, content = PROXY_HEADERS[client], os.urandom(5_000_000)
    before = daemon.log.count(client)
    plain = daemon.connect()
    plain.sendall(header[:cut])
    time.sleep(0.1)
    plain.sendall(header[cut:])
    with BlockingClient(context.wrap_socket(plain, server_hostname="localhost")) as connection:
        head = request_head("/", f"Content-Length: {len(content)}", "Content-Type: a/b", method="POST")
        name = connection.request(head + content).body.decode()
        assert content == connection.request(request_head(f"/files/{name}")).body
    until(lambda: daemon.log.count(client) == before + 2, "the log has the client of both requests")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY NONSENSE\r\n",
        b"PROXY TCP4 192.0.2.7" + b"x" * 200,
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + b"x" * 12,
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x01x",
        b"PROXY",
    ],
)
def test_malformed_proxy_header_ends_the_connection(share_daemon, kept_files, header):
    daemon = share_daemon("--workers", "1", listen=f"haproxy:{kept_files.endpoint()}")
    with daemon.connect() as plain:
        plain.sendall(header)
        plain.shutdown(socket.SHUT_WR)
        assert BlockingClient(plain).ended()
    with connect_as_proxy(daemon, kept_files) as connection:
        assert health(connection).startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in daemon.log


def proxied_certificate(daemon, files):
    with connect_as_proxy(daemon, files) as connection:
        return connection.getpeercert(binary_form=True)


def test_proxied_tls_connection_without_the_header_is_closed(share_daemon, kept_files):
    daemon = share_daemon("--workers", "1", listen=f"haproxy:{kept_files.endpoint()}")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(daemon, kept_files)
    assert "Traceback" not in daemon.log


def test_plain_http_on_a_tls_port_ends_the_connection(share_daemon, kept_files):
    daemon = share_daemon("--workers", "1", listen=kept_files.endpoint())
    with daemon.connect() as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not plain.recv(4096).startswith(b"HTTP/")
    assert "Traceback" not in daemon.log


def test_client_that_leaves_without_close_notify_is_not_an_error(share_daemon, kept_files):
    daemon = share_daemon("--workers", "1", listen=kept_files.endpoint())
    connection = connect(daemon, kept_files)
    assert health(connection).startswith(b"HTTP/1.1 200 ")
    with socket.socket(fileno=connection.detach()):
        pass
    with connect(daemon, kept_files) as other:
        assert health(other).startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in daemon.log


@WORKERS
def test_sighup_while_draining_reopens_logs_and_leaves_the_certificate(start_daemon, files, workers):
    daemon = start_daemon("--workers", workers, "--drain", "3600", listen=files.endpoint())
    with connect(daemon, files) as connection:
        connection.sendall(EXPECTING)
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        daemon.kill(signal.SIGTERM)
        until(daemon.refuses, "the port is closed")
        files.renew()
        daemon.kill(signal.SIGHUP)
        until(lambda: "log files reopened" in daemon.log, "the log is open anew")
        connection.sendall(b"world")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    until(daemon.ended, "it ends with its last request")
    assert [] == [line for line in daemon.log.splitlines() if "ERROR" in line or "CRITICAL" in line]
    assert "Traceback" not in daemon.log
