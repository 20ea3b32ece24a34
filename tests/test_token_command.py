"""``filestored token`` and ``filestored bucket``, as an operator runs them."""

import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from filestored.access.access_file import read_rules
from filestored.cli import main
from tests.command_line import run_filestored

RULES = """# Access.
[buckets.builds]
quota = "50 GiB"
max_files = 1_000_000
expire = "30 days"
public = ["delete", "read"]
cors = ["https://b.example", "https://a.example"]
"""


@pytest.fixture
def access(tmp_path):
    path = tmp_path / "access.toml"
    path.write_text(RULES)
    path.chmod(0o600)
    return str(path)


def token(*words, access):
    return run_filestored("token", *words, "--access", access)


def add(*words, access):
    """Add a token and return its secret."""
    done = token("add", *words, access=access)
    assert (0, "") == (done.returncode, done.stderr)
    assert re.fullmatch(r"fst_[A-Za-z0-9_-]{49}\n", done.stdout)
    return done.stdout.strip()


def test_added_token_has_the_printed_secret_and_the_rights(access):
    secret = add(
        "ci", "--bucket", "builds=read,write", "--bucket", "*=read", "--bucket", "logs=", access=access
    )
    rules = read_rules(access)
    assert "ci" == rules.find_secret(secret).name
    assert {"builds": {"read", "write"}, "*": {"read"}, "logs": set()} == rules.tokens["ci"].buckets
    assert rules.tokens["ci"].expires is None
    with open(access, encoding="utf-8") as file:
        text = file.read()
    assert text.startswith(RULES)
    assert secret not in text


def test_bucket_that_is_named_twice_gets_both_rights(access):
    add("ci", "--bucket", "builds=read", "--bucket", "builds=write", access=access)
    assert {"builds": {"read", "write"}} == read_rules(access).tokens["ci"].buckets


def test_missing_file_is_created_for_its_owner_only(tmp_path):
    access = str(tmp_path / "new.toml")
    add("ci", "--bucket", "builds=read", access=access)
    assert 0o600 == stat.S_IMODE(os.stat(access).st_mode)
    assert {"builds", "default"} == set(read_rules(access).buckets)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9999-03-01", datetime(9999, 3, 1, tzinfo=UTC)),
        ("9999-03-01T12:00:00+02:00", datetime(9999, 3, 1, 10, tzinfo=UTC)),
        ("9999-03-01T12:00:00", datetime(9999, 3, 1, 12, tzinfo=UTC)),
    ],
)
def test_token_expires_at_a_date(access, text, expected):
    add("ci", "--bucket", "builds=read", "--expires", text, access=access)
    assert expected.timestamp() == read_rules(access).tokens["ci"].expires


def test_token_expires_after_a_duration(access):
    before = datetime.now(UTC)
    add("ci", "--bucket", "builds=read", "--expires", "90d", access=access)
    expires = datetime.fromtimestamp(read_rules(access).tokens["ci"].expires, UTC)
    assert before + timedelta(days=90) <= expires <= datetime.now(UTC) + timedelta(days=90, seconds=1)


def test_existing_name_is_refused_and_keeps_its_secret(access):
    secret = add("ci", "--bucket", "builds=read", access=access)
    done = token("add", "ci", "--bucket", "builds=write", access=access)
    reason = "there is a token ci already; choose another name, or revoke it"
    assert (1, "", f"filestored: {access}: {reason}\n") == (done.returncode, done.stdout, done.stderr)
    assert {"builds": {"read"}} == read_rules(access).find_secret(secret).buckets


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-x", "--bucket", "b=read"], "required: NAME"),
        (["é", "--bucket", "b=read"], "'é' is not the name of a token"),
        (["ci"], "required: --bucket"),
        (
            ["ci", "--bucket", "b"],
            "'b' is not like builds=read,write; the rights are read, write, delete, list",
        ),
        (["ci", "--bucket", "b=reed"], "'b=reed' is not like builds=read,write"),
        (["ci", "--bucket", "B=read"], "'B' is not the name of a bucket"),
        (
            ["ci", "--bucket", "b=read", "--expires", "soon"],
            "'soon' is neither a duration like 90d nor a date",
        ),
        (["ci", "--bucket", "b=read", "--expires", "2020-01-01"], "'2020-01-01' is in the past"),
    ],
)
def test_wrong_argument_is_named_and_changes_nothing(access, capsys, words, reason):
    with pytest.raises(SystemExit) as ended:
        main(["token", "add", *words, "--access", access])
    printed = capsys.readouterr()
    assert (2, "") == (ended.value.code, printed.out)
    assert reason in printed.err.splitlines()[-1]
    assert RULES == open(access, encoding="utf-8").read()  # noqa: SIM115


