"""Decoding of untrusted images in sandboxed child processes."""
