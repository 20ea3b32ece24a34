"""multipart/form-data: framing, part headers, and the uploads of its files."""
