"""The access file on disk: checks, atomic changes, comments that survive, changes at the same time."""

import fcntl
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest

from filestored.access import access_file
from filestored.access.access_file import MAX_BYTES, add_token, read_rules, read_text, revoke_token
from filestored.access.rules import AccessRules, Right
from filestored.access.tokens import has_checksum
from filestored.errors import AccessFileError

READ, WRITE, DELETE, LIST = Right
A, B, C = "a" * 64, "b" * 64, "c" * 64

COMMENTED = f"""# Access of the build server.

# It builds.
[tokens.ci] # the server
sha256 = "{A}"
[tokens.ci.buckets]
# rights
builds = [
  "read", # to compare
]

# The laptop of Anna.
[tokens.anna]
sha256 = "{B}" # renewed in May
[tokens.anna.buckets]
"*" = ["read"]

  # Builds.
[buckets.builds] # of all branches
quota = "5 GiB" # much

# Late.
[tokens.late]
sha256 = "{C}"
buckets = {{}}
# End.
"""


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "access.toml")


def write(path: str, text: str, mode: int = 0o600) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.chmod(path, mode)


def comments(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("#")]


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440, 0o660])
def test_file_that_others_cannot_use_is_read(path, mode):
    write(path, "# é\r\n", mode)
    assert "# é\r\n" == read_text(path)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o777])
def test_file_that_others_can_use_is_refused(path, mode):
    write(path, "", mode)
    for read in (
        read_text,
        read_rules,
        lambda path: revoke_token(path, "ci"),
        lambda path: add_token(path, "b", {}),
    ):
        with pytest.raises(AccessFileError) as caught:
            read(path)
        assert f"{path}: other users have permissions on it; run chmod o= on it" == str(caught.value)
    assert mode == stat.S_IMODE(os.stat(path).st_mode)


def test_file_has_a_largest_size(path):
    write(path, "#" * MAX_BYTES)
    assert MAX_BYTES == len(read_text(path))
    write(path, "#" * (MAX_BYTES + 1))
    with pytest.raises(AccessFileError, match="larger than 1048576 bytes"):
        read_text(path)


def test_file_does_not_grow_beyond_its_largest_size(path):
    write(path, "#" * (MAX_BYTES - 50))
    with pytest.raises(AccessFileError, match="larger than 1048576 bytes"):
        add_token(path, "ci", {"builds": {READ}})
    assert MAX_BYTES - 50 == len(read_text(path))


def test_file_of_another_kind_is_refused_at_once(path, tmp_path):
    os.mkfifo(path, 0o600)
    for other in (path, str(tmp_path)):
        with pytest.raises(AccessFileError, match="it is not a file"):
            read_text(other)


def test_file_that_is_not_utf8_is_refused(path):
    write(path, "")
    with open(path, "wb") as file:
        file.write(b"\xff")
    with pytest.raises(AccessFileError, match="it is not UTF-8"):
        read_text(path)


def test_error_in_the_text_names_the_file_and_the_key(path):
    write(path, "[buckets.b]\nquota = 0")
    with pytest.raises(AccessFileError) as caught:
        read_rules(path)
    assert f"{path}: buckets.b.quota: Expected `int` >= 1" == str(caught.value)


def test_absent_file_is_an_error_of_the_system(path):
    for read in (read_text, read_rules, lambda path: revoke_token(path, "ci")):
        with pytest.raises(FileNotFoundError):
            read(path)


# --- adding -------------------------------------------------------------------------------------------------


def test_first_token_creates_the_file(path):
    before = os.umask(0)
    try:
        secret = add_token(path, "ci", {"builds": {WRITE, READ}, "*": {READ}}, date(2027, 3, 1))
    finally:
        os.umask(before)
    assert has_checksum(secret)
    assert 0o600 == stat.S_IMODE(os.stat(path).st_mode)
    text = read_text(path)
    assert secret not in text
    rules = AccessRules.parse(text)
    token = rules.find_secret(secret)
    assert token is rules.tokens["ci"]
    assert {"builds": {READ, WRITE}, "*": {READ}} == token.buckets
    assert datetime(2027, 3, 1, tzinfo=UTC).timestamp() == token.expires
    rights = '[tokens.ci.buckets]\nbuilds = ["read", "write"]\n"*" = ["read"]\n'
    assert text.endswith(f"expires = 2027-03-01\n\n{rights}\n[buckets.builds]\n")
    assert ["access.toml"] == os.listdir(os.path.dirname(path))


