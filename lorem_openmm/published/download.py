"""Downloads that survive cut connections: resumed where they stopped, checked, and only then given their name.

Libraries of downloads such as pooch begin a cut file anew, in each try and each run.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorem_openmm.errors import FetchError
from lorem_openmm.files import write_json
from lorem_openmm.progress import progress

_CHUNK = 1 << 20  # bytes; the progress counts them
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # answers of a server that may go away
_LONGEST_WAIT = 60.0  # s


@dataclass(frozen=True, slots=True)
class Retries:
    """How patient a download is.

    Attributes:
        attempts: tries without any progress before it gives up.
        wait: s before the second try; doubled each time, at most a minute.
        timeout: s without an answer.
    """

    attempts: int = 4
    wait: float = 1.0
    timeout: float = 30.0


class _CutError(Exception):
    """The connection ended before the file did."""


def download(
    url: str, path: Path, check: Callable[[Path], None], retries: Retries | None = None, checksummed: bool = False
) -> None:
    """Downloads a file; a part left by an earlier run is continued.

    The part is ``<name>.part``. It is continued if the server can say that the file is still the same (HTTP ``Range``
    with ``If-Range``) or if ``check`` will find out; otherwise the download starts again.

    Args:
        url: ``http``, ``https``.
        path: where the file goes, once it is whole and checked.
        check: called with the whole part; raises :class:`FetchError` if it is not the file that was wanted.
        retries: how patient to be.
        checksummed: whether ``check`` compares with a published checksum.

    Raises:
        FetchError: If the file cannot be had or is not the right one (the part is then removed).
    """
    patience = retries or Retries()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    failures, largest, reason = 0, 0, ""
    while failures < patience.attempts:
        largest, after = max(largest, _size(part)), None
        try:
            _continue(url, part, patience.timeout, checksummed)
            break
        except urllib.error.HTTPError as error:
            reason = f"HTTP status {error.code} {error.reason}"
            if error.code not in _TEMPORARY:
                raise FetchError(f"{url}: {reason}.") from None
            after = error.headers.get("Retry-After")
        except (_CutError, OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = failures + 1 if _size(part) <= largest else 1
        if failures < patience.attempts:
            time.sleep(_seconds(after, patience.wait * 2 ** (failures - 1)))
    else:
        raise FetchError(f"{url}: no success after {failures} tries without progress; the last: {reason}.")
    try:
        check(part)
    except FetchError:
        _forget(part)
        raise
    part.replace(path)
    _validator(part).unlink(missing_ok=True)


def _continue(url: str, part: Path, timeout: float, checksummed: bool) -> None:
    """Appends what is missing to the part."""
    known = _read_validator(part)
    if known.get("url") != url or not (checksummed or known.get("validator")):
        _forget(part)
    offset = _size(part)
    headers = {"User-Agent": "lorem-openmm", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - addresses come from the registry
    try:
        response = urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if offset and error.headers.get("Content-Range") == f"bytes */{offset}":
                return  # the part was whole already
            _forget(part)
            raise _CutError("the server has less than what was downloaded before; starting again") from None
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise FetchError(f"{url}: the server sent a web page instead of the file: the address has changed.")
        resumed = response.status == http.client.PARTIAL_CONTENT
        start = offset if resumed else 0
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            _forget(part)
            raise _CutError("the server sent another range than the one asked for; starting again")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        if not resumed:
            _write_validator(part, url, response.headers)  # forgets the old part
        _receive(response, part, start, total)


def _receive(response: http.client.HTTPResponse, part: Path, start: int, total: int | None) -> None:
    def chunks() -> Iterator[bytes]:
        while chunk := response.read(_CHUNK):
            yield chunk

    remaining = 0 if total is None else -(-(total - start) // _CHUNK)
    with part.open("ab" if start else "wb") as stream:
        for chunk in progress(chunks(), remaining, f"download {part.stem} (MiB)"):
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    if total is not None and _size(part) < total:
        raise _CutError(f"the connection ended after {_size(part)} of {total} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _seconds(retry_after: str | None, otherwise: float) -> float:
    seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else otherwise
    return min(seconds, _LONGEST_WAIT)


def _validator(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write_validator(part: Path, url: str, headers: http.client.HTTPMessage) -> None:
    """Keeps what identifies this version of the file: a strong ETag or the time of its last change, if it has one."""
    tag = headers.get("ETag")
    validator = tag if tag is not None and not tag.startswith("W/") else headers.get("Last-Modified")
    _forget(part)
    write_json(_validator(part), {"url": url, "validator": validator})


def _read_validator(part: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_validator(part).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)
