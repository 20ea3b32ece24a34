"""The daemon's log, from twisted.logger through loguru, and the access log."""
