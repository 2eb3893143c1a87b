"""Files that are either whole or absent, and their hashes."""

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lorem_openmm.errors import ConfigError, LoremError

PROBE_BYTES = 1 << 16  # enough that a full disk cannot hide them in a started block


def expand_home(path: str) -> str:
    """Returns a path with a leading ``~`` or ``~user`` replaced by that home folder; other texts as they are.

    Raises:
        ConfigError: If there is no such user.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise ConfigError(
            f"{path}: `~` at the start must be followed by / or by the name of a user of this machine; write ./{path} "
            "for a file whose own name begins so"
        ) from None


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, renamed to it on success, removed on failure.

    The data are flushed to disk before the rename, so that a crash leaves the old file or the new one, never a part of
    it. Symbolic links are written through: the file they lead to is replaced. Devices and pipes (``/dev/stdout``) get
    the whole content at once.

    Args:
        path: Final location; missing parent folders are made.

    Raises:
        OSError: If the folder cannot be written, the disk is full, or ``path`` is a folder; it names ``path``.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, but a file is to be written", str(path))
    special = _is_special(path)
    final = path if special else Path(os.path.realpath(path))
    temporary = _new_file(Path(tempfile.gettempdir()) if special else final.parent, path, final.name)
    try:
        with _naming(path, temporary):
            yield temporary
            if special:
                with temporary.open("rb") as written, path.open("ab") as stream:
                    shutil.copyfileobj(written, stream)
                return
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
            temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def _new_file(folder: Path, path: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle, made = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=path.suffix)
    except OSError as error:  # which names a file that nobody knows
        raise type(error)(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    return Path(made)


def _is_special(path: Path) -> bool:
    """Returns whether to write into ``path`` rather than to replace it: a device, a pipe, or a name of one."""
    if path.is_relative_to("/dev") or path.is_relative_to("/proc"):  # /dev/stdout may be an ordinary file
        return True
    with suppress(OSError):
        return not stat.S_ISREG(path.stat().st_mode)
    return False


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Makes errors of the system name the file that was to be written, and a full disk one of them."""
    try:
        yield
    except (LoremError, ConnectionError):  # the latter is of another program that reads what is printed
        raise
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from None
    except Exception as error:  # PyTorch and safetensors have their own exceptions for a full disk
        fault = _write_fault(temporary)
        if fault is None:
            raise
        raise type(fault)(fault.errno, fault.strerror, str(path)) from error


def _write_fault(temporary: Path) -> OSError | None:
    """Returns the error of the system with which more cannot be written to a file, if so; spoils the file."""
    try:
        with temporary.open("ab") as stream:
            stream.write(bytes(PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        return error
    return None


@contextmanager
def ascii_path(path: Path) -> Iterator[Path]:
    """Yields a name of an existing file without letters beyond ASCII, for libraries that cannot open others."""
    if str(path).isascii():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"file{path.suffix}"
        link.symlink_to(path.resolve())
        yield link


def write_text(path: str | Path, text: str) -> None:
    """Writes ``text`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes ``value`` as indented JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_of_file(path: str | Path) -> str:
    """Returns the SHA-256 of a file as a hexadecimal string."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
