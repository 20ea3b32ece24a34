"""Semantics of request and response headers. Pure: values in, values out."""
