"""Where a command writes: a place that is writable, of one process at a time, and free of what is outdated."""

import errno
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lorem_openmm.errors import ConfigError

logger = logging.getLogger(__name__)

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # what file systems of a network say that have none


@contextmanager
def claim(output: str | Path) -> Iterator[None]:
    """Holds a folder or a file that is to be written for this process alone.

    The lock is a file beside it, ``.NAME.lock``; the system frees it when the process ends, also when it is killed.
    On a file system without locks there is a warning.

    Args:
        output: Folder or file; missing parent folders are made.

    Raises:
        ConfigError: If another process holds it, or it cannot be written.
    """
    place = Path(output).resolve()
    with _writable(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_lock_file(place), timeout=0)
        held = _acquire(lock, output)
    try:
        yield
    finally:
        if held:  # removed while it is held, so that nobody waits for a file that is no longer there
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def set_aside(folder: Path, reason: str) -> Path:
    """Renames a folder whose content no longer fits and leaves an empty one, to start anew without losing anything.

    Args:
        folder: Folder to be moved to ``FOLDER.old-1``, or the next number that is free. Links are followed.
        reason: Why, for the message.

    Returns:
        Where it is now.
    """
    place = folder.resolve()
    number = 1
    while (target := place.with_name(f"{place.name}.old-{number}")).exists():
        number += 1
    with _writable(place):
        place.rename(target)
        place.mkdir()  # also where a link leads
    logger.warning("%s: %s\nWhat was there is now in %s; delete it when it is not needed.", folder, reason, target)
    return target


def _lock_file(place: Path) -> Path:
    """Returns where the lock goes, after trying to write there: before the work rather than after it."""
    folder = place if place.is_dir() else place.parent
    with tempfile.TemporaryFile(dir=folder):
        pass
    if os.access(place.parent, os.W_OK):
        return place.with_name(f".{place.name}.lock")
    return folder / ".lock"  # a link led into a folder of somebody else's


def _acquire(lock: FileLock, output: str | Path) -> bool:
    owner = ""
    with suppress(OSError, UnicodeDecodeError):
        owner = Path(lock.lock_file).read_text(encoding="utf-8")
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(
            f"{output}: one process at a time may write here, but {owner or 'another process'} does. Wait for it or "
            "end it, or choose another `output`"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        warnings.warn(
            f"{output}: this file system has no locks ({error.strerror}), so nothing keeps a second process from "
            "writing here: start one at a time",
            stacklevel=4,
        )
        return False
    with suppress(OSError):  # only for the message of another process
        Path(lock.lock_file).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
    return True


@contextmanager
def _writable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{place}: must be writable, but {error.filename or place.parent} is not ({error.strerror or error}). Make "
            "it writable, or change `output` in the configuration"
        ) from None
