"""Certificate of the servers with TLS."""

import ssl

from bench import certificate


def test_certificate_is_one_for_the_loopback_address(tmp_path):
    files = certificate.create(str(tmp_path))
    server, client = (ssl.SSLContext(side) for side in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    server.load_cert_chain(files.certificate, files.key)
    client.load_verify_locations(files.certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    rest = sides
    while rest:
        rest = [side for side in rest if not shaken(side)]
    assert ["TLSv1.3"] * 2 == [side.version() for side in sides]


def shaken(side):
    """Go on with a handshake; return whether it has ended. Raises when the certificate is refused."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
