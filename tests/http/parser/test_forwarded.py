"""Client address behind trusted proxies, by tables of header lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from filestored.http.parser.forwarded import MAX_PROXIES, TrustedProxies

PEER = "10.0.0.1"
PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.7/32", "unix"])

X = "X-Forwarded-For: "
F = "Forwarded: "

CLIENTS = {
    "no header": ([], PEER),
    "one address": ([X + "203.0.113.9"], "203.0.113.9"),
    "name in lower case": (["x-forwarded-for: 203.0.113.9"], "203.0.113.9"),
    "no blank behind the colon": (["x-FORWARDED-for:203.0.113.9\t "], "203.0.113.9"),
    "rightmost address": ([X + "198.51.100.1, 203.0.113.9"], "203.0.113.9"),
    "rightmost address that is no proxy": ([X + "198.51.100.1, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
    "several proxies": ([X + "203.0.113.9,10.1.1.1,192.0.2.7 , 2001:db8:1::5"], "203.0.113.9"),
    "beside a trusted address": ([X + "203.0.113.9, 192.0.2.8"], "192.0.2.8"),
    "proxies only": ([X + "10.2.2.2, 10.1.1.1"], "10.2.2.2"),
    "lines are one list": ([X + "198.51.100.1", X + "203.0.113.9", X + "10.1.1.1"], "203.0.113.9"),
    "lines between others": ([X + "198.51.100.1", "Via: x", X + "203.0.113.9"], "203.0.113.9"),
    "empty line": ([X + "203.0.113.9", X], "203.0.113.9"),
    "empty entries": ([X + ", 203.0.113.9, ,"], "203.0.113.9"),
    "empty list": ([X], PEER),
    "port": ([X + "203.0.113.9:4711"], "203.0.113.9"),
    "port of a proxy": ([X + "203.0.113.9, 10.1.1.1:80"], "203.0.113.9"),
    "IPv6": ([X + "2001:DB8::0009"], "2001:db8::9"),
    "IPv6 in brackets": ([X + "[2001:db8::9]"], "2001:db8::9"),
    "IPv6 and port": ([X + "[2001:db8::9]:4711"], "2001:db8::9"),
    "IPv6 of a proxy": ([X + "203.0.113.9, [2001:db8:1::5]:80"], "203.0.113.9"),
    "IPv4-mapped": ([X + "::ffff:203.0.113.9"], "203.0.113.9"),
    "IPv4-mapped proxy": ([X + "203.0.113.9, ::ffff:10.1.1.1"], "203.0.113.9"),
    "loopback": ([X + "127.0.0.1"], "127.0.0.1"),
    # what ends the chain
    "malformed": ([X + "203.0.113.9, localhost"], PEER),
    "malformed behind a proxy": ([X + "203.0.113.9, bad, 10.1.1.1"], "10.1.1.1"),
    "malformed before the client": ([X + "bad, 203.0.113.9"], "203.0.113.9"),
    "unknown": ([X + "203.0.113.9, unknown, 10.1.1.1"], "10.1.1.1"),
    "obfuscated": ([X + "203.0.113.9, _x, 10.1.1.1"], "10.1.1.1"),
    "zeros in front": ([X + "203.0.113.9, 010.1.1.1"], PEER),
    "numbers": ([X + "203.0.113.9, 167772161"], PEER),
    "octets": ([X + "203.0.113.999"], PEER),
    "network": ([X + "203.0.113.9, 10.0.0.0/8"], PEER),
    "zone": ([X + "fe80::1%eth0"], PEER),
    "long port": ([X + "203.0.113.9:123456"], PEER),
    "port without digits": ([X + "203.0.113.9:"], PEER),
    "brackets that do not close": ([X + "[2001:db8::9"], PEER),
    "IPv4 in brackets": ([X + "[203.0.113.9]"], "203.0.113.9"),
    "quotes": ([X + '"203.0.113.9"'], PEER),
    "blank": ([X + "203.0.113 .9"], PEER),
    "bytes that are no text": ([X + "203.0.113.9, \xff\u0661"], PEER),
    "element of the other header": ([X + "for=203.0.113.9"], PEER),
    # RFC 7239
    "for": ([F + "for=203.0.113.9"], "203.0.113.9"),
    "For, in upper case": (["FORWARDED: FOR=203.0.113.9"], "203.0.113.9"),
    "all parameters": ([F + "by=_p;for=203.0.113.9;host=x.example;proto=https"], "203.0.113.9"),
    "blanks and empty pairs": ([F + "; for=203.0.113.9 ; proto=http;"], "203.0.113.9"),
    "quoted": ([F + 'for="203.0.113.9:4711"'], "203.0.113.9"),
    "quoted IPv6": ([F + 'for="[2001:db8::9]:4711"'], "2001:db8::9"),
    "quoted with a backslash": ([F + r'for="\203.0.113.9"'], "203.0.113.9"),
    "obfuscated port": ([F + 'for="203.0.113.9:_p-1"'], "203.0.113.9"),
    "elements": ([F + "for=198.51.100.1, for=203.0.113.9, for=10.1.1.1"], "203.0.113.9"),
    "elements of lines": ([F + "for=203.0.113.9", F + "for=10.1.1.1;proto=http"], "203.0.113.9"),
    "obfuscated node": ([F + "for=203.0.113.9, for=_hidden, for=10.1.1.1"], "10.1.1.1"),
    "unknown node": ([F + "for=203.0.113.9, for=Unknown, for=10.1.1.1"], "10.1.1.1"),
    "element without for": ([F + "for=203.0.113.9, proto=http, for=10.1.1.1"], "10.1.1.1"),
    "for twice": ([F + "for=203.0.113.9;for=198.51.100.1"], PEER),
    "malformed pair": ([F + "for=203.0.113.9;proto"], PEER),
    "malformed pair in front": ([F + "x y;for=203.0.113.9"], PEER),
    "blank before the sign": ([F + "for =203.0.113.9"], PEER),
    "port without quotes": ([F + "for=203.0.113.9:80"], PEER),
    "IPv6 without brackets": ([F + 'for="2001:db8::9"'], PEER),
    "empty node": ([F + 'for=""'], PEER),
    "address alone": ([F + "203.0.113.9"], PEER),
    # a client that writes its part so that it reaches into that of the proxy
    "open quote of the client": ([F + 'for="198.51.100.1, for=203.0.113.9'], "203.0.113.9"),
    "open quote and quotes": ([F + 'for="198.51.100.1', F + 'for="[2001:db8::9]"'], "2001:db8::9"),
    "open quote before a proxy": ([F + 'for="198.51.100.1, for=203.0.113.9, for=10.1.1.1'], "203.0.113.9"),
    "entry in a quoted host": ([F + 'for=203.0.113.9;host="x, for=198.51.100.1"'], PEER),
    "pair in a quoted host": ([F + 'for=203.0.113.9;host="x;for=198.51.100.1"'], PEER),
    "backslash before the quote": ([F + 'for="198.51.100.1\\", for=203.0.113.9'], "203.0.113.9"),
    # both
    "both alike": ([X + "203.0.113.9", F + "for=203.0.113.9"], "203.0.113.9"),
    "both alike in the end": ([X + "203.0.113.9, 10.1.1.1", F + 'for="203.0.113.9:1"'], "203.0.113.9"),
    "Forwarded of the client": ([F + "for=198.51.100.1", X + "203.0.113.9"], PEER),
    "X-Forwarded-For of the client": ([X + "198.51.100.1", F + "for=203.0.113.9"], PEER),
    "malformed other": ([F + "x", X + "203.0.113.9"], PEER),
    "empty other": ([F, X + "203.0.113.9"], PEER),
    # others
    "similar names": (["X-Forwarded-For2: 1.1.1.1", "XX-Forwarded-For: 1.1.1.1", "X-Real-IP: 1.1.1.1"], PEER),
    "name within a value": (["A: x-forwarded-for: 203.0.113.9"], PEER),
}


def client_of(lines, proxies=PROXIES, peer=PEER):
    head = "\r\n".join(["GET /forwarded: HTTP/1.1", *lines, "Host: x", "", ""])
    return proxies.client_of(head.encode("utf-8"), peer)


@pytest.mark.parametrize("case", CLIENTS)
def test_client_is_the_rightmost_address_that_is_no_trusted_proxy(case):
    lines, expected = CLIENTS[case]
    assert expected == client_of(lines)


def test_chain_is_read_up_to_a_number_of_proxies():
    assert "203.0.113.9" == client_of([X + "203.0.113.9" + ", 10.1.1.1" * MAX_PROXIES])
    assert "10.1.1.1" == client_of([X + "203.0.113.9" + ", 10.1.1.1" * (MAX_PROXIES + 1)])


def test_peer_of_a_unix_socket_is_the_client_without_a_header():
    assert ["-", "203.0.113.9"] == [client_of([], peer="-"), client_of([X + "203.0.113.9"], peer="-")]


def test_equal_lists_of_different_peers_name_the_peer_of_each():
    assert ["10.0.0.2", "10.0.0.3"] == [client_of([X + "unknown"], peer=f"10.0.0.{last}") for last in (2, 3)]


@given(st.text(alphabet='0123456789.:[]_,;="\\ fFor\tunkw', max_size=40))
def test_part_of_the_client_never_changes_the_entry_of_the_proxy(text):
    for name, entry in ((X, "203.0.113.9"), (F, "for=203.0.113.9"), (F, 'for="[2001:db8::9]:1"')):
        found = client_of([f"{name}{text}, {entry}"])
        assert ("2001:db8::9" if "db8" in entry else "203.0.113.9") == found


PEERS = {
    "address in a network": (IPv4Address("TCP", "10.200.3.4", 5), True),
    "address beside it": (IPv4Address("TCP", "11.0.0.1", 5), False),
    "single address": (IPv4Address("TCP", "192.0.2.7", 5), True),
    "IPv6": (IPv6Address("TCP", "2001:db8:1::9", 5), True),
    "IPv6 beside it": (IPv6Address("TCP", "2001:db8:2::9", 5), False),
    "IPv4-mapped": (IPv6Address("TCP", "::ffff:10.0.0.1", 5), True),
    "zone": (IPv6Address("TCP", "fe80::1%eth0", 5), False),
    "Unix socket": (UNIXAddress(b"/run/x"), True),
    "Unix socket without a name": (UNIXAddress(None), True),
    "no address": (None, False),
}


@pytest.mark.parametrize("case", PEERS)
def test_peer_is_trusted_by_address_and_network(case):
    peer, expected = PEERS[case]
    assert expected == PROXIES.trusts(peer)


def test_peer_of_a_unix_socket_is_trusted_only_by_the_word_unix():
    assert not TrustedProxies(["10.0.0.0/8"]).trusts(UNIXAddress(b"/run/x"))
    assert not TrustedProxies(["unix"]).trusts(IPv4Address("TCP", "127.0.0.1", 5))
