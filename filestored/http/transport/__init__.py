"""Sockets of HTTP connections: output, sendfile, receive sizes, loopback addresses."""