def test_tokens_are_listed_without_secrets(access):
    secrets = [
        add("ci", "--bucket", "builds=write,read", "--bucket", "*=list", access=access),
        add("late", "--bucket", "builds=", "--expires", "9999-03-01", access=access),
    ]
    with open(access, "a", encoding="utf-8") as file:
        file.write(f'[tokens.old]\nsha256 = "{"a" * 64}"\nexpires = 2020-01-01\nbuckets = {{}}\n')
    done = token("list", access=access)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.splitlines() == [
        "ci  no expiry  builds=read,write *=list",
        "late  expires 9999-03-01T00:00:00Z  builds=",
        "old  expired 2020-01-01T00:00:00Z",
    ]
    listed = token("list", "--json", access=access)
    rules = read_rules(access)
    assert json.loads(listed.stdout) == {
        "tokens": [
            {
                "token": name,
                "key": rules.tokens[name].key_id,
                "expires": expires,
                "expired": expired,
                "buckets": buckets,
            }
            for name, expires, expired, buckets in (
                ("ci", None, False, {"builds": ["read", "write"], "*": ["list"]}),
                ("late", "9999-03-01T00:00:00Z", False, {"builds": []}),
                ("old", "2020-01-01T00:00:00Z", True, {}),
            )
        ]
    }
    for found in [*secrets, "a" * 64, rules.tokens["ci"].sha256.hex()]:
        assert found not in done.stdout + listed.stdout


def test_revoked_token_is_unknown(access):
    secret = add("ci", "--bucket", "builds=read", access=access)
    done = token("revoke", "ci", access=access)
    assert (0, "the token ci is revoked\n", "") == (done.returncode, done.stdout, done.stderr)
    assert read_rules(access).find_secret(secret) is None
    again = token("revoke", "ci", access=access)
    expected = f"filestored: {access}: there is no token ci\n"
    assert (1, "", expected) == (again.returncode, again.stdout, again.stderr)


def test_buckets_are_listed_with_their_rules(access):
    add("ci", "--bucket", "logs=read", access=access)
    done = run_filestored("bucket", "list", "--access", access)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.splitlines() == [
        "builds  quota=50 GiB  max_files=1000000  expire=30 d  public=read,delete  "
        "cors=https://a.example,https://b.example",
        "default",
        "logs",
    ]
    listed = json.loads(run_filestored("bucket", "list", "--json", "--access", access).stdout)
    assert ["builds", "default", "logs"] == [bucket["bucket"] for bucket in listed["buckets"]]
    assert listed["buckets"][0] == {
        "bucket": "builds",
        "quota": 50 * 2**30,
        "max_files": 1_000_000,
        "expire": 30 * 86_400,
        "public": ["read", "delete"],
        "cors": ["https://a.example", "https://b.example"],
    }


@pytest.mark.parametrize("words", [["token", "list"], ["token", "revoke", "ci"], ["bucket", "list"]])
def test_broken_or_readable_file_is_one_line(access, words):
    with open(access, "a", encoding="utf-8") as file:
        file.write("[buckets.x]\nQuota = 1\n")
    done = run_filestored(*words, "--access", access)
    expected = f"filestored: {access}: buckets.x.Quota: unknown key\n"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr)
    os.chmod(access, 0o644)
    done = run_filestored(*words, "--access", access)
    expected = f"filestored: {access}: other users have permissions on it; run chmod o= on it\n"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr)


def test_absent_file_is_one_line(tmp_path):
    absent = str(tmp_path / "absent.toml")
    done = token("list", access=absent)
    expected = f"filestored: {absent}: No such file or directory\n"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr)


def test_commands_at_the_same_time_lose_nothing(tmp_path):
    access = str(tmp_path / "new.toml")
    with ThreadPoolExecutor(4) as pool:
        secrets = list(
            pool.map(lambda number: add(f"t{number}", "--bucket", "b=read", access=access), range(4))
        )
    rules = read_rules(access)
    assert [f"t{number}" for number in range(4)] == [rules.find_secret(secret).name for secret in secrets]


@pytest.mark.parametrize(
    "words",
    [
        ["migrate"],
        ["account", "add"],
        ["account", "token"],
        ["account", "list"],
        ["account", "delete"],
        ["token", "add"],
        ["token", "list"],
        ["token", "revoke"],
        ["bucket", "list"],
        ["link"],
    ],
)
def test_help_of_each_command_has_an_example(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    example = capsys.readouterr().out.partition("example:\n")[2].strip()
    assert 0 == ended.value.code
    assert example.startswith(f"filestored {' '.join(words)} ")
