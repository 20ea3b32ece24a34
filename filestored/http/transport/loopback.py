"""Loopback addresses, in all notations."""

from functools import lru_cache
from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress


def is_loopback(host: str) -> bool:
    """Return whether `host` is the text of a loopback address, IPv4-mapped ones included."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


@lru_cache(maxsize=64)
def _is_known_loopback(host: str) -> bool:
    return is_loopback(host)


def is_on_loopback(address: IAddress | None) -> bool:
    """Return whether the address of an end of a connection is a TCP one on the loopback interface."""
    return isinstance(address, IPv4Address | IPv6Address) and _is_known_loopback(address.host)
