"""The `twisted.web` resource tree: what clients see. Opens no file."""
