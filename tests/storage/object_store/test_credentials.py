"""Credentials of object stores: variables, files that they name, and files of systemd."""

import os

import pytest

from filestored.errors import UnusableStore
from filestored.storage.object_store.credentials import read_credentials

NAME = "AWS_SECRET_ACCESS_KEY"


@pytest.fixture
def files(tmp_path):
    """A file that a variable names, and a directory of systemd, each with another value."""
    (tmp_path / "key").write_text("of a file\n")
    (tmp_path / NAME).write_text("of systemd\n")
    return {f"{NAME}_FILE": str(tmp_path / "key"), "CREDENTIALS_DIRECTORY": str(tmp_path)}


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ((), "of a variable"),
        ((NAME,), "of a file"),
        ((NAME, f"{NAME}_FILE"), "of systemd"),
        ((NAME, f"{NAME}_FILE", "CREDENTIALS_DIRECTORY"), None),
    ],
)
def test_first_place_with_a_value_counts(files, dropped, expected):
    environment = {NAME: "of a variable", **files}
    for name in dropped:
        del environment[name]
    assert expected == read_credentials("s3", environment).get(NAME.lower())


def test_variables_of_other_services_are_left_out():
    environment = {"AWS_REGION": "eu", "AZURE_STORAGE_ACCOUNT_NAME": "anna", "HOME": "/root"}
    assert {"aws_region": "eu"} == read_credentials("s3", environment)
    assert {"azure_storage_account_name": "anna"} == read_credentials("az", environment)
    assert {} == read_credentials("gs", environment)


def test_google_credentials_of_systemd_are_passed_as_a_path(tmp_path):
    path = tmp_path / "GOOGLE_APPLICATION_CREDENTIALS"
    path.write_text('{"type": "service_account"}')
    found = read_credentials("gs", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert {"google_application_credentials": str(path)} == found


@pytest.mark.parametrize("content", [None, b"\xff\xfe secret"])
def test_unreadable_file_is_named_without_its_bytes(tmp_path, content):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableStore) as caught:
        read_credentials("s3", {f"{NAME}_FILE": os.fspath(path)})
    assert os.fspath(path) in str(caught.value)
    assert "secret" not in str(caught.value)
