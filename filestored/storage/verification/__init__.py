"""Verification: every stored file is read and compared with its name, slowly, at the lowest priority."""
