"""Files that a simulation starts from: told by their names and content, read by OpenMM or ASE, and checked."""

import re
import tempfile
import warnings
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from openmm import app, unit

from lorem_openmm.data.ase_files import count_frames, read_atoms
from lorem_openmm.data.extxyz_layout import READ_FORMATS, check_layout
from lorem_openmm.data.formats import DB, HDF5, NPZ, TRAJ, XYZ, find_format, unpack
from lorem_openmm.errors import DataError
from lorem_openmm.simulate.charges import UNKNOWN, TotalCharge, charge_of_atoms, charge_of_info
from lorem_openmm.simulate.structure_checks import check_structure
from lorem_openmm.simulate.structure_faults import why_unreadable

FORMATS = (
    "Structures are read from PDB (.pdb, .ent), mmCIF and crystallographic CIF, XYZ, .mol, .sdf, ASE's .traj and .db, "
    "VASP's files, and others that ASE reads and that name the elements; all of them also compressed by gzip, bzip2 or "
    "xz."
)
COMPRESSED = (".gz", ".bz2", ".xz")
PDB, CIF = (".pdb", ".ent"), (".cif", ".mmcif", ".pdbx")
EXTENDED_XYZ = (".xyz", ".extxyz")
SDF = (".mol", ".sdf", ".sd")
# What people have that holds no elements, or no positions, or that neither OpenMM nor ASE reads.
OTHERS = {
    (".mol2", ".mae", ".pdbqt", ".cml"): "is not read; convert it, for example `obabel {name} -O structure.sdf`",
    (".gro", ".g96"): "names atoms but no elements (CA may be carbon or calcium); `gmx editconf -f {name} -o out.pdb`",
    (".psf", ".prmtop", ".parm7", ".top", ".itp", ".tpr"): "is a topology without positions; give a PDB file",
    (".inpcrd", ".rst7", ".rst", ".crd", ".cor", ".restrt"): "holds positions without elements; write a PDB file, for "
    "example with `cpptraj` or ParmEd",
    (".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".lammpstrj"): "is a trajectory without elements; write one frame as PDB, "
    "for example with MDTraj or MDAnalysis",
    (".bcif", ".mmtf"): "is binary; give the mmCIF file",
    (".smi", ".smiles", ".inchi"): "holds no positions; write `smiles:` followed by the SMILES",
}
NO_ELEMENTS = ("lammps-data", "lammps-dump-text", "lammps-dump-binary", "gromacs", "gromos")  # ASE would guess them


class FileStructure(NamedTuple):
    """What a file holds.

    Attributes:
        atoms: Elements, positions in Å, and the cell where there is one.
        charge: Charge as far as the file states it.
        topology: The residues and bonds of the file; None: it has none.
    """

    atoms: Atoms
    charge: TotalCharge
    topology: app.Topology | None = None


class _File(NamedTuple):
    """A file, its name in errors, and what it is called without the ending of a compressed file."""

    path: Path
    name: str
    plain_name: str

    @property
    def suffix(self) -> str:
        return Path(self.plain_name).suffix.lower()


def read_file(path: Path, index: int | None) -> FileStructure:
    """Reads one structure of a file, and checks it.

    Args:
        path: The file, which may be compressed.
        index: Which structure; None: the first model of a PDB or mmCIF file, else the last structure.

    Raises:
        DataError: If the file is empty, cannot be read, has atoms without element, atoms in the same place or nowhere,
            is periodic in some directions only, has a box too small for its atoms, disordered atoms, or a charge that
            is not a whole number.
    """
    with _plain(path) as file:
        found = _read(file, index)
        check_structure(found.atoms, file.name, dummy_box=file.suffix in PDB + CIF)
    return found


@contextmanager
def _plain(path: Path) -> Iterator[_File]:
    """Yields the file, or a copy for the moment that is neither compressed nor begins with a byte order mark."""
    name = path.name
    while name.lower().endswith(COMPRESSED):
        name = name.rpartition(".")[0]
    with tempfile.TemporaryDirectory() as folder:
        content = unpack(path, Path(folder))
        with content.open("rb") as stream:
            head = stream.read(4096)
        if not head.strip() and content.stat().st_size <= len(head):
            raise DataError(f"{path}: is empty; write the structure again. {FORMATS}")
        target = Path(folder) / name
        if head.startswith(BOM_UTF8):
            target.write_bytes(content.read_bytes().removeprefix(BOM_UTF8))
            content = target
        elif content != path:
            content = content.rename(target)
        yield _File(content, str(path), name)


def _read(file: _File, index: int | None) -> FileStructure:
    for suffixes, what in OTHERS.items():
        if file.suffix in suffixes:
            raise DataError(f"{file.name}: a {file.suffix} file {what.format(name=file.plain_name)}. {FORMATS}")
    kind = find_format(file.path, file.name, FORMATS)
    if kind in (NPZ, HDF5):
        raise DataError(f"{file.name}: is an archive of arrays or files, not one structure. {FORMATS}")
    if kind == XYZ and file.suffix in PDB:
        return _by_openmm(file, app.PDBFile, index)
    if kind == XYZ and file.suffix in CIF:
        return _cif(file, index)
    atoms = _atoms(file, kind, index)
    return FileStructure(atoms, charge_of_info(atoms.info, Path(file.name)))


def _atoms(file: _File, kind: str, index: int | None) -> Atoms:
    if kind in (TRAJ, DB):
        return _of_many(file, kind, index)
    if kind != XYZ:
        return _by_ase(file, index, kind)
    if file.suffix in EXTENDED_XYZ:
        return _xyz(file, index)
    if file.suffix in SDF:
        return _sdf(file, index)
    return _by_ase(file, index, _known_format(file))


def _text(file: _File) -> str:
    return file.path.read_text(encoding="utf-8", errors="replace")


# -- by OpenMM --


def _cif(file: _File, index: int | None) -> FileStructure:
    text = _text(file)
    if re.search(r"^\s*_atom_site\.", text, re.MULTILINE):
        return _by_openmm(file, app.PDBxFile, index)
    if not re.search(r"^\s*_atom_site_", text, re.MULTILINE):
        raise DataError(
            f"{file.name}: cannot be read: holds neither `_atom_site.` (mmCIF) nor `_atom_site_` (CIF). {FORMATS}"
        )
    if not re.search(r"^\s*_cell_length_a\s", text, re.MULTILINE) and "_atom_site_fract" in text:
        raise DataError(
            f"{file.name}: gives places as fractions of a cell, and no cell (`_cell_length_a`, ...). Add it, or write "
            "places in Å as XYZ or PDB"
        )
    return FileStructure(_by_ase(file, index, "cif"), TotalCharge(None, UNKNOWN))


def _by_openmm(file: _File, reader: Any, index: int | None) -> FileStructure:
    if reader is app.PDBFile and not re.search(r"^(ATOM|HETATM)", _text(file), re.MULTILINE):
        raise DataError(f"{file.name}: cannot be read as {file.suffix}: it holds no ATOM or HETATM line. {FORMATS}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = reader(str(file.path))
            charge = charge_of_atoms(found.topology, file.path, file.name, is_pdb=reader is app.PDBFile)
            frame = found.getPositions(asNumpy=True, frame=index or 0)
    except DataError:
        raise
    except Exception as error:  # the parsers raise whatever they stumble over
        model = f"model {index} " if index else ""
        raise DataError(
            f"{file.name}: {model}cannot be read as {file.suffix} ({why_unreadable(file.path, error, index)})"
        ) from None
    if any("duplicate atom" in str(warning.message) for warning in caught):
        # OpenMM leaves out atoms of equal names in a residue; some programs write such.
        return FileStructure(_by_ase(file, index or 0, "proteindatabank"), charge)
    atoms = list(found.topology.atoms())
    unknown = [f"{atom.name} of residue {atom.residue.name}" for atom in atoms if atom.element is None]
    if unknown or not atoms:
        what = f"none for {', '.join(unknown[:3])}" if atoms else "no atoms at all"
        raise DataError(f"{file.name}: every atom needs an element (columns 77-78 of a PDB file); found {what}")
    structure = Atoms([atom.element.atomic_number for atom in atoms], np.array(frame.value_in_unit(unit.angstrom)))
    _warn_of_alternates(file)
    vectors = found.topology.getPeriodicBoxVectors()
    if vectors is not None:
        structure.set_cell(np.array(vectors.value_in_unit(unit.angstrom)))
        structure.pbc = True
    return FileStructure(structure, charge, found.topology)


def _warn_of_alternates(file: _File) -> None:
    """Says that OpenMM takes the first of several places of an atom (column 17 of a PDB file)."""
    if file.suffix not in PDB:
        return
    places: dict[str, set[str]] = {}
    with file.path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.startswith(("ATOM", "HETATM")) and line[16:17].strip():
                places.setdefault(line[12:16] + line[17:27], set()).add(line[16])
            if line.startswith("ENDMDL"):
                break
    several = [key for key, letters in places.items() if len(letters) > 1]
    if several:
        warnings.warn(
            f"{file.name}: {len(several)} atoms have alternate places, first {' '.join(several[0].split())}: the first "
            "place of each is taken. To choose others, leave only those in the file",
            stacklevel=6,
        )


# -- by ASE --


def _xyz(file: _File, index: int | None) -> Atoms:
    try:
        return _by_ase(file, index, "extxyz")
    except DataError as error:
        with suppress(OSError, UnicodeError):
            _explain(file, error)
        raise


def _explain(file: _File, error: DataError) -> None:
    """Raises an error that names the line, in the words of the reader of data sets, or that of ASE."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.xyz"
        copy.write_text(file.path.read_text(encoding="utf-8").rstrip() + "\n", encoding="utf-8")
        try:
            check_layout(copy, file.name, words=True)
        except DataError as fault:
            raise (error if READ_FORMATS in str(fault) else fault) from None


def _sdf(file: _File, index: int | None) -> Atoms:
    """Reads one of the molecules of an SDF file: ASE would take the first, whatever else there is."""
    text = _text(file)
    records = [record for record in re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE) if record.strip()]
    record = records[_place(len(records), index, file)]
    if "V3000" in record:
        raise DataError(f"{file.name}: is of version V3000; write it as V2000: `obabel {file.plain_name} -O out.sdf`")
    return _by_ase(file, None, "mol", StringIO(record))


def _of_many(file: _File, kind: str, index: int | None) -> Atoms:
    place = _place(count_frames(file.path, kind, file.name), index, file)
    return read_atoms(file.path, kind, file.name, place, 1)[0]


def _place(count: int, index: int | None, file: _File) -> int:
    wanted = -1 if index is None else index
    if not -count <= wanted < count:
        raise DataError(f"{file.name}: structure {wanted} cannot be read: the file holds {count}, counted from 0")
    return wanted % count


def _known_format(file: _File) -> str:
    try:
        found = str(filetype(str(file.path)))
    except (UnknownFileTypeError, OSError, ValueError):
        found = ""
    if found not in ioformats or not ioformats[found].can_read:
        raise DataError(f"{file.name}: is of no kind that is known by its name or first lines. {FORMATS}") from None
    if found in NO_ELEMENTS:
        raise DataError(
            f"{file.name}: ASE's format '{found}' has types instead of elements; write XYZ or PDB. {FORMATS}"
        )
    return found


def _by_ase(file: _File, index: int | None, kind: str, source: Any = None) -> Atoms:
    wanted = -1 if index is None else index
    try:
        with warnings.catch_warnings():  # of formats that state no units, versions, ...
            warnings.simplefilter("ignore")
            atoms: Any = ase.io.read(source or file.path, index=wanted, format=kind, do_not_split_by_at_sign=True)
    except Exception as error:  # every format has its own ways to fail
        why = why_unreadable(file.path, error, index)
        which = "structure -1 (the last)" if index is None else f"structure {index}"
        raise DataError(f"{file.name}: {which} cannot be read as '{kind}' ({why}). {FORMATS}") from None
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info)
