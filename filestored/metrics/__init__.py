"""Metrics: counters of all processes in shared memory, and their text for Prometheus."""
