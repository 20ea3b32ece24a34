"""Names on disk are UTF-8, whatever the locale of the daemon."""

import os

import pytest

from tests.images.image_client import Client, png

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""Gives file names the encoding ASCII in Python."""

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


def folder_of(daemon, kind):
    return os.path.join(daemon.directory, "images", "accounts", "anna", kind).encode()


@WORKERS
def test_image_names_are_utf_8_on_disk_in_an_ascii_locale(start_daemon, workers):
    daemon = start_daemon("--workers", workers, environment=ASCII)
    client = Client(daemon)
    assert 201 == client.upload("п.png", png()).status_code
    assert ["п.png"] == list(client.list_images())
    assert ["п.png".encode()] == os.listdir(folder_of(daemon, "names"))
    identity = client.list_images()["п.png"]
    assert 200 == client.call("GET", f"get-image/{identity}/").status_code
    assert 200 == client.call("DELETE", f"delete-image/{identity}/").status_code
    assert {} == client.list_images()
    assert [] == os.listdir(folder_of(daemon, "names"))


def test_images_of_a_utf_8_locale_are_there_in_an_ascii_locale(start_daemon):
    daemon = start_daemon("--workers", "1")
    token = Client(daemon)
    assert 201 == token.upload("é.png", png()).status_code
    daemon.end()
    token.url = f"{start_daemon('--workers', '1', environment=ASCII).url}imageapi/"
    assert ["é.png"] == list(token.list_images())
    assert 409 == token.upload("é.png", png()).status_code


@pytest.mark.parametrize("environment", [{}, ASCII])
def test_names_that_are_not_utf_8_are_left_out_of_lists_and_logged_once(start_daemon, environment):
    daemon = start_daemon("--workers", "1", environment=environment)
    client = Client(daemon)
    assert 201 == client.upload("п.png", png()).status_code
    for kind in ("names", "images"):
        with open(folder_of(daemon, kind) + b"/\xff.png", "wb") as file:
            file.write(b"{}")
    assert ["п.png"] == list(client.list_images())
    assert ["п.png"] == list(client.list_images())
    assert 1 == daemon.log.count("accounts/anna/names/\\xff.png is left out: its name is not UTF-8")
    assert 1 == daemon.log.count("accounts/anna/images/\\xff.png is left out: its name is not UTF-8")


@WORKERS
def test_directory_of_any_bytes_serves_in_an_ascii_locale(start_daemon, tmp_path, workers):
    images = os.fsdecode(os.fsencode(tmp_path) + "/фото".encode() + b"\xff")
    daemon = start_daemon("--workers", workers, "--images", images, environment=ASCII)
    client = Client(daemon)
    assert 201 == client.upload("п.png", png()).status_code
    assert ["п.png"] == list(client.list_images())
    assert "Traceback" not in daemon.log
