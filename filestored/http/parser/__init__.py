"""Parsing of HTTP/1.1: request heads and bodies from bytes."""
