"""Topologies and positions from what people have: what is read is printed and written as PDB."""

import argparse
from pathlib import Path

from openmm import app

import lorem_openmm

MOLECULE = Path(__file__).with_name("n_methylacetamide.pdb")
DEFAULTS = ["smiles:CC(=O)[O-].O", "sn2:Cl,Br,3.2", "dimer:acetate,methylammonium,4.0", str(MOLECULE)]


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("structures", nargs="*", default=DEFAULTS, help="files, `smiles:...`, `sn2:...`, `dimer:...`")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the conformer of a SMILES and the orientation of a dimer"
    )
    options = parser.parse_args()

    for number, structure in enumerate(options.structures):
        start = lorem_openmm.read_structure(structure, options.seed)
        print(f"{Path(structure).name}: {start.describe()}")
        for residue in start.topology.residues():
            print(f"  {residue.name}: {' '.join(atom.name for atom in residue.atoms())}")
        print(f"  bonds: {start.topology.getNumBonds()}")
        with open(f"structure-{number}.pdb", "w") as stream:
            app.PDBFile.writeFile(start.topology, start.openmm_positions, stream)


if __name__ == "__main__":
    main()
