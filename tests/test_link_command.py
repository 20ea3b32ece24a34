"""``filestored link``, as a user runs it: signed links made without a server."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from filestored.access.rules import AccessRules, Right, Token
from filestored.access.signed_links import SignedLink, verify
from filestored.access.tokens import make_secret, sha256_of
from filestored.cli import main
from tests.command_line import run_filestored

SECRET = make_secret()
TOKEN = Token("ci", sha256_of(SECRET), None, {"builds": frozenset([Right.READ])})
HASH = "900150983cd24fb0d6963f7d28e17f72"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("FILESTORED_TOKEN", SECRET)
    monkeypatch.delenv("FILESTORED_SERVER", raising=False)
    return monkeypatch


def link(*words):
    return run_filestored("link", *words)


def printed(*words) -> tuple[str, SignedLink]:
    """Return what stands before the query of a printed link, and its parameters."""
    done = link(*words)
    assert (0, "", 1) == (done.returncode, done.stderr, done.stdout.count("\n"))
    assert SECRET not in done.stdout
    parts = urlsplit(done.stdout.strip())
    query = parse_qs(parts.query, strict_parsing=True)
    assert {"key", "expires", "signature"} == set(query)
    signed = SignedLink(**{name: values[0] for name, values in query.items()}, path=parts.path.encode())
    return f"{parts.scheme}://{parts.netloc}{parts.path}", signed


def test_link_is_valid_for_its_duration():
    before = time.time()
    address, signed = printed(
        HASH, "--bucket", "builds", "--expires", "7d", "--server", "https://files.example/"
    )
    assert f"https://files.example/buckets/builds/files/{HASH}" == address
    assert TOKEN is AccessRules({"ci": TOKEN}, {}).find_key(signed.key)
    assert verify(signed, TOKEN, before + 7 * 86_400 - 1)
    assert not verify(signed, TOKEN, time.time() + 7 * 86_400 + 1)


@pytest.mark.parametrize("words", [[], ["--bucket", "default"]])
def test_default_bucket_is_served_at_the_root(words):
    address, signed = printed(
        HASH.upper(), *words, "--expires", "9999-01-01", "--server", "http://localhost:9000"
    )
    assert f"http://localhost:9000/files/{HASH}" == address
    assert verify(signed, TOKEN, time.time())
    assert "253370764800" == signed.expires


def test_server_comes_from_the_environment(environment):
    environment.setenv("FILESTORED_SERVER", "http://[::1]:9000/")
    assert f"http://[::1]:9000/files/{HASH}" == printed(HASH, "--expires", "1h")[0]
    named = printed(HASH, "--expires", "1h", "--server", "https://other.example")
    assert f"https://other.example/files/{HASH}" == named[0]


WRONG_SECRETS = {
    "none": (None, "is not set; put the secret of a token there"),
    "empty": ("", "is not set; put the secret of a token there"),
    "cut off": (SECRET[:-1], "is not a whole secret; copy it again"),
    "mistyped": (
        SECRET[:9] + ("A" if SECRET[9] != "A" else "B") + SECRET[10:],
        "is not a whole secret; copy it again",
    ),
    "with a line end": (f"{SECRET}\n", "is not a whole secret; copy it again"),
}


@pytest.mark.parametrize("case", WRONG_SECRETS)
def test_wrong_secret_is_one_line_without_it(environment, case):
    secret, reason = WRONG_SECRETS[case]
    environment.delenv("FILESTORED_TOKEN")
    if secret is not None:
        environment.setenv("FILESTORED_TOKEN", secret)
    done = link(HASH, "--expires", "7d", "--server", "https://files.example")
    assert (1, "", f"filestored: FILESTORED_TOKEN {reason}\n") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([HASH, "--expires", "7d"], "name a server with --server URL, or in FILESTORED_SERVER"),
        ([HASH, "--server", "https://a"], "required: --expires"),
        (
            ["x" * 32, "--expires", "7d", "--server", "https://a"],
            "is not a hash: 32 to 128 hexadecimal digits",
        ),
        ([HASH, "--expires", "7d", "--server", "https://a/b"], "'https://a/b' is not"),
        ([HASH, "--expires", "7d", "--server", "ftp://a"], "'ftp://a' is not an address"),
        ([HASH, "--expires", "7d", "--server", "https://u:p@a"], "is not an"),
        ([HASH, "--expires", "2020-01-01", "--server", "https://a"], "'2020-01-01' is in the past"),
        (
            [HASH, "--expires", "7d", "--server", "https://a", "--bucket", "*"],
            "'*' is not the name of a bucket",
        ),
    ],
)
def test_wrong_argument_is_named(capsys, words, reason):
    with pytest.raises(SystemExit) as ended:
        main(["link", *words])
    printed = capsys.readouterr()
    assert (2, "") == (ended.value.code, printed.out)
    assert reason in printed.err.splitlines()[-1]
