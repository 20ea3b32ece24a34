"""Decisions about access: credentials x right x bucket, compared with a table that is written by hand."""

import itertools

import pytest

from filestored.access.decisions import Credentials, Decision, Outcome, decide
from filestored.access.rules import AccessRules, BucketRules, Right, Token
from filestored.access.signed_links import SignedLink, sign
from filestored.access.tokens import make_secret, sha256_of

NOW = 1_800_000_000.0
READ, WRITE, DELETE, LIST = Right
RIGHTS = (READ, WRITE, DELETE, LIST, None)

TOKENS = {
    "read": {"default": [READ], "builds": [READ]},
    "write": {"default": [WRITE], "builds": [WRITE]},
    "delete": {"default": [DELETE], "builds": [DELETE]},
    "list": {"default": [LIST], "builds": [LIST]},
    "all": {"*": [READ, WRITE, DELETE, LIST]},
    "all but builds": {"*": [READ, WRITE, DELETE, LIST], "builds": []},
    "none": {},
    "expired": {"*": [READ, WRITE, DELETE, LIST]},
}
"""Rights of each token; the buckets of the rules also have `public` ones."""

BUCKETS = {"default": [], "builds": [], "readable": [READ], "open": [READ, WRITE, DELETE, LIST]}
"""Rights of the public. The bucket ``unknown`` is in no rule."""

SECRETS = {name: make_secret() for name in [*TOKENS, "unknown"]}

RULES = AccessRules(
    {
        name: Token(
            name,
            sha256_of(SECRETS[name]),
            NOW if name == "expired" else NOW + 1,
            {bucket: frozenset(rights) for bucket, rights in buckets.items()},
        )
        for name, buckets in TOKENS.items()
    },
    {name: BucketRules(name, public=frozenset(rights)) for name, rights in BUCKETS.items()},
)

TABLE = """
credentials     default  builds  readable  open   unknown
(nothing)       -----    -----   +---+     +++++  -----
malformed       -----    -----   -----     -----  -----
unknown         -----    -----   -----     -----  -----
expired         -----    -----   -----     -----  -----
read            +fff+    +fff+   +fff+     +++++  uuuuu
write           f+ff+    f+ff+   +fff+     +++++  uuuuu
delete          ff+f+    ff+f+   +fff+     +++++  uuuuu
list            fff++    fff++   +fff+     +++++  uuuuu
all             +++++    +++++   +++++     +++++  uuuuu
all_but_builds  +++++    uuuuu   +++++     +++++  uuuuu
none            uuuuu    uuuuu   +fff+     +++++  uuuuu
"""
"""In each cell the outcomes of read, write, delete, list and of any right.

``+`` allowed, ``-`` credentials needed, ``f`` forbidden, ``u`` unknown bucket.
"""

SIGNS = {
    "+": Outcome.ALLOWED,
    "-": Outcome.CREDENTIALS_NEEDED,
    "f": Outcome.FORBIDDEN,
    "u": Outcome.UNKNOWN_BUCKET,
    "b": Outcome.BAD_LINK,
}


def rows(table: str) -> dict[tuple[str, str], str]:
    """Return the cells of a table by the names of their row and column."""
    first, *others = (line.split() for line in table.strip().splitlines())
    return {
        (row[0].replace("_", " "), bucket): cell
        for row in others
        for bucket, cell in zip(first[1:], row[1:], strict=True)
    }


def credentials(name: str) -> Credentials:
    if name == "(nothing)":
        return Credentials()
    return Credentials(malformed=True) if name == "malformed" else Credentials(SECRETS[name])


def outcomes(of: Credentials, bucket: str) -> list[Outcome]:
    return [decide(RULES, of, bucket, right, NOW).outcome for right in RIGHTS]


@pytest.mark.parametrize(("name", "bucket"), rows(TABLE))
def test_outcome_is_that_of_the_table(name, bucket):
    expected = [SIGNS[sign] for sign in rows(TABLE)[name, bucket]]
    assert expected == outcomes(credentials(name), bucket)


def test_table_has_all_credentials_and_buckets():
    names = {"(nothing)", "malformed", *SECRETS}
    assert set(itertools.product(names, [*BUCKETS, "unknown"])) == set(rows(TABLE))


