"""filestored: a file server that keeps every distinct content once, under its hash.

Read it in this order. ``interfaces`` is the whole house on one page, ``errors`` what can go
wrong in it, ``digest`` how things are named. Then the floors, each importing from those
below only:

- ``storage/``  where bytes rest, knows no HTTP
- ``http/``     HTTP/1.1 on a socket, knows no store
- ``images/``   accounts, tokens and named images on top of the same backends
- ``web/``      the resource tree: what clients see
- ``daemon/``, ``logs/``   the processes around it, and what they write down
- ``writing``   all bytes to a descriptor, for several of these
- ``settings``   the options as values; ``assembly`` composes a daemon and a server of them
- ``service``, ``worker``, ``cli``   entry points: of twistd, of a worker process, of the command line
"""

__version__ = "0.3.1"
