"""Builders of multipart/form-data bodies."""

BOUNDARY = "----b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def part(data, disposition='form-data; name="file"; filename="x.bin"', *lines):
    head = [f"Content-Disposition: {disposition}", *lines, "", ""]
    return "\r\n".join(head).encode() + data


def form(*parts, end=b"--\r\n", boundary=BOUNDARY):
    mark = b"--" + boundary.encode()
    return mark + b"".join(b"\r\n" + each + b"\r\n" + mark for each in parts) + end
