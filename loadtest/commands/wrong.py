"""Options that cannot be followed; found before a run, not behind it."""

from pathlib import Path


class WrongError(Exception):
    """An option cannot be followed; the message says why."""


def check_files(*paths: Path | None) -> None:
    """Look whether what a run is to leave behind has a place.

    Raises:
        WrongError: a file cannot be written there.
    """
    for path in paths:
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise WrongError(f"{path} cannot be written: name a file in a directory that exists.")


def check_directory(path: Path | None) -> None:
    """Look whether a directory is there, or can be made with those above it.

    Raises:
        WrongError: a file is in its way.
    """
    if path is None:
        return
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        raise WrongError(f"{path} cannot be a directory: {there} is a file.")
