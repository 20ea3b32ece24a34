"""Verification in the background: a child process at the lowest priority, started when it is due."""
