"""What storage raises, split by what the caller can do about it."""


class StorageError(Exception):
    """Base of all errors of this package."""


class BackendDownError(StorageError):
    """The backend did not answer in time, or at all.

    The call may or may not have taken effect; repeating it is safe, and worth it after a pause.
    """


class UnmigratedError(BackendDownError):
    """PostgreSQL answers, but its schema is older than this version: `viva migrate` was not run."""


class OutOfMemoryError(StorageError):
    """Redis refuses writes until memory is freed. Nothing took effect; worth repeating later."""


class BadDataError(StorageError):
    """The backend refuses this very data; repeating changes nothing."""


class ErasedError(StorageError):
    """The interview was erased; nothing may bring it back."""


class MissingError(StorageError):
    """The backend does not hold the interview."""
