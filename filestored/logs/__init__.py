"""What is written down while the daemon runs: events of Twisted through loguru, and the access log."""
