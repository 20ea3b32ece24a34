"""Addresses of servers and files."""

import pytest

from filestored.client.address import FileAddress, ServerAddress, parse_link, parse_server

HASH = "0123456789abcdef" * 4

SERVERS = {
    "http://localhost:9000": ServerAddress("http", "localhost", 9000),
    "http://localhost": ServerAddress("http", "localhost", 80),
    "HTTPS://Files.Example/": ServerAddress("https", "files.example", 443),
    "https://files.example:8443/below/it/": ServerAddress("https", "files.example", 8443, "/below/it"),
    "http://[::1]:9000": ServerAddress("http", "::1", 9000),
    "unix:/run/f.sock": ServerAddress("http", "localhost", 80, socket="/run/f.sock"),
}


@pytest.mark.parametrize("text", SERVERS)
def test_server_is_parsed_and_printed(text):
    assert SERVERS[text] == parse_server(text)
    assert SERVERS[text] == parse_server(str(SERVERS[text]))


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "localhost:9000", "ftp://h", "http://", "http:///x", "http://h:0", "http://h:x"),
        *(
            "http://h:70000",
            "http://h?x",
            "http://h/?",
            "http://h/#x",
            "http://h/a b",
            "http://h/\n",
            "http://[::1",
        ),
        *("http://u:p@h", "http://u@h", "http://h/%2e", "unix:relative", "http://h//x", "http://\u00e9"),
    ],
)
def test_wrong_server_is_refused(text):
    with pytest.raises(ValueError, match="address") as raised:
        parse_server(text)
    assert "p@" not in str(raised.value)


def test_url_of_a_file_keeps_path_and_query():
    server = ServerAddress("https", "h", 443)
    for target in (
        *(f"/files/{HASH}", f"/buckets/b/files/{HASH}", f"/below/files/{HASH}", f"/?file_hash={HASH}"),
        *(f"/?hash={HASH}", f"/files/{HASH}?key=1&expires=2&signature=3", f"/files/{HASH}?name=%C3%A9"),
    ):
        trusted = "signature" not in target
        assert FileAddress(server, target, HASH, trusted) == parse_link(f"https://h{target}", server)
        assert FileAddress(server, target, HASH, False) == parse_link(f"https://h{target}", None)


@pytest.mark.parametrize("other", ["http://h", "https://h:444", "https://g", "unix:/h"])
def test_url_of_another_server_is_not_trusted(other):
    assert not parse_link(f"https://h/files/{HASH}", parse_server(other)).trusted


@pytest.mark.parametrize("rest", ["", "/", "/files/x", "/files/../etc/passwd", f"/?hash={HASH}&hash={HASH}"])
def test_url_without_one_hash_is_refused(rest):
    with pytest.raises(ValueError, match="a URL has to be that of a file"):
        parse_link(f"https://h{rest}", None)
