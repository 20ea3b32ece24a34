"""The command line: each row of the contract's table, good and bad."""

import os

import pytest

from filestored.daemon.options import Options
from filestored.daemon.startup.processors import usable_processors
from filestored.settings import Settings
from tests.daemon_process import run


def parsed(*words):
    options = Options()
    options.parseOptions(list(words))
    return options.settings


def test_the_defaults_are_those_of_the_contract():
    settings = parsed()
    assert ("tcp:9000:interface=127.0.0.1",) == settings.listen
    assert os.path.abspath("store") == settings.store
    assert os.path.abspath("images") == settings.images
    assert None is settings.hash_name
    assert 5 * 2**30 == settings.max_size
    assert usable_processors() == settings.workers
    assert None is settings.reserve
    assert "" == settings.access_log
    assert (30.0, 75.0) == (settings.drain, settings.keep_alive)
    assert (None, 20 * 2**20) == (settings.verify_every, settings.verify_rate)
    assert (4000, 64) == (settings.max_connections, settings.max_uploads)
    assert 100_000_000 == settings.max_pixels
    assert (False, False, ()) == (settings.open_registration, settings.no_registration, settings.hosts)
    assert () == settings.trusted_proxies
    assert (None, "INFO", None, None, False) == (
        settings.log.file,
        settings.log.level,
        settings.log.rotation,
        settings.log.retention,
        settings.log.json,
    )


def test_every_option_is_parsed_into_settings(tmp_path):
    log = str(tmp_path / "log")
    settings = parsed(
        *("--listen", "tcp:1", "--listen", "unix:/x", "--store", "/s", "--images", "/i", "--hash", "sha256"),
        *("--max-size", "1MiB", "--workers", "3", "--drain", "1.5", "--access-log", "-"),
        *("--keep-alive", "20.5"),
        *("--max-connections", "10000", "--max-uploads", "256", "--max-pixels", "250M", "--no-registration"),
        *("--reserve", "0"),
        *("--verify-every", "30d", "--verify-rate", "5MiB/s"),
        *("--host", "Files.Example.Org.", "--host", "10.0.0.1", "--host", "::1"),
        *("--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1", "--trusted-proxy", "unix"),
        *(
            "--log",
            log,
            "--log-level",
            "debug",
            "--log-rotation",
            "10 MB",
            "--log-retention",
            "3",
            "--log-json",
        ),
    )
    assert ("tcp:1", "unix:/x") == settings.listen
    assert ("/s", "/i", "sha256") == (settings.store, settings.images, settings.hash_name)
    assert 0 == settings.reserve
    assert (30 * 86_400.0, 5 * 2**20) == (settings.verify_every, settings.verify_rate)
    assert (2**20, 3, 1.5, "-") == (settings.max_size, settings.workers, settings.drain, settings.access_log)
    assert (False, True) == (settings.open_registration, settings.no_registration)
    assert ("files.example.org", "10.0.0.1", "::1") == settings.hosts
    assert ("10.0.0.0/8", "::1/128", "unix") == settings.trusted_proxies
    assert settings == Settings.from_json(settings.to_json())
    assert (10000, 256, 20.5) == (settings.max_connections, settings.max_uploads, settings.keep_alive)
    assert 250_000_000 == settings.max_pixels
    assert (log, "DEBUG", "10 MB", "3", True) == (
        settings.log.file,
        settings.log.level,
        settings.log.rotation,
        settings.log.retention,
        settings.log.json,
    )


