"""The dynamics form of a model for any structure: what a ``.pt`` file holds, for programs without this package."""

import math

import torch

from lorem_openmm.ambient import building
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.potential import Potential, Prediction


class StandaloneModel(torch.nn.Module):
    """E, F and σ of any structure, as :class:`~lorem_openmm.inference.dynamics.Dynamics` computes them.

    Atoms and neighbour lists are kept from call to call, as long as the atoms are the same.

    Args:
        potential: in the precision and on the device it is to run in.
    """

    numbers: torch.Tensor

    @building()
    def __init__(self, potential: Potential):
        super().__init__()
        some = potential.species[:1]
        self.vacuum = Dynamics(potential, some, False, any_atoms=True)
        self.box = Dynamics(potential, some, True, any_atoms=True)
        self.register_buffer("numbers", torch.tensor(some), persistent=False)

    def forward(
        self,
        positions: torch.Tensor,
        atomic_numbers: torch.Tensor,
        cell: torch.Tensor,
        periodic: bool,
        compute_stress: bool = False,
        total_charge: float = math.nan,
    ) -> Prediction:
        """Computes energy, forces and charges.

        Args:
            positions: [n_atoms, 3] Å.
            atomic_numbers: [n_atoms] integers.
            cell: [3, 3] Å, rows are the vectors; ignored in vacuum.
            periodic: in all three directions, or in vacuum.
            compute_stress: whether to compute the stress of a periodic structure.
            total_charge: of the atoms in e, for models that use it; NaN: not stated.

        Returns:
            A prediction of one system, atoms in the order of the caller.

        Raises:
            RuntimeError: If the model does not know an element, positions, cell or results are not finite, the cell has
                no volume, there are other positions than atomic numbers, or the model uses the total charge and there
                is none.
        """
        if not torch.equal(self.numbers, atomic_numbers.to(self.numbers)):
            self.vacuum.set_atoms(atomic_numbers)
            self.box.set_atoms(atomic_numbers)
            self.numbers = atomic_numbers.to(self.numbers).clone()
        self.vacuum.set_total_charge(total_charge)
        self.box.set_total_charge(total_charge)
        if periodic:
            return self.box(positions, cell, compute_stress)
        return self.vacuum(positions, cell, compute_stress)
