"""Semantics of HTTP header fields. Pure."""
