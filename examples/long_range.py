"""Declares a long-range block in one file, trains it on ions that act on each other by Coulomb's law, and runs it."""

import argparse
from pathlib import Path
from typing import Literal

import numpy as np
import openmm
import torch
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.io import write
from openmmml import MLPotential

import lorem_openmm
from lorem_openmm import cli
from lorem_openmm.config import Model
from lorem_openmm.config.long_range import LongRange
from lorem_openmm.nn.blocks import LongRangeBlock, long_range_block
from lorem_openmm.units import COULOMB_EV_ANGSTROM


class ElementCharges(LongRange):
    """The section of the configuration: its `kind`, and what else the block needs."""

    kind: Literal["element_charges"] = "element_charges"
    start: dict[str, float]  # charges in e of the elements before training


@long_range_block(ElementCharges)
class ElementChargesBlock(LongRangeBlock):
    """q_i = a_Z, E_i = k q_i V_i: the sum over atoms is Coulomb's energy."""

    def __init__(self, hyperparameters: Model):
        super().__init__(1)  # charges per atom
        self.constant = COULOMB_EV_ANGSTROM
        charges = torch.zeros(100)
        for symbol, charge in hyperparameters.long_range_block.start.items():
            charges[atomic_numbers[symbol]] = charge
        self.of_element = torch.nn.Parameter(charges)

    def charges(self, x: torch.Tensor, spherical: torch.Tensor, atomic_numbers: torch.Tensor) -> torch.Tensor:
        """Returns the charges [n_atoms, 1]; scalar and spherical features are there for those who need them."""
        return self.of_element[atomic_numbers].unsqueeze(1)

    def receive(
        self,
        x: torch.Tensor,
        spherical: torch.Tensor,
        charges: torch.Tensor,
        potentials: torch.Tensor,
        atomic_numbers: torch.Tensor,
    ) -> torch.Tensor:
        """Returns the energies [n_atoms] of charges [n_atoms, 1] in potentials [n_atoms, 1], ½ Σ_j q_j / r_ij."""
        return self.constant * charges[:, 0] * potentials[:, 0]


def made_data(path, count):
    """Writes pairs of Na+ and Cl- at 2.5 to 12 Å, with -k/r and a repulsion within the cutoff."""
    random, frames = np.random.default_rng(0), []
    for separation in random.uniform(2.5, 12.0, count):
        direction = random.normal(size=3)
        direction /= np.linalg.norm(direction)
        repulsion = 2000.0 * np.exp(-separation / 0.3)
        pull = -COULOMB_EV_ANGSTROM / separation
        slope = -pull / separation - repulsion / 0.3
        atoms = Atoms("NaCl", [np.zeros(3), separation * direction])
        forces = np.array([slope * direction, -slope * direction])
        atoms.calc = SinglePointCalculator(atoms, energy=pull + repulsion, forces=forces)
        frames.append(atoms)
    write(path, frames, format="extxyz")


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30, help="of the training")
    parser.add_argument("--output", type=Path, default=Path("long_range"), help="folder for everything that is made")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    made_data(options.output / "ions.xyz", 200)
    size = {"cutoff": 4.0, "max_degree": 1, "num_features": 8, "num_radial": 8, "num_spherical_features": 2}
    chosen = {"kind": "element_charges", "start": {"Na": 0.5, "Cl": -0.5}}
    schedule = {"epochs": options.epochs, "batch_size": 10, "learning_rate": 2e-2, "constant_epochs": 10}
    settings = {
        "output": str(options.output),
        "datasets": {"ions": {"structures": str(options.output / "ions.xyz")}},
        "models": {"own": size | {"max_charge_degree": 1, "long_range": chosen}},
        "training": {"quick": schedule | {"energy_weight": 5.0}},
        "runs": {"ions": {"datasets": ["ions"], "model": "own", "training": "quick"}},
    }
    configuration = options.output / "ions.yaml"
    configuration.write_text(yaml.safe_dump(settings))
    # The commands of `lorem-openmm`, in a process that knows the block.
    for command in ("prepare", "train", "export"):
        if failed := cli.main([command, "ions", "--config", str(configuration)]):
            raise SystemExit(failed)

    model = options.output / "models" / "ions.safetensors"
    learnt = lorem_openmm.load(model).model.long_range.of_element.detach()
    print(f"charges: sodium {learnt[11]:.3f} e, chlorine {learnt[17]:.3f} e")
    for separation in (6.0, 9.0, 15.0):
        atoms = Atoms("NaCl", [[0, 0, 0], [separation, 0, 0]], calculator=lorem_openmm.LoremCalculator(model))
        expected = COULOMB_EV_ANGSTROM / separation**2
        print(f"force at {separation:4.1f} A: {atoms.get_forces()[0, 0]:.4f} eV/A, Coulomb's law {expected:.4f} eV/A")

    write(options.output / "start.xyz", Atoms("NaCl", [[0, 0, 0], [3.0, 0, 0]]))
    start = lorem_openmm.read_structure(str(options.output / "start.xyz"))
    system = MLPotential("lorem", modelPath=str(model)).createSystem(start.topology)
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), openmm.Platform.getPlatform("Reference"))
    context.setPositions(start.openmm_positions)
    context.getIntegrator().step(20)
    print("OpenMM after 20 steps:", context.getState(energy=True).getPotentialEnergy())


if __name__ == "__main__":
    main()
