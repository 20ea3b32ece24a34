"""Credentials: a variable, else the file that a variable names, else a credential of systemd."""

import pytest

from filestored.errors import UnusableStore
from filestored.storage.object_store.credentials import NAMES, read_credentials

NAME = "AWS_SECRET_ACCESS_KEY"


@pytest.fixture
def files(tmp_path):
    """Two directories with a file of this name."""
    for each in ("named", "systemd"):
        (tmp_path / each).mkdir()
        (tmp_path / each / NAME).write_text(f"{each}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("variable", "named", "systemd"), "variable"),
        (("named", "systemd"), "named"),
        (("systemd",), "systemd"),
        ((), None),
    ],
)
def test_first_place_with_a_value_counts(files, given, expected):
    environment = {
        NAME: "variable" if "variable" in given else "",
        f"{NAME}_FILE": str(files / "named" / NAME) if "named" in given else "",
        "CREDENTIALS_DIRECTORY": str(files / "systemd") if "systemd" in given else "",
    }
    assert expected == read_credentials("s3", environment).get(NAME.lower())


@pytest.mark.parametrize("scheme", NAMES)
def test_variables_of_a_service_are_read_and_others_are_not(scheme):
    environment = {name: f"value of {name}" for names in NAMES.values() for name in names}
    expected = {name.lower(): f"value of {name}" for name in NAMES[scheme]}
    assert expected == read_credentials(scheme, {**environment, "AWS_PROFILE": "x", "HOME": "/"})


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff\xfe", "not text")])
def test_file_that_cannot_be_read_is_named_without_its_bytes(tmp_path, content, reason):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        UnusableStore, match=f"the credentials in {path} cannot be read: .*{reason}"
    ) as caught:
        read_credentials("s3", {f"{NAME}_FILE": str(path)})
    assert r"\xff" not in str(caught.value)


def test_path_of_a_credential_is_passed_on_where_the_service_takes_a_path(tmp_path):
    (tmp_path / "GOOGLE_APPLICATION_CREDENTIALS").write_text("{}")
    found = read_credentials("gs", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    path = str(tmp_path / "GOOGLE_APPLICATION_CREDENTIALS")
    assert {"google_application_credentials": path} == found


def test_relative_directory_of_credentials_is_ignored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).write_text("x")
    assert {} == read_credentials("s3", {"CREDENTIALS_DIRECTORY": "."})
