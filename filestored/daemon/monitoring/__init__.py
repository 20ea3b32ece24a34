"""Monitoring of the daemon: ``/metrics``, ``/livez`` and ``/readyz`` on a listener of their own."""