@pytest.mark.parametrize(
    "text", [COMMENTED, COMMENTED.rstrip("\n"), COMMENTED.replace("\n", "\r\n"), "", "# a\n\n\n"]
)
def test_added_token_stands_after_all_that_was_there(path, text):
    write(path, text)
    before = AccessRules.parse(text)
    secret = add_token(path, "a.b", {"builds": {READ}, "logs": set()}, datetime(2027, 3, 1, 12, tzinfo=UTC))
    after = read_rules(path)
    assert read_text(path).startswith(text.rstrip("\n"))
    assert {**before.tokens, "a.b": after.find_secret(secret)} == after.tokens
    assert {**after.buckets, **before.buckets} == after.buckets
    assert 1 == read_text(path).count("[buckets.builds]")
    assert "[buckets.logs]\n" in read_text(path)


def test_name_of_a_token_is_added_once(path):
    add_token(path, "ci", {"builds": {READ}})
    before = read_text(path)
    with pytest.raises(
        AccessFileError, match=r"there is a token ci already; choose another name, or revoke it"
    ):
        add_token(path, "ci", {"builds": {WRITE}})
    assert before == read_text(path)


def test_change_that_would_break_the_file_is_refused(path):
    text = f'tokens = {{ci = {{sha256 = "{A}", buckets = {{}}}}}}\n'
    write(path, text)
    with pytest.raises(AccessFileError, match="this command would break it: Cannot "):
        add_token(path, "b", {"builds": {READ}})
    with pytest.raises(AccessFileError, match="'B' is not the name of a bucket"):
        add_token(path + ".new", "b", {"B": {READ}})
    assert text == read_text(path)
    assert ["access.toml"] == os.listdir(os.path.dirname(path))


@pytest.mark.parametrize(
    "change", [lambda path: add_token(path, "b", {}), lambda path: revoke_token(path, "ci")]
)
def test_broken_file_is_not_changed(path, change):
    text = f'[tokens.ci]\nsha256 = "{A}"\n'
    write(path, text)
    with pytest.raises(AccessFileError) as caught:
        change(path)
    assert f"{path}: tokens.ci.buckets: it is missing" == str(caught.value)
    assert text == read_text(path)


# --- revoking -----------------------------------------------------------------------------------------------


