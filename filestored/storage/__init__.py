"""Blobs and records: blocking backends, and one asynchronous store above them. Knows no HTTP."""
