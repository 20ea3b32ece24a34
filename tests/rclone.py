"""rclone between a directory and a bucket of SeaweedFS, with the options of the pages in docs/."""

import os
import subprocess

import pytest

from tests.seaweedfs import BUCKET, Prefix, SeaweedFS

NEEDS = pytest.mark.needs("rclone", "weed", "obstore")
"""Mark of a test that copies with rclone."""

OPTIONS = (
    *("--no-unicode-normalization", "--exclude", ".*"),
    *("--exclude", "/{tmp,buckets/*/tmp,blobs/tmp,thumbnails,holders}/**"),
    *("--exclude", "/{usage,usage.lock,buckets/*/usage,buckets/*/usage.lock}"),
)
"""Options of a copy: all but temp files, thumbnails, locks of daemons, and figures that these count again.

The slash at the front is needed: an account may be called ``tmp``. No record has a name that begins with a
dot.
"""

PRIVATE_UMASK = 0o077
"""umask of a copy to a directory: in a bucket files have no modes."""


def copy_to_bucket(directory: str, prefix: Prefix) -> None:
    """Copy the files of a store, or the images, from a directory."""
    _copy(prefix.server, directory, _remote(prefix))


def copy_to_directory(prefix: Prefix, directory: str) -> None:
    """Copy the files of a store, or the images, to a directory, which is made."""
    _copy(prefix.server, _remote(prefix), directory)


def _remote(prefix: Prefix) -> str:
    return f":s3:{BUCKET}/{prefix.path}"


def _copy(server: SeaweedFS, source: str, target: str) -> None:
    run_rclone(server, "copy", *OPTIONS, source, target)


def environment(server: SeaweedFS) -> dict[str, str]:
    """Return the variables of rclone for a SeaweedFS: the daemon's own, and those that the pages export."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    settings = {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_ENDPOINT": server.endpoint,
    }
    return {**others, **server.environment, **settings}


def run_rclone(server: SeaweedFS, *words: str) -> str:
    """Run rclone with the daemon's own variables; return what it prints."""
    done = subprocess.run(
        ["rclone", *words],
        env=environment(server),
        umask=PRIVATE_UMASK,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
