"""Limits of buckets: quotas and usage."""
