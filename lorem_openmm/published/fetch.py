"""From a name of the registry to an extended XYZ file: find or download, check, unpack, convert."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from lorem_openmm.data.extxyz_layout import check_layout
from lorem_openmm.errors import FetchError
from lorem_openmm.files import atomic_path, write_json
from lorem_openmm.published.biodimers import convert_biodimers
from lorem_openmm.published.catalogue import REGISTRY, Format, Record, Source, record_of
from lorem_openmm.published.checksums import LOCK_NAME, check_file, record_files
from lorem_openmm.published.download import Retries, download
from lorem_openmm.published.frame_writer import FrameWriter
from lorem_openmm.published.molecule_arrays import SN2_SHIFTS, convert_molecules, convert_physnet
from lorem_openmm.published.runner_format import convert_runner

_CONVERTERS: dict[Format, Callable[[Path, FrameWriter], None]] = {
    "runner": convert_runner,
    "sn2": convert_physnet,
    "sn2_shifted": partial(convert_molecules, shifts=SN2_SHIFTS),
    "molecules_npz": convert_molecules,
}


def fetch(name: str, folder: Path, output: Path, retries: Retries | None = None) -> dict[str, Any]:
    """Makes the extended XYZ file of a published data set, in eV and eV/Å.

    Files that are there already, from an earlier download or put there by hand, are checked and used.

    Args:
        name: name of the data set.
        folder: folder of downloads; files go to ``folder/<record>/<file>``, checksums to ``folder/checksums.json``.
        output: the extended XYZ file; a summary (.json) goes beside it.
        retries: how patient downloads are.

    Returns:
        The summary: number of structures, files and their SHA-256, licence, citations.

    Raises:
        ConfigError: If there is no such data set.
        FetchError: If a file can be neither found nor downloaded, or is not the published one.
        DataError: If a file does not have the published format.
    """
    record = record_of(name)
    source = next((source for source in record.sources if _present(source, folder)), record.sources[0])
    path, hashes = _obtain(record, source, folder, retries or Retries())
    n_structures = convert(source.format, path, output)
    record_files(folder / LOCK_NAME, hashes)  # not before: what cannot be read is not the published file
    summary = {
        "name": name,
        "title": record.title,
        "n_structures": n_structures,
        "published_structures": record.n_structures,
        "files": hashes,
        "page": source.page,
        "licence": record.licence,
        "citations": list(record.citations),
        "notes": record.notes,
    }
    write_json(output.with_suffix(".json"), summary)
    return summary


def convert(form: Format, source: Path, output: Path) -> int:
    """Converts a published file to extended XYZ.

    Args:
        form: format of the file.
        source: the file.
        output: where the extended XYZ goes, whole or not at all.

    Returns:
        The number of structures.

    Raises:
        DataError: If the file breaks its format.
    """
    with atomic_path(output) as temporary:
        with temporary.open("w", encoding="utf-8") as stream:
            if form == "biodimers":
                n_structures = convert_biodimers(source, stream)
            else:
                writer = FrameWriter(stream)
                _CONVERTERS[form](source, writer)
                n_structures = writer.n_frames
        if n_structures:
            check_layout(temporary)
    return n_structures


def describe(folder: Path) -> str:
    """Describes every data set, and whether its files are here."""
    lines = []
    for record in REGISTRY.values():
        here = any(_present(source, folder) for source in record.sources)
        count = "unknown number of" if record.n_structures is None else f"{record.n_structures:,}"
        lines.append(f"{record.name}: {record.title}")
        lines.append(f"    {count} structures, {record.method}; licence: {record.licence}")
        for source in record.sources:
            checksum = f"MD5 {source.md5}" if source.md5 else "no published checksum"
            size = source.size or "size unknown"
            address = "" if source.certain else "; address not certain"
            lines.append(f"    {source.file} ({size}, {checksum}{address}) from {source.page}")
        lines += [f"    cite: {citation}" for citation in record.citations]
        lines.append(f"    {record.notes}")
        lines.append(f"    in {folder}: {'yes' if here else 'not yet'}\n")
    return "\n".join(lines).rstrip()


def _present(source: Source, folder: Path) -> bool:
    names = (source.member_name, source.file)
    return any((folder / source.folder / name).is_file() for name in names if name is not None)


def _obtain(record: Record, source: Source, folder: Path, retries: Retries) -> tuple[Path, dict[str, str]]:
    """Returns the file to convert, and the SHA-256 of all files it came from."""
    place, lock = folder / source.folder, folder / LOCK_NAME
    place.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}

    def checked(path: Path, file: str, md5: str | None) -> None:
        name = f"{source.folder}/{file}"
        hashes[name] = check_file(path, name, lock, md5)

    # Two data sets may share an archive, and their jobs may run side by side.
    with FileLock(place / f".{source.file}.lock"):
        path = place / source.file
        unpacked = None if source.member_name is None else place / source.member_name
        if path.is_file():
            checked(path, source.file, source.md5)
        elif unpacked is None or not unpacked.is_file():
            if source.url is None:
                raise FetchError(f"{record.name}: no address is known for this file.\n{by_hand(record, folder)}")
            try:
                check = partial(checked, file=source.file, md5=source.md5)
                download(source.url, path, check, retries, checksummed=source.md5 is not None)
            except FetchError as error:
                raise FetchError(f"{error}\n{by_hand(record, folder)}") from None
        if unpacked is None or source.member is None:
            return path, hashes
        if not unpacked.is_file():
            _unpack(path, source.member, unpacked)
        checked(unpacked, unpacked.name, None)
        return unpacked, hashes


def _unpack(archive: Path, member: str, output: Path) -> None:
    try:
        with atomic_path(output) as temporary, temporary.open("wb") as stream:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as zipped, zipped.open(member) as content:
                    shutil.copyfileobj(content, stream)
            else:
                with tarfile.open(archive) as tarred:
                    found = tarred.extractfile(member)
                    if found is None:  # a folder
                        raise KeyError(member)
                    shutil.copyfileobj(found, stream)
    except KeyError:
        raise FetchError(
            f"{archive}: has no file '{member}'. Is it the published archive? If its folders changed, unpack the file "
            f"by hand to {output}."
        ) from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise FetchError(f"{archive}: cannot be unpacked ({error}). Remove it and fetch it again.") from None


def by_hand(record: Record, folder: Path) -> str:
    """Says which file, from which page, to put where."""
    lines = ["To go on without this download, put one of these files here by hand and run the same command again:"]
    for source in record.sources:
        checksum = f", MD5 {source.md5}" if source.md5 else ""
        size = source.size or "size unknown"
        lines.append(f"  {folder / source.folder / source.file}  ({size}{checksum})  from {source.page}")
        if source.member_name is not None:
            lines.append(f"  {folder / source.folder / source.member_name}  (its file {source.member})")
        if not source.certain:
            lines.append(f"    The address tried, {source.url}, is not certain: look on the page.")
    return "\n".join(lines)
