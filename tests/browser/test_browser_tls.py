"""The page over HTTPS, in Chromium, which offers h2 by ALPN."""

import pytest

from tests.tls_files import TLSFiles

pytestmark = pytest.mark.needs("chromium")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_chromium_loads_the_page_and_stores_a_file_over_https(open_page, start_daemon, tmp_path, workers):
    daemon = start_daemon("--workers", workers, listen=TLSFiles(tmp_path).endpoint())
    page = open_page(f"https://localhost:{daemon.port}/", ignore_https_errors=True)
    assert "http/1.1" == page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    stored = page.evaluate(
        """async () => {
            const sent = await fetch("/", {method: "POST", body: "x".repeat(100000)});
            return (await fetch("/files/" + (await sent.text()).trim())).text();
        }"""
    )
    assert "x" * 100_000 == stored
