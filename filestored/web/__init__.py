"""The `twisted.web` resource tree. Opens no file."""
