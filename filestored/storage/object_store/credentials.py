"""Credentials and endpoints of object stores, from the environment.

Each variable of a service, such as ``AWS_SECRET_ACCESS_KEY``, is looked up as a variable, as a file that
``AWS_SECRET_ACCESS_KEY_FILE`` names, and as a file of that name in ``$CREDENTIALS_DIRECTORY``, where systemd
puts credentials (systemd.exec(5), ``LoadCredential=``). The first one found counts. Values are never logged.
"""

import os
from collections.abc import Mapping

from filestored.errors import UnusableStore

NAMES = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
    ),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_ENDPOINT",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_SECRET",
        "AZURE_STORAGE_TENANT_ID",
    ),
}
"""Variables of each service, by the scheme of its URLs."""


_PATHS = frozenset({"GOOGLE_APPLICATION_CREDENTIALS"})
"""Variables whose value is the path of a file."""


def read_credentials(scheme: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the variables of a service that are set, by lower-case name.

    Raises `UnusableStore` when a file cannot be read.
    """
    values = {name: _value(name, environment) for name in NAMES[scheme]}
    return {name.lower(): value for name, value in values.items() if value}


def _value(name: str, environment: Mapping[str, str]) -> str:
    if environment.get(name):
        return environment[name]
    if path := environment.get(f"{name}_FILE"):
        return _read(path)
    path = os.path.join(environment.get("CREDENTIALS_DIRECTORY", ""), name)
    if not (os.path.isabs(path) and os.path.exists(path)):
        return ""
    return path if name in _PATHS else _read(path)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableStore(f"the credentials in {path} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the reason without the bytes of the file."""
    return error.strerror or "unknown" if isinstance(error, OSError) else "they are not text"
