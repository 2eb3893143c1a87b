"""Molecules from SMILES, through RDKit (extra ``smiles``): a conformer of each, with bonds and formal charges."""

from typing import Any

import numpy as np
from openmm import app

from lorem_openmm.errors import ConfigError
from lorem_openmm.extras import import_optional
from lorem_openmm.simulate.start import Start, molecules_of

GAP = 5.0  # Å along x between the nearest atoms of neighbouring molecules: farther than any bond
MAX_ITERATIONS = 2000  # of the relaxation; small molecules need tens
WATER = "O"


def molecules_from_smiles(smiles: str, seed: int = 0) -> Start:
    """Builds the molecules of a SMILES; those that a dot separates are placed side by side along x.

    The topology has one residue per molecule, with bonds, bond orders and formal charges, whose sum is the charge.
    Hydrogens are added, a conformer is drawn by distance geometry and relaxed with MMFF94, or with UFF where MMFF94
    lacks parameters; where both do, it stays as drawn. The same text and seed give the same positions with the same
    version of RDKit.

    Args:
        smiles: SMILES, for example ``CC(=O)[O-].C[NH3+]``.
        seed: Seed of the conformers.

    Raises:
        ConfigError: If RDKit cannot read it, it has atoms of no element, or no conformer is found.
        InstallationError: If RDKit is not installed.
    """
    chem = _rdkit("Chem")
    whole = _parse(smiles)
    topology, chain, names = app.Topology(), None, dict[str, str]()
    pieces: list[np.ndarray] = []
    edge = 0.0
    for piece in chem.GetMolFrags(whole, asMols=True):
        chain = chain or topology.addChain()
        residue = topology.addResidue(_residue_name(piece, names), chain)
        positions = _conformer(piece, smiles, seed)
        positions -= positions.mean(axis=0)
        if pieces:
            positions[:, 0] += edge + GAP - positions[:, 0].min()
        edge = positions[:, 0].max()
        pieces.append(positions)
        _add_atoms(topology, residue, piece)
    charge, source = int(chem.GetFormalCharge(whole)), "formal charges of the SMILES"
    return Start(topology, np.concatenate(pieces), molecules_of(topology), charge, source)


def _rdkit(part: str) -> Any:
    """Returns a module of RDKit."""
    return import_optional(f"rdkit.{part}", "start: `smiles:`", "smiles")


def _parse(smiles: str) -> Any:
    """Returns RDKit's molecule with explicit hydrogens."""
    chem = _rdkit("Chem")
    with _rdkit("rdBase").BlockLogs():  # what it would write to the terminal is in the error
        molecule = chem.MolFromSmiles(smiles)
        rough = chem.MolFromSmiles(smiles, sanitize=False) if molecule is None else None
        problems = [] if rough is None else [problem.Message() for problem in chem.DetectChemistryProblems(rough)]
    if molecule is None:
        reason = "; ".join(problems) or "its syntax is wrong"
        raise ConfigError(
            f"start: `smiles:` must be followed by a SMILES that RDKit reads; received `{smiles}`: {reason}"
        )
    if molecule.GetNumAtoms() == 0:
        raise ConfigError("start: `smiles:` must be followed by a SMILES such as `smiles:CCO`; received an empty one")
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise ConfigError(f"start: every atom of a SMILES must be an element; received `*` in `{smiles}`")
    return chem.AddHs(molecule)


def _conformer(piece: Any, smiles: str, seed: int) -> np.ndarray:
    """Returns relaxed positions [n_atoms, 3] in Å."""
    chem, all_chem = _rdkit("Chem"), _rdkit("Chem.AllChem")
    with _rdkit("rdBase").BlockLogs():
        settings = all_chem.ETKDGv3()
        settings.randomSeed = seed % 2**31
        found = all_chem.EmbedMolecule(piece, settings)
        if found < 0:  # large and caged molecules are found from random coordinates only
            settings.useRandomCoords = True
            found = all_chem.EmbedMolecule(piece, settings)
        if found < 0:
            raise ConfigError(
                f"start: RDKit finds no three-dimensional structure for `{chem.MolToSmiles(chem.RemoveHs(piece))}` of "
                f"`smiles:{smiles}`; check its stereochemistry and rings, or give a file with the structure"
            )
        if all_chem.MMFFHasAllMoleculeParams(piece):
            all_chem.MMFFOptimizeMolecule(piece, maxIters=MAX_ITERATIONS)
        elif all_chem.UFFHasAllMoleculeParams(piece):
            all_chem.UFFOptimizeMolecule(piece, maxIters=MAX_ITERATIONS)
    return np.array(piece.GetConformer().GetPositions(), dtype=float)


def _residue_name(piece: Any, names: dict[str, str]) -> str:
    """Returns HOH, the element of an ion, or MOL; further kinds of molecules are MO2, MO3, ..."""
    chem = _rdkit("Chem")
    canonical = chem.MolToSmiles(chem.RemoveHs(piece))
    if canonical == WATER:
        return "HOH"
    if piece.GetNumAtoms() == 1:
        return str(piece.GetAtomWithIdx(0).GetSymbol()).upper()
    if canonical not in names:
        names[canonical] = f"MO{len(names) + 1}" if names else "MOL"
    return names[canonical]


def _add_atoms(topology: app.Topology, residue: Any, piece: Any) -> None:
    """Adds atoms named element and number, and their bonds."""
    counts: dict[str, int] = {}
    atoms = []
    for atom in piece.GetAtoms():
        symbol = atom.GetSymbol()
        counts[symbol] = counts.get(symbol, 0) + 1
        name = symbol if symbol == "O" and residue.name == "HOH" else f"{symbol}{counts[symbol]}"
        element = app.Element.getBySymbol(symbol)
        atoms.append(topology.addAtom(name, element, residue, formalCharge=atom.GetFormalCharge()))
    for bond in piece.GetBonds():
        order = {"SINGLE": app.Single, "DOUBLE": app.Double, "TRIPLE": app.Triple, "AROMATIC": app.Aromatic}.get(
            str(bond.GetBondType())
        )
        integer = None if order in (None, app.Aromatic) else round(bond.GetBondTypeAsDouble())
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()], order, integer)
