"""Error tree. Each class has one sentence, which is sent to clients unless an instance has its own message.

`web.errors` maps errors to status codes. An exception outside of this tree is a defect of filestored.
"""


class FilestoredError(Exception):
    """The root of every error that filestored raises on purpose."""

    def __str__(self) -> str:
        text = super().__str__()
        return text or (type(self).__doc__ or "").strip()


class MalformedDigest(FilestoredError):
    """The text is not a digest of the algorithm in use."""


class UnknownAlgorithm(FilestoredError):
    """No hash algorithm of that name is available here."""


class NotFound(FilestoredError):
    """No file with this hash is stored."""


class AlreadyExists(FilestoredError):
    """Something is stored under that name already."""


class UnknownToken(FilestoredError):
    """No account has this token."""


class UploadRefused(FilestoredError):
    """The root of the reasons for which bytes are not taken in; nothing of them remains."""


class TooLarge(UploadRefused):
    """The body is larger than this server accepts."""

    @classmethod
    def than(cls, size: int) -> "TooLarge":
        """Return the error that names the limit of `size` bytes."""
        return cls(f"The file is larger than {size:,} bytes, which is the limit of this server.")


class FileTooLarge(UploadRefused):
    """The body is larger than a file may be on this server's disk."""


class DigestMismatch(UploadRefused):
    """The bytes received do not have the digest that was announced."""


class LengthMismatch(UploadRefused):
    """The number of bytes received is not the number that was announced."""


class Collision(UploadRefused):
    """Other bytes with the same digest are stored already; they were left unchanged."""


class StorageFull(UploadRefused):
    """There is no room left to store the body."""


class QuotaExceeded(StorageFull):
    """The quota of this bucket is used up."""

    @classmethod
    def of_bytes(cls, quota: int) -> "QuotaExceeded":
        """Return the error that names a quota of `quota` bytes."""
        return cls(f"The file does not fit into the quota of this bucket, which is {quota:,} bytes.")

    @classmethod
    def of_files(cls, quota: int) -> "QuotaExceeded":
        """Return the error that names a quota of `quota` files."""
        return cls(f"This bucket has as many files as its quota allows, which is {quota:,} files.")


class WritesSuspended(UploadRefused):
    """Writing is suspended: the disk is read-only or faulty; reading goes on."""


class StoreMissing(UploadRefused, OSError):
    """The directory of the store was removed; nothing can be read or written until a restart."""


class EngineError(OSError):
    """The object store could not do this now; try again."""

    # No `FilestoredError`: a change may have been made.

    def __init__(self, reason: str = "", *, temporary: bool = True) -> None:
        super().__init__()
        self.reason = reason
        """The reason for the operator, which names the store."""
        self.temporary = temporary
        """False when a repetition would fail as well."""

    def __str__(self) -> str:
        return type(self).__doc__ or ""


class OutcomeUnknown(EngineError):
    """The object store did not tell whether it has done this."""


class EngineUnavailable(EngineError):
    """The object store does not answer now; try again."""


class InvalidFileName(UploadRefused):
    """The file has no name, or one that is too long."""


class ImageRefused(UploadRefused):
    """The root of the reasons for which bytes are never taken for an image."""


class NotAnImage(ImageRefused):
    """The bytes are not an image."""


class TooManyPixels(ImageRefused):
    """The image has more frames or pixels than this server decodes."""


class DecodingTooCostly(ImageRefused):
    """Decoding this image takes more memory or processor time than this server spends on one."""


class Overloaded(UploadRefused):
    """The server has as many uploads under way, or files open, as it can serve."""


class BodyError(FilestoredError):
    """The root of the ways in which a request's body fails to arrive."""


class BodyLost(BodyError):
    """The connection ended before the body did."""


class BodyStalled(BodyError):
    """The body stopped arriving, or arrived too slowly."""


class BodyMalformed(BodyError):
    """The framing of the body is broken."""


class InvalidThumbnailSize(FilestoredError):
    """A thumbnail has a width or a height, or both, from 1 to 2048 pixels."""


class UnusableStore(FilestoredError):
    """The directory cannot serve as a store; the message says why and what would help."""


class VerificationRunning(FilestoredError):
    """Another process verifies the store."""


class VerificationStopped(FilestoredError):
    """The verification was told to stop; its state is recorded, and the next one continues."""


class AccessFileError(FilestoredError):
    """The access file cannot be used; the message names the key, and contains no secret."""