def test_revoked_token_is_removed_and_no_other_line(path):
    write(path, COMMENTED)
    revoke_token(path, "ci")
    expected = COMMENTED.replace(
        COMMENTED[COMMENTED.index("[tokens.ci]") : COMMENTED.index("\n# The laptop")], ""
    )
    assert expected == read_text(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_comments_survive_the_end_of_all_tokens(path, ending):
    write(path, COMMENTED.replace("\n", ending))
    for name in ("anna", "late", "ci"):
        revoke_token(path, name)
    text = read_text(path)
    assert [each for each in comments(COMMENTED) if each != "# rights"] == comments(text)
    assert "[buckets.builds] # of all branches" in text
    assert {} == AccessRules.parse(text).tokens


def test_comment_in_the_last_line_without_an_end_survives(path):
    write(path, COMMENTED.rstrip("\n"))
    revoke_token(path, "late")
    assert "# End." == comments(read_text(path))[-1]


OTHER_FORMS = {
    "an inline table among others": f"""
[tokens]
ci = {{sha256 = "{A}", buckets = {{b = [ # why
]}}}}
# of anna
anna = {{sha256 = "{B}", buckets = {{}}}}
""",
    "dotted keys": f"""
tokens.ci.sha256 = "{A}"
tokens.ci.buckets.b = []
# of anna
tokens.anna.sha256 = "{B}"
tokens.anna.buckets.b = []
""",
    "all in one line": f"""
# of anna
tokens = {{ci = {{sha256 = "{A}", buckets = {{}}}}, anna = {{sha256 = "{B}", buckets = {{}}}}}}
""",
    "tables apart": f"""
[tokens.ci]
sha256 = "{A}"
# of anna
[tokens.anna]
sha256 = "{B}"
buckets = {{}}
[tokens.ci.buckets]
b = []
""",
    "a quoted name": f"""
[tokens."ci"]
sha256 = "{A}"
[tokens.'ci'."buckets"]
# of anna
[ tokens . anna ]
sha256 = "{B}"
buckets = {{}}
""",
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_token_in_another_form_of_toml_is_revoked(path, form):
    write(path, OTHER_FORMS[form])
    anna = read_rules(path).tokens["anna"]
    revoke_token(path, "ci")
    assert {"anna": anna} == read_rules(path).tokens
    assert A not in read_text(path)
    assert ["# of anna"] == comments(read_text(path))


def test_unknown_token_cannot_be_revoked(path):
    write(path, COMMENTED)
    with pytest.raises(AccessFileError) as caught:
        revoke_token(path, "bert")
    assert f"{path}: there is no token bert" == str(caught.value)
    assert COMMENTED == read_text(path)


def test_adding_and_revoking_in_turn_leaves_the_file_as_it_was(path):
    write(path, COMMENTED)
    sizes = []
    for _ in range(3):
        add_token(path, "new", {"builds": {READ}})
        revoke_token(path, "new")
        sizes.append(len(read_text(path)))
    assert 1 == len(set(sizes))


# --- replacing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o440])
def test_mode_and_owner_stay(path, mode):
    write(path, COMMENTED, mode)
    if os.geteuid() == 0:
        os.chown(path, 1234, 5678)
    before = os.stat(path)
    add_token(path, "new", {"builds": {READ}})
    revoke_token(path, "ci")
    after = os.stat(path)
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    assert before.st_ino != after.st_ino


def test_owner_who_cannot_be_kept_is_an_error(path, monkeypatch):
    write(path, COMMENTED)
    found = os.stat(path)
    other = os.stat_result((*found[:4], found.st_uid + 1, *found[5:]))
    real = os.fstat

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(access_file.os, "fchown", refuse)
        patch.setattr(
            access_file.os, "fstat", lambda of: other if real(of).st_ino == found.st_ino else real(of)
        )
        with pytest.raises(AccessFileError) as caught:
            revoke_token(path, "ci")
    reason = f"it belongs to user {found.st_uid + 1}; run the command as that user, or as root"
    assert f"{path}: {reason}" == str(caught.value)
    assert COMMENTED == read_text(path)
    assert ["access.toml"] == os.listdir(os.path.dirname(path))


def test_file_behind_a_symbolic_link_is_replaced_there(path, tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink("real/file.toml", path)
    add_token(path, "ci", {"builds": {READ}})
    add_token(path, "anna", {"builds": {READ}})
    assert os.path.islink(path)
    assert {"ci", "anna"} == set(read_rules(str(tmp_path / "real" / "file.toml")).tokens)


def test_failed_change_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    write(path, COMMENTED)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("fsync", "replace", "fchmod"):
        with monkeypatch.context() as patch:
            patch.setattr(access_file.os, call, fail)
            with pytest.raises(OSError, match="No space left"):
                revoke_token(path, "ci")
        if call != "fsync":
            assert COMMENTED == read_text(path)
        assert ["access.toml"] == os.listdir(os.path.dirname(path))


@pytest.mark.parametrize("created", [False, True], ids=["missing file", "existing file"])
def test_changes_at_the_same_time_are_all_made(path, created):
    if created:
        write(path, COMMENTED)
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda number: add_token(path, f"t{number}", {"builds": {READ}}), range(24)))
    rules = read_rules(path)
    assert [f"t{number}" for number in range(24)] == [rules.find_secret(secret).name for secret in secrets]
    assert 1 == read_text(path).count("[buckets.builds]")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: revoke_token(path, f"t{number}"), range(24)))
    assert read_rules(path).tokens == (AccessRules.parse(COMMENTED).tokens if created else {})


def test_change_waits_for_the_lock_and_then_reads_the_new_file(path, tmp_path):
    write(path, COMMENTED)
    with open(path, encoding="utf-8") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        thread = threading.Thread(target=add_token, args=(path, "new", {"builds": {READ}}))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert COMMENTED == read_text(path)
        other = str(tmp_path / "other")
        write(other, COMMENTED + "# Later.\n")
        os.replace(other, path)
    thread.join(30)
    assert not thread.is_alive()
    assert "# Later." in read_text(path)
    assert "new" in read_rules(path).tokens
