"""Limits of buckets: quotas, usage, expiry."""
