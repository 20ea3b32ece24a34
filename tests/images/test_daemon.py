"""The image API of a real daemon: the lines of its document typed as they stand, and what they leave."""

import json
import os
import re
import subprocess
import sys

import pytest
import requests

from tests.daemon_process import memory, until
from tests.images.decodable_images import CAMERA
from tests.images.image_client import Client, bmp, png
from tests.token_leaks import leaks
from tests.tools import find_tool

# --- the document's own lines ------------------------------------------------------------------------


@pytest.fixture
def http(server, tmp_path):
    """A function that types a line of the document: HTTPie's answer as status and JSON, or bytes."""
    (tmp_path / "cat.png").write_bytes(png())
    (tmp_path / "dog.png").write_bytes(png(9))
    (tmp_path / "note.txt").write_text("no image at all")

    def run(line):
        words = line.replace("http://localhost:8000/", server.url.replace("127.0.0.1", "localhost")).split()
        assert "http" == words.pop(0)
        environment = {**os.environ, "HTTPIE_CONFIG_DIR": str(tmp_path)}
        done = subprocess.run(
            [find_tool("http"), "--ignore-stdin", "--print=hb", *words],
            cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        head, _, body = done.stdout.replace(b"\r\n", b"\n").partition(b"\n\n")
        status = int(head.split()[1])
        return status, json.loads(body) if b"application/json" in head else body

    return run


@pytest.mark.needs("http")
def test_command_lines_of_the_specification_work(http):
    status, made = http("http http://localhost:8000/imageapi/generate-token/anna/")
    token = made["token"]
    assert (201, 10) == (status, len(token))
    assert (200, {"anna": token}) == http("http http://localhost:8000/imageapi/retrieve-token/anna/")
    api = f"http://localhost:8000/imageapi/token/{token}"
    status, made = http(f"http -f POST {api}/upload-image/ somename@cat.png")
    identity = made["File ID"]
    assert (201, 4) == (status, len(identity))
    status, _ = http(f"http {api}/get-image/{identity}/")
    assert 200 == status
    assert (200, {"cat.png": identity}) == http(f"http {api}/get-image-list/")
    assert (200, "Image updated") == http(f"http -f PATCH {api}/update-image/{identity}/ somename@dog.png")
    assert (200, {"dog.png": identity}) == http(f"http {api}/get-image-list/")
    assert (200, "Image deleted") == http(f"http -f DELETE {api}/delete-image/{identity}/")
    assert (200, {}) == http(f"http {api}/get-image-list/")


@pytest.mark.needs("http")
@pytest.mark.parametrize("start_server", ["disk"], indirect=True)
def test_errors_of_the_specification_have_its_statuses(http):
    token = http("http http://localhost:8000/imageapi/generate-token/anna/")[1]["token"]
    assert (409, "User exists") == http("http http://localhost:8000/imageapi/generate-token/anna/")
    assert (404, "User does not exist") == http("http http://localhost:8000/imageapi/retrieve-token/bert/")
    api = f"http://localhost:8000/imageapi/token/{token}"
    assert 406 == http(f"http -f POST {api}/upload-image/ somename@note.txt")[0]
    assert 400 == http(f"http -f POST {api}/upload-image/")[0]
    identity = http(f"http -f POST {api}/upload-image/ one@cat.png two@dog.png")[1]["File ID"]
    assert (200, {"cat.png": identity}) == http(f"http {api}/get-image-list/")
    assert 409 == http(f"http -f POST {api}/upload-image/ somename@cat.png")[0]
    assert 404 == http(f"http {api}/get-image/AAAA/")[0]
    assert 401 == http(f"http {api[:-1]}/get-image-list/")[0]


# --- the daemon around it ----------------------------------------------------------------------------


def test_images_and_tokens_survive_a_restart(start_server):
    server = start_server()
    client = Client(server)
    data = png(200)
    identity = client.upload("Ёжик.png", data).json()["File ID"]
    server.end()
    again = start_server()
    client.url = f"{again.url}imageapi/"
    assert {"Ёжик.png": identity} == client.list_images()
    assert data == client.call("GET", f"get-image/{identity}/").content


def test_tokens_are_never_logged(start_daemon):
    daemon = start_daemon("--workers", "2", "--access-log", "-", "--log-level", "debug")
    client = Client(daemon)
    first = client.token
    identity = client.upload("cat.png", png()).json()["File ID"]
    for path in ("get-image-list/", f"get-image/{identity}/", f"get-image/{identity}/?width=4", "nothing/"):
        client.call("GET", path, headers={"Referer": f"{client.url}token/{first}/get-image-list/"})
    client.upload("note.txt", b"hello")
    client.token = client.call("POST", "regenerate-token/").json()["token"]
    requests.get(f"{client.url}%74oken/{first}/get-image-list/", timeout=30)
    requests.get(f"{client.url}token/{first}", timeout=30)
    until(lambda: len(re.findall("GET /imageapi/", daemon.log)) >= 6, "the requests are logged")
    assert first not in daemon.log
    assert client.token not in daemon.log
    with open(os.path.join(daemon.directory, "access.planted"), "w") as file:
        file.write(f"GET /imageapi/token/{client.token}/\n")
    assert ["access.planted"] == leaks(daemon.directory)
    os.unlink(os.path.join(daemon.directory, "access.planted"))
    assert "/token/***" in daemon.log


def test_large_image_is_uploaded_in_bounded_memory(start_daemon):
    daemon = start_daemon("--workers", "1")
    client = Client(daemon)
    client.upload("small.bmp", bmp(64, 64))
    before = memory(daemon.pid, "VmHWM")
    data = bmp(4096, 4096)
    identity = client.upload("large.bmp", data).json()["File ID"]
    path = f"get-image/{identity}/"
    for coding in ("identity", "gzip"):
        assert data == client.call("GET", path, headers={"Accept-Encoding": coding}).content
    assert data == client.call("GET", path, headers={"Range": "bytes=-100"}).content
    assert memory(daemon.pid, "VmHWM") - before < 32 * 1024
    stored = sum(
        os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(blobs(daemon)) for name in names
    )
    assert stored < len(data) / 20


def files_below(path):
    return [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]


def blobs(daemon):
    return os.path.join(daemon.directory, "images", "blobs")


def test_records_left_by_a_killed_daemon_are_invisible_and_kept(start_daemon):
    daemon = start_daemon("--workers", "1")
    client = Client(daemon)
    client.upload("cat.png", png())
    home = os.path.join(daemon.directory, "images")
    token, record = (os.path.join(home, name) for name in ("tokens/" + "f" * 64, "accounts/anna/images/AAAA"))
    with open(token, "w") as file:
        file.write("nobody\n")
    with open(record, "wb") as file:
        file.write(record_of_anna(home))
    daemon.kill(9)
    until(daemon.ended, "it is dead")
    os.unlink(os.path.join(daemon.directory, "pid"))
    again = start_daemon("--workers", "2")
    until(lambda: not os.path.exists(os.path.join(home, ".sweep-due")), "the sweep is over")
    client.url = f"{again.url}imageapi/"
    assert ["cat.png"] == list(client.list_images())
    assert os.path.exists(token)
    assert os.path.exists(record)


def record_of_anna(home):
    folder = os.path.join(home, "accounts", "anna", "images")
    with open(os.path.join(folder, os.listdir(folder)[0]), "rb") as file:
        return file.read()


def test_thumbnail_is_made_cached_and_deleted_with_its_image(daemon):
    client = Client(daemon)
    identity = client.upload("cat.png", png(300)).json()["File ID"]
    answer = client.call("GET", f"get-image/{identity}/?width=50")
    assert (200, "image/jpeg") == (answer.status_code, answer.headers["Content-Type"])
    thumbnails = os.path.join(daemon.directory, "images", "thumbnails")
    until(lambda: [name for name in os.listdir(thumbnails) if name.endswith(".jpg")], "it is stored")
    client.call("DELETE", f"delete-image/{identity}/")
    assert [] == os.listdir(thumbnails)


def test_truncated_image_is_406(server):
    client = Client(server)
    data = png(300)
    assert 406 == client.upload("cat.png", data[: len(data) // 2]).status_code
    assert {} == client.list_images()


@pytest.mark.parametrize("name", ["JPEG with a preview", "JPEG of a Samsung phone", "PNG with a line feed"])
def test_image_with_a_trailer_comes_back_byte_for_byte(server, name):
    data = {
        "JPEG with a preview": CAMERA["preview"],
        "JPEG of a Samsung phone": CAMERA["blocks with a directory"],
        "PNG with a line feed": png() + b"\n",
    }[name]
    client = Client(server)
    answer = client.upload("image", data)
    assert 201 == answer.status_code
    assert data == client.call("GET", f"get-image/{answer.json()['File ID']}/").content


def test_open_registration_is_an_option(start_daemon):
    daemon = start_daemon("--workers", "1")
    elsewhere = {"X-Forwarded-For": "203.0.113.7"}
    url = f"{daemon.url}imageapi/generate-token/anna/"
    assert 403 == requests.get(url, headers=elsewhere, timeout=30).status_code
    daemon.end()
    daemon = start_daemon("--workers", "1", "--open-registration")
    url = f"{daemon.url}imageapi/generate-token/anna/"
    assert 201 == requests.get(url, headers=elsewhere, timeout=30).status_code


# --- a crowd -----------------------------------------------------------------------------------------

CLIENTS = 8
SECONDS = 20 if "FILESTORED_DEEP" in os.environ else 3


def test_concurrent_clients_win_each_name_once_and_leave_a_consistent_directory(start_daemon):
    """Eight processes, one account, the same names and ids."""
    daemon = start_daemon("--workers", "4")
    client = Client(daemon)
    script = [
        sys.executable,
        "-m",
        "tests.images.concurrent_client",
        str(daemon.port),
        client.token,
        str(SECONDS),
    ]
    crowd = [
        subprocess.Popen([*script, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(CLIENTS)
    ]
    for stage in (b"ready\n", b"raced\n"):
        assert {stage} == {process.stdout.readline() for process in crowd}
        for process in crowd:
            process.stdin.write(b"go\n")
            process.stdin.flush()
    reports = [json.loads(process.communicate()[0]) for process in crowd]
    assert [0] * CLIENTS == [process.returncode for process in crowd]
    statuses = {status for report in reports for status in report["statuses"]}
    assert statuses <= {200, 201, 404, 409}
    assert {201, 409} <= statuses
    won = [name for report in reports for name in report["won"]]
    assert len(won) == len(set(won))
    assert set(won) == {name for report in reports for name in report["tried"]}
    listed = client.list_images()
    assert len(listed) == len(set(listed.values()))
    for name, identity in listed.items():
        answer = client.call("GET", f"get-image/{identity}/")
        assert 200 == answer.status_code
        assert f'filename="{name}"' in answer.headers["Content-Disposition"]
    daemon.end()
    home = os.path.join(daemon.directory, "images", "accounts", "anna")
    assert sorted(listed.values()) == sorted(os.listdir(os.path.join(home, "images")))
    assert set(listed) <= set(os.listdir(os.path.join(home, "names")))
    assert len(listed) + len(["FORMAT"]) == len(files_below(blobs(daemon)))
