"""Processes and sockets of the daemon: options, listeners, workers, signals, systemd notifications."""
