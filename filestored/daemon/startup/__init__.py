"""Checks and preparations of a start, before twistd daemonises."""
