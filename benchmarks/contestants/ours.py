"""This package: the bare call, the ASE calculator, and steps of OpenMM; random weights of the default model."""

import argparse
from typing import Any

import openmm
import torch
from ase import Atoms
from protocol import serve, through_ase
from simulation import context_of

from lorem_openmm.config import Model
from lorem_openmm.inference.dynamics import Dynamics, scripted_calls
from lorem_openmm.integrations.ase_calculator import LoremCalculator
from lorem_openmm.model import Lorem
from lorem_openmm.potential import Potential


def make(atoms: Atoms, options: argparse.Namespace) -> Any:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    baseline = {int(number): 0.0 for number in set(atoms.numbers)}
    potential = Potential(Lorem(Model()), baseline).float().requires_grad_(False)
    return {"model": model, "ase": ase, "openmm": openmm_step}[options.through](atoms, potential, options)


def model(atoms: Atoms, potential: Potential, options: argparse.Namespace) -> Any:
    module = torch.jit.script(Dynamics(potential, atoms.numbers.tolist(), bool(atoms.pbc.all())))
    cell = torch.tensor(atoms.cell[:])

    def call(positions: torch.Tensor) -> None:
        with scripted_calls(len(atoms)):
            module(positions, cell)

    return torch.from_numpy, call


def ase(atoms: Atoms, potential: Potential, options: argparse.Namespace) -> Any:
    atoms.calc = LoremCalculator(potential, compile=bool(options.compile))
    return through_ase(atoms)


def openmm_step(atoms: Atoms, potential: Potential, options: argparse.Namespace) -> Any:
    integrator = openmm.VerletIntegrator(1e-6)  # ps; the motion is that of the benchmark, not of random weights
    context = context_of(atoms, potential, options.implementation, integrator, compiled=bool(options.compile))
    return lambda positions: context.setPositions(positions / 10), lambda _: integrator.step(1)


if __name__ == "__main__":
    serve(make, through="model", implementation="pythonforce", compile="")
