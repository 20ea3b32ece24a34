"""The daemon around the store: options, sockets, processes, signals, and what systemd wants to know."""
