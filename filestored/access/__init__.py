"""Access control: rights of tokens in buckets, decisions, signed links, and the access file.

Imports no HTTP. Only `access_file` touches the disk; all other modules are pure.
"""
