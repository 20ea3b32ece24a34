"""filestored: a file server that keeps every distinct content once, under its hash.

Read it in this order. ``interfaces`` is the whole house on one page, ``errors`` what can go
wrong in it, ``digest`` how things are named. Then the floors, each importing from those
below only:

- ``storage/``  where bytes rest, knows no HTTP
- ``http/``     HTTP/1.1 on a socket, knows no store
- ``web/``      the resource tree: what clients see
- ``service``, ``workers``, ``logs``   the daemon around it
"""

__version__ = "0.1.0"