BAD = {
    "--max-size": (["--max-size", "lots"], "--max-size: 'lots' is not a size"),
    "--workers": (["--workers", "0"], "--workers: '0' is neither auto nor"),
    "--drain": (["--drain", "later"], "--drain: 'later' is not a number of seconds"),
    "--log-level": (["--log-level", "loud"], "--log-level: 'loud' is not a level"),
    "--log": (["--log", "/nonexistent/log"], "--log: there is no directory /nonexistent"),
    "--log, a directory": (["--log", "/tmp"], "--log: /tmp is a directory"),
    "--access-log": (["--access-log", "/nonexistent/log"], "--access-log: there is no directory"),
    "--log-rotation": (["--log-rotation", "often"], "--log-rotation: 'often' is neither"),
    "--log-retention": (["--log-rotation", "1 MB", "--log-retention", "ever"], "--log-retention: "),
    "retention alone": (["--log-retention", "7"], "--log-retention needs --log-rotation"),
    "--store": (["--store", ""], "--store: a path is needed"),
    "--images": (["--images", ""], "--images: a path is needed"),
    "--host, port": (["--host", "files.example.org:80"], "--host: 'files.example.org:80' is not a host name"),
    "--host, short name and port": (["--host", "cafe:8080"], "--host: 'cafe:8080' is not a host name"),
    "--host, address and port": (["--host", "10.0.0.1:80"], "--host: '10.0.0.1:80' is not a host name"),
    "--host, zone": (["--host", "fe80::1%eth0"], "--host: 'fe80::1%eth0' is not a host name"),
    "--host, URL": (["--host", "http://files.example.org/"], "--host: "),
    "--host, pattern": (["--host", "*.example.org"], "--host: "),
    "--host, empty": (["--host", ""], "--host: "),
    "--trusted-proxy, name": (["--trusted-proxy", "localhost"], "--trusted-proxy: 'localhost' is neither"),
    "--trusted-proxy, empty": (["--trusted-proxy", ""], "--trusted-proxy: '' is neither"),
    "--trusted-proxy, bits": (["--trusted-proxy", "10.0.0.1/8"], "--trusted-proxy: '10.0.0.1/8' is neither"),
    "--trusted-proxy, port": (
        ["--trusted-proxy", "10.0.0.1:80"],
        "--trusted-proxy: '10.0.0.1:80' is neither",
    ),
    "--trusted-proxy, all": (["--trusted-proxy", "::/0"], "--trusted-proxy: '::/0' are all addresses"),
    "registration": (["--no-registration", "--open-registration"], "exclude each other"),
    "no value": (["--store"], "option --store requires argument"),
    "unknown": (["--colour", "red"], "option --colour not recognized"),
    "a word": (["store"], "unexpected argument 'store'; see --help"),
    "a port without its option": (
        ["9841"],
        "unexpected argument '9841'; to set the port write --listen",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_ends_the_program_with_one_line(case):
    words, reason = BAD[case]
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    assert str(caught.value.code).startswith("filestored: ")
    assert reason in caught.value.code
    assert "\n" not in caught.value.code


FOR_REAL = {
    "--max-size": (["--max-size", "lots"], "is not a size"),
    "--hash": (["--hash", "crc32"], "unknown hash algorithm 'crc32'"),
    "--store": (["--store", "/dev/null"], "/dev/null"),
    "--listen, kind": (["--listen", "carrier-pigeon:1"], "--listen carrier-pigeon:1: "),
    "--listen, port": (["--listen", "tcp:http9"], "--listen tcp:http9: "),
    "--listen, key": (["--listen", "ssl:1:privateKey=/nonexistent"], "/nonexistent"),
    "--listen, systemd": (
        ["--listen", "systemd:domain=INET:index=0"],
        "no such socket was passed to this process",
    ),
}


@pytest.mark.parametrize("case", FOR_REAL)
@pytest.mark.slow
def test_bad_option_is_one_line_on_stderr_and_status_1_before_the_fork(case, tmp_path):
    words, reason = FOR_REAL[case]
    done = run("filestored", *words, cwd=str(tmp_path))
    assert 1 == done.returncode
    assert "" == done.stdout
    assert 1 == done.stderr.count("\n"), done.stderr
    assert reason in done.stderr
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["--logfile=x", "--syslog", "--chroot=/"])
def test_unsupported_option_of_twistd_is_refused(name, tmp_path):
    done = run(name, "filestored", cwd=str(tmp_path))
    assert 1 == done.returncode
    assert name.split("=")[0] in done.stderr


def test_help_names_every_option(tmp_path):
    done = run("filestored", "--help", cwd=str(tmp_path))
    assert 0 == done.returncode
    for name in (
        "listen",
        "store",
        "images",
        "hash",
        "max-size",
        "workers",
        "access-log",
        "drain",
        "host",
        "trusted-proxy",
    ):
        assert f"--{name}=" in done.stdout
    for name in ("log", "log-level", "log-rotation", "log-retention", "log-json"):
        assert f"--{name}" in done.stdout


def test_version_is_printed(tmp_path):
    assert run("filestored", "--version", cwd=str(tmp_path)).stdout.startswith("filestored 0.")


def test_log_behind_a_link_to_a_new_file_is_accepted(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to("logs/new")
    assert str(tmp_path / "link") == parsed("--log", str(tmp_path / "link")).log.file
