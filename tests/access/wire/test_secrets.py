"""Secrets and signatures in no log, no error and no list of processes, wherever a client puts them."""

import hashlib
import os
import resource
import signal

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, basic, bearer
from tests.access.wire.kept_connection import KeptConnection
from tests.daemon_process import until
from tests.http_clients.raw_socket import RawSocketClient, head
from tests.token_leaks import ARGUMENTS, arguments_of, leaks

ANNA = Token("anna", {"photos": RIGHTS})
EXPIRED = Token("expired", {"photos": RIGHTS}, expires="2020-01-01")
STRANGER = Token("stranger", {"photos": RIGHTS})
ACCESS = access_text(ANNA, EXPIRED, Bucket("photos"))
FILE = b"a photo"
PHOTO = f"/buckets/photos/files/{hashlib.sha256(FILE).hexdigest()}"
SECRET = ANNA.secret
SIGNATURE = ANNA.signature(PHOTO)
LINK = f"{PHOTO}?{ANNA.sign(PHOTO)}"


def encoded(text: str, times: int = 1) -> str:
    """Percent-encode each letter, repeatedly."""
    for _ in range(times):
        text = "".join(f"%{ord(letter):02x}" for letter in text)
    return text


TARGETS = [
    LINK,
    LINK + "&name=x",
    f"{PHOTO}?signature={SIGNATURE}",
    LINK.replace("signature", "Signature"),
    LINK.replace("signature=", encoded("signature") + "="),
    LINK.replace("signature=", "%73ignature%3D"),
    LINK.replace("signature=", "signature=%20"),
    LINK.replace("&", "&amp;"),
    LINK.replace("&", ";"),
    LINK.replace("?", "%3F"),
    LINK.replace("?", "??"),
    LINK.replace("?", "#"),
    f"http://x{LINK}",
    f"{LINK}&{LINK}",
    f"/nothing?{ANNA.sign('/nothing')}",
    f"/{ANNA.sign(PHOTO)}",
    f"/imageapi/token/x/?{ANNA.sign(PHOTO)}",
    f"{PHOTO}?token={SECRET}",
    f"{PHOTO}?access_token={SECRET}&x=y",
    f"/{SECRET}",
    f"/buckets/{SECRET}/files/",
    f"/files/{SECRET}",
    f"/?hash={SECRET}",
    f"{PHOTO}?token={SECRET.replace('_', '%5f', 1)}",
    f"{PHOTO}?token={encoded(SECRET)}",
    f"http://user:{SECRET}@x/files/",
    f"/{SECRET} HTTP/1.1 x",
]

FIELDS = [
    bearer(SECRET),
    basic(SECRET),
    basic(SECRET, "anna"),
    basic(SECRET, "an"),
    basic(SECRET, "x"),
    bearer(EXPIRED.secret),
    bearer(STRANGER.secret),
    f"Authorization: {SECRET}",
    f"Authorization : Bearer {SECRET}",
    f"Authorization: Token {SECRET}",
    f"Proxy-Authorization: Bearer {SECRET}",
    f"Referer: http://x{LINK}",
    f"Referer: http://x/?token={SECRET}",
    f"User-Agent: curl -u :{SECRET}",
    f"User-Agent: {bearer(SECRET)}",
    f"User-Agent: {basic(SECRET)}",
    f"Cookie: {SECRET}",
    f"Host: {SECRET}",
    f"Origin: http://{SECRET}",
    f"X-Forwarded-For: {SECRET}",
]


@pytest.fixture(scope="module", params=[(), ("--log-json",)], ids=["text", "JSON"])
def daemon(request, start_with_access):
    """A daemon that logs all that it can, with two workers."""
    return start_with_access(
        ACCESS, "--workers", "2", "--access-log", "-", "--log-level", "debug", *request.param
    )


def send(daemon, method: str, target: str, *lines: str, body: bytes | None = None) -> bytes:
    """Send a request, well-formed or not; return all that comes back."""
    length = () if body is None else (f"Content-Length: {len(body)}",)
    with RawSocketClient(daemon.port) as peer:
        peer.send(head(method, target, [*lines, *length, "Connection: close"]) + (body or b""))
        return peer.remainder()


