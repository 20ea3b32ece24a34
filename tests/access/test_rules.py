"""Access rules: lookups of tokens, rights, the next expiry."""

import pytest

from filestored.access.rules import AccessRules, BucketRules, Right, Token
from filestored.access.tokens import make_secret, sha256_of

READ, WRITE, DELETE, LIST = Right
SECRETS = {"ci": make_secret(), "all": make_secret()}
CI = Token("ci", sha256_of(SECRETS["ci"]), 200.0, {"builds": frozenset([READ, WRITE]), "logs": frozenset()})
ALL = Token(
    "all", sha256_of(SECRETS["all"]), 100.0, {"*": frozenset([READ, LIST]), "logs": frozenset([WRITE])}
)
RULES = AccessRules(
    {"ci": CI, "all": ALL},
    {"open": BucketRules("open", public=frozenset([READ])), "logs": BucketRules("logs", quota=5)},
)


def test_token_is_found_by_its_secret_only():
    assert [CI, ALL] == [RULES.find_secret(SECRETS[name]) for name in ("ci", "all")]
    for secret in (
        "",
        "ci",
        SECRETS["ci"][:-1],
        f"{SECRETS['ci']}\n",
        CI.sha256.hex(),
        CI.key_id,
        "é",
        "\ud800",
    ):
        assert RULES.find_secret(secret) is None


def test_token_is_found_by_its_key_id():
    assert [CI, ALL, None] == [RULES.find_key(key) for key in (CI.key_id, ALL.key_id, "ci")]


def test_default_bucket_and_buckets_of_tokens_exist():
    assert {"default", "builds", "logs", "open"} == set(RULES.buckets)
    assert BucketRules("builds") == RULES.buckets["builds"]
    assert 5 == RULES.buckets["logs"].quota
    assert {"default"} == set(AccessRules({}, {}).buckets)


RIGHTS = {
    (None, "default"): "",
    (None, "open"): "read",
    (None, "unknown"): "",
    ("ci", "builds"): "read write",
    ("ci", "logs"): "",
    ("ci", "open"): "read",
    ("ci", "default"): "",
    ("all", "default"): "list read",
    ("all", "builds"): "list read",
    ("all", "logs"): "write",
    ("all", "unknown"): "",
    ("all", "*"): "",
}


@pytest.mark.parametrize(("name", "bucket"), RIGHTS)
def test_rights_are_those_of_the_token_and_of_the_public(name, bucket):
    token = None if name is None else RULES.tokens[name]
    assert RIGHTS[name, bucket] == " ".join(sorted(RULES.rights(token, bucket)))


def test_next_expiry_is_the_first_one_to_come():
    assert [100.0, 200.0, 200.0, None] == [RULES.next_expiry(now) for now in (99.0, 100.0, 199.0, 200.0)]
    assert AccessRules({}, {}).next_expiry(0.0) is None


def test_rules_pass_as_json_between_processes():
    limited = BucketRules("limited", 5, 6, 7.5, frozenset([READ, LIST]), frozenset(["https://a.example"]))
    rules = AccessRules(RULES.tokens, {**RULES.buckets, "limited": limited})
    passed = AccessRules.from_json(rules.to_json())
    assert rules == passed
    assert CI == passed.find_secret(SECRETS["ci"])


def test_equal_rules_are_equal():
    assert RULES == AccessRules(dict(RULES.tokens), dict(RULES.buckets))
    assert RULES != AccessRules({}, dict(RULES.buckets))


def test_text_of_rules_does_not_show_the_hash_of_a_secret():
    assert str(CI.sha256) not in repr(RULES)
    assert CI.sha256.hex() not in repr(RULES)
