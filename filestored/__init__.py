"""filestored: a file server that keeps every distinct content once, under its hash.

Reading order: ``interfaces`` has every interface; ``errors`` and ``digest`` are small values. Then the
folders, each of which imports only from those before it:

- ``settings``  the options as values
- ``storage/``  blobs and records; knows no HTTP
- ``http/``     HTTP/1.1 on a socket; knows no store
- ``logs/``     the daemon's log and the access log
- ``images/``   accounts, tokens and named images, on top of ``storage/``
- ``web/``      the twisted.web resource tree
- ``daemon/``   processes and sockets
- ``assembly``  the composition root
- ``service``, ``worker``, ``cli``  entry points: twistd, a worker process, the command ``filestored``

``docs/architecture.md`` describes processes, threads and the way of a byte.
"""

__version__ = "0.7.0"
