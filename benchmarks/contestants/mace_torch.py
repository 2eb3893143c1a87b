"""MACE with random weights through its ASE calculator: 128 channels, L = 1, two layers, as its medium models.

Runs in an environment with mace-torch (make mace-env).
"""

import argparse
from typing import Any

import numpy as np
import torch
from ase import Atoms
from protocol import serve, through_ase

# e3nn 0.4.4, which mace-torch pins, keeps a slice in its table of constants; PyTorch ≥ 2.6 asks before it reads one.
torch.serialization.add_safe_globals([slice])

from e3nn import o3  # noqa: E402
from mace import modules  # noqa: E402
from mace.calculators import MACECalculator  # noqa: E402


def make(atoms: Atoms, options: argparse.Namespace) -> Any:
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    numbers = sorted({int(number) for number in atoms.numbers})
    model = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps("128x0e + 128x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=30.0,
        atomic_numbers=numbers,
        correlation=3,
        radial_MLP=[64, 64, 64],
        radial_type="bessel",
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    atoms.calc = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    return through_ase(atoms)


if __name__ == "__main__":
    serve(make)
