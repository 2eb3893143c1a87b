"""Whether a file is the published one: published checksums, and those recorded when a file was first used."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from lorem_openmm.errors import FetchError
from lorem_openmm.files import read_json, sha256_of_file, write_json

LOCK_NAME = "checksums.json"


def check_file(path: Path, name: str, lock: Path, md5: str | None) -> str:
    """Checks a file against its published checksum, and against the lock file if it is recorded there.

    Args:
        path: the file to read.
        name: its name in the lock file, ``folder/file``.
        lock: the lock file; it may be copied to another machine, or kept under version control.
        md5: published checksum; None: not published.

    Returns:
        The SHA-256 of the file.

    Raises:
        FetchError: If a checksum differs.
    """
    if md5 is not None and (received := _md5(path)) != md5:
        raise FetchError(
            f"{name}: is not the published file: MD5 must be {md5}, received {received} ({path.stat().st_size} bytes). "
            "It is damaged or incomplete: remove it and fetch it again."
        )
    received = sha256_of_file(path)
    recorded = _read(lock).get(name, received)
    if recorded != received:
        raise FetchError(
            f"{name}: is not the file that was used before: SHA-256 must be {recorded}, received {received} "
            f"({path.stat().st_size} bytes). It is damaged, or the publisher changed it. Remove it and fetch it again; "
            f"to accept a changed file, remove its entry from {lock}."
        )
    return received


def record_files(lock: Path, hashes: Mapping[str, str]) -> None:
    """Adds files to the lock file; call it once they have proved to be what they should be.

    Args:
        lock: the lock file.
        hashes: SHA-256 by ``folder/file``.
    """
    with FileLock(lock.with_name(f".{lock.name}.lock")):
        known = _read(lock)
        if not known.items() >= hashes.items():
            write_json(lock, dict(sorted((known | dict(hashes)).items())))


def _read(lock: Path) -> dict[str, str]:
    return dict(read_json(lock)) if lock.is_file() else {}


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
