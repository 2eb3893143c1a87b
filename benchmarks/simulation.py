"""OpenMM Contexts of the structures, made as a user makes them."""

from collections.abc import Iterable
from typing import Any

import openmm
import openmm.app
from ase import Atoms
from openmmml import MLPotential


def context_of(
    atoms: Atoms,
    potential: Any,
    implementation: str,
    integrator: openmm.Integrator,
    others: Iterable[openmm.Force] = (),
    compiled: bool = False,
) -> openmm.Context:
    """Returns a Context on the CPU platform with one potential and nothing else.

    Args:
        atoms: positions, elements and, if periodic, the box.
        potential: model file or potential; None: the model that ships with the package.
        implementation: ``pythonforce`` or ``torchforce``.
        integrator: of the Context.
        others: further forces.
        compiled: whether to compile small molecules.
    """
    topology = openmm.app.Topology()
    residue = topology.addResidue("X", topology.addChain())
    for symbol in atoms.get_chemical_symbols():
        topology.addAtom(symbol, openmm.app.Element.getBySymbol(symbol), residue)
    if atoms.pbc.all():
        topology.setPeriodicBoxVectors(atoms.cell[:] / 10 * openmm.unit.nanometer)
    ml = MLPotential("lorem", modelPath=potential)
    system = ml.createSystem(topology, implementation=implementation, device="cpu", compile=compiled)
    for force in others:
        system.addForce(force)
    # OpenMM's own threads have nothing to do here but to get in the way of PyTorch's.
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(atoms.positions / 10)
    return context