def test_no_secret_and_no_signature_is_logged_or_answered(daemon):
    with KeptConnection(daemon.port) as ask:
        assert ask("PUT", PHOTO, (bearer(SECRET),), FILE).status in (200, 201)
    answers = []
    for target in TARGETS:
        for method in ("GET", "DELETE", "BREW"):
            answers.append(send(daemon, method, target))
            answers.append(
                send(daemon, method, target, "Accept: application/json", "Referer: http://x" + target)
            )
    for field in FIELDS:
        for target in (PHOTO, "/nothing", "/buckets/unknown/usage"):
            answers.append(send(daemon, "GET", target, field))
            answers.append(send(daemon, "POST", target, field, "Accept: application/json", body=b"x"))
    send(daemon, "GET", "/the-last-request")
    until(lambda: "/the-last-request" in daemon.log, "the requests are logged")
    assert [] == [answer for answer in answers if any(each in answer for each in secret_texts())]
    assert [] == leaks(daemon.directory)
    logged = daemon.log
    assert PHOTO in logged
    assert [] == [each.decode() for each in secret_texts() if each.decode() in logged]


def secret_texts() -> list[bytes]:
    """Return texts that hold a secret or make one, each in several forms."""
    found = [SIGNATURE, ANNA.sha256.hex(), encoded(SECRET)[:60]]
    for token in (ANNA, EXPIRED, STRANGER):
        found += [token.secret, token.secret[4:], basic(token.secret).split()[-1]]
    found += [basic(SECRET, user).split()[-1] for user in ("anna", "an", "x")]
    return [text.encode() for text in found]


def test_no_secret_is_an_argument_of_a_process(daemon):
    arguments = arguments_of([daemon.pid, *daemon.workers()])
    assert b"--access" in arguments
    assert [] == leaks(daemon.directory, arguments=arguments)
    assert [ARGUMENTS] == leaks(daemon.directory, arguments=arguments + SECRET.encode())


PLANTED = [
    f"GET {LINK} HTTP/1.1",
    f"GET /?signature={SIGNATURE}",
    f"GET /?{encoded('signature')}={SIGNATURE}",
    f"Bearer {SECRET}",
    f"Bearer {STRANGER.secret}",
    *(basic(SECRET, user) for user in ("", "a", "ab", "abc")),
    f"sha256 = {ANNA.sha256.hex()}",
]


@pytest.mark.parametrize("text", PLANTED)
def test_search_finds_a_planted_secret(tmp_path, text):
    (tmp_path / "log").write_text("nothing\n")
    (tmp_path / "rules.toml").write_text(ACCESS)
    assert [] == leaks(str(tmp_path))
    (tmp_path / "access.planted").write_text(f"a line with {text} in it\n")
    assert ["access.planted"] == leaks(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [f"GET {PHOTO}?key=x&expires=1&signature=*** HTTP/1.1", "fst_***", "Bearer ***", "signature=", "fst_"],
)
def test_search_takes_no_redacted_text_for_a_secret(tmp_path, text):
    (tmp_path / "log").write_text(f"{text}\n")
    assert [] == leaks(str(tmp_path))


def allow_core_files() -> None:
    """Lift the limit of core files, as some systems do."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize("workers", [1, 2])
def test_process_that_crashes_writes_no_secret_into_a_core_file(start_with_access, workers):
    daemon = start_with_access(ACCESS, "--workers", str(workers), before_exec=allow_core_files)
    with KeptConnection(daemon.port) as ask:
        for _ in range(20):
            assert 404 == ask("GET", PHOTO, (bearer(SECRET),)).status
    pids = daemon.workers() or [daemon.pid]
    for pid in pids:
        os.kill(pid, signal.SIGABRT)
    until(lambda: not set(pids) & set(daemon.workers()), "the workers have ended")
    if workers == 1:
        until(daemon.ended, "the daemon has ended")
    cores = [name for name in os.listdir(daemon.directory) if name.startswith("core")]
    assert [] == [name for name in cores if name in leaks(daemon.directory)]
    for name in cores:
        os.unlink(os.path.join(daemon.directory, name))
