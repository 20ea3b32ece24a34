"""Accounts, tokens and named images, on top of the same backends. Knows no HTTP."""
