"""Where bytes rest: blocking backends, and one asynchronous store above them. Knows no HTTP."""
