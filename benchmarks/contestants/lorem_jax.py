"""The authors' code through its ASE calculator, skin on; its own random weights of the default model.

Runs in the lorem-jax environment (make parity-env).
"""

import argparse
from typing import Any

from ase import Atoms
from lorem import Lorem
from lorem.calculator import Calculator
from protocol import serve, through_ase


def make(atoms: Atoms, options: argparse.Namespace) -> Any:
    atoms.calc = Calculator.from_model(Lorem())
    return through_ase(atoms)


if __name__ == "__main__":
    serve(make)
