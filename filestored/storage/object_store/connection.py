"""Connections of ``obstore`` to a service, and the reasons of its errors for the operator.

An error of ``obstore`` holds the URL of its request, which for Azure may be signed. So a reason is put
together from known parts: a status, a code of the service, a kind of failure.
"""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, S3Store

from filestored.errors import UnusableStore
from filestored.storage.object_store.credentials import NAMES, read_credentials
from filestored.storage.object_store.url import ObjectStoreURL

MAX_CONNECT_SECONDS = 3.0
"""Maximum seconds to connect."""

MAX_STREAM_SECONDS = 7 * 24 * 60 * 60
"""Maximum seconds of a stream: a slow reader may take days for a large file."""

NO_ANSWER = "it does not answer"
"""Reason of a request without an answer."""

_ENDPOINTS = ("aws_endpoint_url", "azure_storage_endpoint")

_FIRST_RETRY_SECONDS = 0.1
_MAX_RETRY_SECONDS = 1.0
_MAX_RETRIES = 100
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TEMPORARY = frozenset({"408", "409", "429"})


class Connect(Protocol):
    """Makes a store of ``obstore``."""

    def __call__(
        self, url: ObjectStoreURL, timeout: float, *, retries: bool = True, streams: bool = False
    ) -> Any:
        """Return a store whose requests end within `timeout` seconds, or are repeated until then.

        With `streams` only the head of an answer, and each piece of its body, have to come in that time.
        """


def connect(
    url: ObjectStoreURL,
    timeout: float,
    *,
    retries: bool = True,
    streams: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Any:
    """Return a store for the bucket of `url`; makes no request. Raises `UnusableStore`."""
    values = read_credentials(url.scheme, environment)
    _check_endpoint(values)
    options = _options(timeout, retries, streams, values)
    try:
        if url.scheme == "s3":
            defaults = {"aws_disable_bulk_delete": "true", "aws_unsigned_payload": _unsigned(values)}
            return S3Store(url.bucket, config={**defaults, **values}, **options)  # type: ignore[arg-type]
        if url.scheme == "gs":
            return GCSStore(url.bucket, config=values, **options)  # type: ignore[arg-type]
        return AzureStore(url.bucket, config=values, **options)  # type: ignore[arg-type]
    except (BaseError, ValueError) as error:
        raise UnusableStore(
            f"the object store {url} cannot be used: its variables are missing or not usable, such as "
            f"{', '.join(NAMES[url.scheme][:2])} ({type(error).__name__})"
        ) from None


def _check_endpoint(values: dict[str, str]) -> None:
    """Remove slashes at the end of an endpoint. Raises `UnusableStore` if ``obstore`` would panic."""
    for name in _ENDPOINTS:
        if name in values:
            if not _is_endpoint(values[name]):
                raise UnusableStore(f"{name.upper()} is not a URL: write it like https://host:port")
            values[name] = values[name].rstrip("/")


def _is_endpoint(text: str) -> bool:
    try:
        port = urlsplit(text).port
    except ValueError:
        return False
    return port != 0 and re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+(/[!$-~]*)?", text) is not None


def _unsigned(values: Mapping[str, str]) -> str:
    """Return whether bodies of PUTs are left unsigned: where TLS protects them, or no network is involved.

    The SHA-256 of each body would halve the rate of small uploads.
    """
    endpoint = urlsplit(values.get("aws_endpoint_url", ""))
    return str(endpoint.scheme != "http" or endpoint.hostname in _LOOPBACK).lower()


def _options(timeout: float, retries: bool, streams: bool, values: Mapping[str, str]) -> dict[str, Any]:
    endpoint = "".join(values.get(name, "") for name in _ENDPOINTS)
    client = {
        "connect_timeout": timedelta(seconds=min(timeout, MAX_CONNECT_SECONDS)),
        "read_timeout": timedelta(seconds=timeout),
        "timeout": timedelta(seconds=MAX_STREAM_SECONDS if streams else timeout),
        "allow_http": endpoint.startswith("http://"),
    }
    retry = {
        "max_retries": _MAX_RETRIES if retries else 0,
        "retry_timeout": timedelta(seconds=timeout),
        "backoff": {
            "init_backoff": timedelta(seconds=_FIRST_RETRY_SECONDS),
            "max_backoff": timedelta(seconds=_MAX_RETRY_SECONDS),
            "base": 2,
        },
    }
    return {"client_options": client, "retry_config": retry}


def describe(error: BaseError) -> str:
    """Return the reason of an error, without URLs and credentials."""
    text = str(error)
    status = _status(error)
    code = re.search(r"<Code>([A-Za-z]{1,64})</Code>", text)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return f"it refuses the credentials{f' ({code[1]})' if code else ''}"
    if status:
        return f"it answered {status}{f' {code[1]}' if code else ''}"
    return NO_ANSWER if "sending request" in text else f"it failed ({type(error).__name__})"


def is_temporary(error: BaseError) -> bool:
    """Return whether a repetition of the request may succeed."""
    status = _status(error)
    return status is None or status.startswith("5") or status in _TEMPORARY


def is_unsatisfied_range(error: BaseError) -> bool:
    """Return whether the object has no byte of the range of a GET (RFC 9110 section 15.5.17)."""
    return _status(error) == "416" or "Invalid range" in str(error)


def _status(error: BaseError) -> str | None:
    """Return the status of the response that was an error; None if there was no response."""
    found = re.search(r"status code: (\d{3})", str(error))
    return found[1] if found else None


def names_no_bucket(error: FileNotFoundError) -> bool:
    """Return whether the bucket or container of a missing object is missing as well."""
    return any(code in str(error) for code in ("NoSuchBucket", "ContainerNotFound"))
