"""Maintenance of stores beside running daemons: priority, removal, leftovers."""
