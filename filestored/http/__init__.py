"""HTTP/1.1 on a socket: requests are rendered at the end of their headers and stream their bodies."""
