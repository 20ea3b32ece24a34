"""Servers under test: each module starts one, and declares its targets and what it does not do."""