@pytest.mark.parametrize(("name", "bucket"), rows(TABLE))
def test_only_what_the_public_gets_is_not_private(name, bucket):
    for right in RIGHTS:
        outcome, private = decide(RULES, credentials(name), bucket, right, NOW)
        assert private == (name != "(nothing)" or outcome is not Outcome.ALLOWED)


def link_of(name: str, bucket: str, **changes: object) -> SignedLink:
    path = f"/buckets/{bucket}/files/abc".encode()
    query = dict(each.split("=") for each in sign(SECRETS[name], path, int(NOW) + 1).split("&"))
    return SignedLink(**{**query, "path": path, **changes})


LINK_TABLE = """
signed_by       default  builds  readable  open   unknown
unknown         bbbbb    bbbbb   bbbbb     bbbbb  bbbbb
expired         bbbbb    bbbbb   bbbbb     bbbbb  bbbbb
read            +---+    +---+   +---+     +++++  bbbbb
write           bbbbb    bbbbb   +---+     +++++  bbbbb
delete          bbbbb    bbbbb   +---+     +++++  bbbbb
list            bbbbb    bbbbb   +---+     +++++  bbbbb
all             +---+    +---+   +---+     +++++  bbbbb
all_but_builds  +---+    bbbbb   +---+     +++++  bbbbb
none            bbbbb    bbbbb   +---+     +++++  bbbbb
"""
"""Outcomes for a signed link without other credentials."""


@pytest.mark.parametrize(("name", "bucket"), rows(LINK_TABLE))
def test_outcome_of_a_link_is_that_of_the_table(name, bucket):
    expected = [SIGNS[sign] for sign in rows(LINK_TABLE)[name, bucket]]
    assert expected == outcomes(Credentials(link=link_of(name, bucket)), bucket)


ALTERED = {
    "key": "0" * 16,
    "expires": str(int(NOW)),
    "signature": "A" * 43,
    "path": b"/buckets/open/files/abd",
}


@pytest.mark.parametrize("part", ALTERED)
@pytest.mark.parametrize("bucket", [*BUCKETS, "unknown"])
def test_altered_link_is_refused_even_where_the_public_may_read(part, bucket):
    link = link_of("all", bucket, **{part: ALTERED[part]})
    assert Decision(Outcome.BAD_LINK, private=True) == decide(
        RULES, Credentials(link=link), bucket, READ, NOW
    )


def test_response_to_a_link_is_private_even_where_the_public_may_read():
    link = link_of("all", "open")
    assert Decision(Outcome.ALLOWED, private=True) == decide(RULES, Credentials(link=link), "open", READ, NOW)


def test_refused_token_is_refused_with_a_valid_link_too():
    for name in ("unknown", "expired"):
        both = Credentials(SECRETS[name], link=link_of("all", "open"))
        assert Outcome.CREDENTIALS_NEEDED is decide(RULES, both, "open", READ, NOW).outcome
    malformed = Credentials(malformed=True, link=link_of("all", "open"))
    assert Outcome.CREDENTIALS_NEEDED is decide(RULES, malformed, "open", READ, NOW).outcome


def test_token_with_the_right_needs_no_valid_link():
    bad = link_of("all", "builds", signature="A" * 43)
    assert (
        Outcome.ALLOWED is decide(RULES, Credentials(SECRETS["read"], link=bad), "builds", READ, NOW).outcome
    )
    assert (
        Outcome.BAD_LINK
        is decide(RULES, Credentials(SECRETS["write"], link=bad), "builds", READ, NOW).outcome
    )
    assert (
        Outcome.BAD_LINK is decide(RULES, Credentials(SECRETS["none"], link=bad), "open", READ, NOW).outcome
    )


def test_token_ends_at_its_expiry():
    holder = Credentials(SECRETS["all"])
    assert Outcome.ALLOWED is decide(RULES, holder, "builds", READ, NOW + 0.999).outcome
    assert Outcome.CREDENTIALS_NEEDED is decide(RULES, holder, "builds", READ, NOW + 1).outcome


def test_text_of_credentials_does_not_show_the_secret():
    link = link_of("all", "open")
    shown = repr(Credentials(SECRETS["all"], link=link))
    assert SECRETS["all"] not in shown
    assert link.signature not in shown
