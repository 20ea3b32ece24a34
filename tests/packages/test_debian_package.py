"""The Debian package without its Python environment: control fields, scripts, units, files."""

import os
import re
import subprocess

import pytest

from filestored import __version__
from tests.daemon_process import ROOT, read
from tests.packages.debian_package import build, copy_source

pytestmark = pytest.mark.needs("dh")

SCRIPTS = ("postinst", "prerm", "postrm")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Build the package; return a directory with its files, and its control archive in DEBIAN."""
    top = tmp_path_factory.mktemp("debian")
    path = build(
        copy_source(str(top / "source")), str(top / "packages"), {"DEB_BUILD_OPTIONS": "noenvironment"}
    )
    subprocess.run(["dpkg-deb", "--raw-extract", path, str(top / "files")], check=True)
    return top / "files"


def fields(package):
    return dict(re.findall(r"^([\w-]+): (.*)$", (package / "DEBIAN" / "control").read_text(), re.MULTILINE))


def test_control_fields(package):
    found = fields(package)
    machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    python = os.path.basename(os.path.realpath("/usr/bin/python3"))
    assert ("filestored", __version__) == (found["Package"], found["Version"])
    assert machine.stdout.strip() == found["Architecture"]
    assert {"adduser", python} <= set(found["Depends"].split(", "))


def test_only_files_in_etc_are_configuration(package):
    listed = (package / "DEBIAN" / "conffiles").read_text().split()
    assert ["/etc/default/filestored", "/etc/logrotate.d/filestored"] == sorted(listed)


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_with_what_debhelper_adds_passes_shellcheck(package, name):
    done = subprocess.run(
        ["shellcheck", str(package / "DEBIAN" / name)], capture_output=True, text=True, check=False
    )
    assert "" == done.stdout


@pytest.mark.needs("shellcheck")
def test_build_script_passes_shellcheck():
    done = subprocess.run(
        ["shellcheck", os.path.join(ROOT, "deploy", "debian", "build-deb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "" == done.stdout


def test_upgrade_restarts_the_service_and_leaves_the_socket_open(package):
    text = (package / "DEBIAN" / "postinst").read_text()
    assert ["restart filestored.service"] == re.findall(r"deb-systemd-invoke (restart.*?) >", text)
    assert "deb-systemd-helper enable 'filestored.socket'" in text
    assert ["stop filestored.socket filestored.service"] == re.findall(
        r"deb-systemd-invoke (.*?) >", (package / "DEBIAN" / "prerm").read_text()
    )


def test_purge_removes_logs_and_no_data(package):
    removals = re.findall(r"\brm -\w+ (.*)", (package / "DEBIAN" / "postrm").read_text())
    assert ["/var/log/filestored /var/cache/filestored"] == removals


def test_units_differ_from_those_in_deploy_by_their_paths_and_the_kind_of_user(package):
    (unit,) = package.rglob("filestored.service")
    expected = read(os.path.join(ROOT, "deploy", "filestored.service")).replace("DynamicUser=yes\n", "")
    assert expected.replace("/opt/filestored/", "/usr/lib/filestored/") == unit.read_text()
    (socket,) = package.rglob("filestored.socket")
    assert read(os.path.join(ROOT, "deploy", "filestored.socket")) == socket.read_text()
    (drop_in,) = package.rglob("10-package.conf")
    assert "FILESTORED_LISTEN=systemd:domain=INET:index=0" in drop_in.read_text()


def test_command_of_the_operator_needs_no_dynamic_user(package):
    text = (package / "usr" / "sbin" / "filestored-admin").read_text()
    assert "DynamicUser=" not in text
    assert '/usr/lib/filestored/bin/filestored "$@"' in text


def test_manuals_and_the_command_are_on_their_paths(package):
    assert "../lib/filestored/bin/filestored" == os.readlink(package / "usr" / "bin" / "filestored")
    manuals = {path.name for path in (package / "usr" / "share" / "man").rglob("*.gz")}
    assert {"filestored.1.gz", "filestored-admin.8.gz"} == manuals
