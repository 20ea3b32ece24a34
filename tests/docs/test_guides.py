"""Pages for operators: short sentences, names of the code and the project, commands that run."""

import os
import re
import shlex
import signal
import ssl

import pytest
import requests

from filestored.daemon.options import Options
from tests.daemon_process import ROOT, TIMEOUT, until
from tests.docs.pages import commands, long_sentences, run, run_in, sentences_without_actor, text
from tests.rclone import OPTIONS

GUIDES = (
    *("README", "access", "backup", "install", "limits", "monitoring", "object-store", "proxy", "tls"),
    *("troubleshooting", "upgrade", "verification"),
)
"""Pages of docs/ that operators read."""

PAGES = [f"docs/{name}.md" for name in GUIDES]
OTHER_OPTIONS = {
    *(
        "allow-downgrades",
        "cacert",
        "cap-drop",
        "delete",
        "dry-run",
        "exclude",
        "fail-with-body",
        "health-cmd",
    ),
    *("help", "no-healthcheck", "now", "reload", "security-opt", "stop-timeout", "tmpfs", "update"),
    *("chroot", "gid", "logfile", "nodaemon", "pidfile", "rundir", "syslog", "uid"),
}
"""Options of other programs, and of twistd."""


def command_options() -> set[str]:
    """Return the options that the modules of the command ``filestored`` define."""
    folder = os.path.join(ROOT, "filestored")
    sources = [
        text("filestored", "cli.py"),
        *(
            text(directory, name)
            for directory, _, names in os.walk(os.path.join(folder, "commands"))
            for name in names
            if name.endswith(".py")
        ),
    ]
    return {option for source in sources for option in re.findall(r'"--([a-z-]+)"', source)}


def options_in_prose(page: str) -> set[str]:
    """Return the options that a page names in backticks."""
    return {
        name
        for span in re.findall(r"`([^`\n]+)`", text(page))
        for name in re.findall(r"(?<![\w-])--([a-z-]+)", span)
    }


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_a_guide_are_short(page):
    assert [] == long_sentences(page)


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_a_guide_name_actors_by_type(page):
    assert [] == sentences_without_actor(page)


@pytest.mark.parametrize("page", PAGES)
def test_options_in_the_prose_of_a_guide_exist(page):
    daemon = {name for name, *_ in Options.optParameters + Options.optFlags}
    repeatable = {name[4:].replace("_", "-") for name in vars(Options) if name.startswith("opt_")}
    assert set() == options_in_prose(page) - daemon - repeatable - command_options() - OTHER_OPTIONS


@pytest.mark.parametrize("page", PAGES)
def test_files_for_deployment_in_a_guide_exist(page):
    names = set(re.findall(r"(?<![\w/-])deploy/[\w./-]*\w", text(page)))
    assert [] == sorted(name for name in names if not os.path.exists(os.path.join(ROOT, name)))


def test_index_has_each_page():
    linked = set(re.findall(r"\]\(([\w-]+\.md)", text("docs/README.md")))
    names = {name for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md")}
    assert names - {"README.md"} == linked


@pytest.mark.parametrize("page", ["docs/backup.md", "docs/object-store.md"])
def test_options_of_rclone_on_a_page_are_those_of_the_tests(page):
    functions = set(re.findall(r"^copy\(\) \{ rclone copy (.*) \"\$@\"; \}$", text(page), re.MULTILINE))
    assert [list(OPTIONS)] == [shlex.split(words) for words in functions]


def tls_block(part: str) -> str:
    """Return the block of the page on TLS that has `part`."""
    (block,) = [block for block in commands("docs/tls.md") if part in block]
    return block


@pytest.mark.needs("openssl")
def test_hook_of_the_page_on_tls_renews_the_certificate(start_daemon, tmp_path):
    """Without the user of the unit and systemctl, and with the directories of this test."""
    live, service = tmp_path / "live", tmp_path / "service"
    live.mkdir()
    service.mkdir()
    make = tls_block("openssl req").replace("key.pem", "privkey.pem")
    hook = tls_block("RENEWED_LINEAGE/privkey").replace(" -o filestored", "").replace("systemctl", "true")
    hook = hook.replace("/var/lib/filestored", shlex.quote(str(service)))

    def renew():
        run_in(str(live), make)
        run_in(str(tmp_path), f"RENEWED_LINEAGE={shlex.quote(str(live))}\n{hook}")
        return ssl.PEM_cert_to_DER_cert((live / "fullchain.pem").read_text())

    first = renew()
    files = f"privateKey={service}/tls/key.pem:certKey={service}/tls/fullchain.pem"
    daemon = start_daemon("--workers", "1", listen=f"ssl:0:{files}:interface=127.0.0.1")
    assert first == served(daemon, live / "fullchain.pem")
    assert 0o400 == (service / "tls" / "key.pem").stat().st_mode & 0o777
    second = renew()
    assert first != second
    daemon.kill(signal.SIGHUP)
    until(lambda: served(daemon, live / "fullchain.pem") == second, "the new certificate is served")


def served(daemon, trusted) -> bytes | None:
    """Return the certificate that the daemon serves; None unless it is trusted."""
    context = ssl.create_default_context(cafile=str(trusted))
    try:
        with context.wrap_socket(daemon.connect(), server_hostname="localhost") as connection:
            return connection.getpeercert(binary_form=True)
    except ssl.SSLError:
        return None


@pytest.mark.needs("curl")
@pytest.mark.needs("openssl")
def test_commands_of_the_page_on_tls_show_the_health_and_the_certificate(start_daemon, tmp_path):
    run_in(str(tmp_path), tls_block("openssl req"))
    files = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/fullchain.pem"
    daemon = start_daemon("--workers", "1", listen=f"ssl:0:{files}:interface=127.0.0.1")
    health = next(line for line in tls_block("--cacert").splitlines() if line.startswith("curl "))
    script = f"{health}\n{tls_block('openssl s_client')}".replace(":9443", f":{daemon.port}")
    printed = run_in(str(tmp_path), script)
    assert '{"status": "ok"}' in printed
    assert "subject=CN = localhost" in printed
    assert "notAfter=" in printed


def test_commands_of_the_page_on_verification_find_quarantine_and_count(daemon):
    name = requests.post(daemon.url, data=b"stored", timeout=TIMEOUT).text
    path = os.path.join(daemon.store, name[:2], name)
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(b"decays")
    verify, count_and_remove, other = (
        block for block in commands("docs/verification.md") if "twistd" not in block
    )
    script = verify.replace("\n", " || [ $? -eq 3 ]\n", 1)
    printed = run(f"mkdir -p images\n{script}", daemon)
    assert "store: 1 file (" in printed
    assert "1 corrupt, 0 unreadable" in printed
    assert 404 == requests.get(f"{daemon.url}files/{name}", timeout=TIMEOUT).status_code
    assert run(count_and_remove, daemon)
    assert name == requests.post(daemon.url, data=b"stored", timeout=TIMEOUT).text
    assert b"stored" == requests.get(f"{daemon.url}files/{name}", timeout=TIMEOUT).content
    assert "" == run(other, daemon)
