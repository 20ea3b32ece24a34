"""HTTP client of the users' commands: uploads, downloads and lists; blocking, in threads.

It is built on ``http.client``. Rejected: httpx and requests, which are more dependencies, and do not look for
a response while they send: a refused upload would be a broken pipe.
"""
