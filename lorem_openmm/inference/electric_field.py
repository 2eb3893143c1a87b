"""A uniform electric field on the explicit charges of a structure in vacuum."""

from typing import List, Sequence, Tuple

import ase.data
import torch

from lorem_openmm.inference.neighbors import RowBlock, join


class UniformField(torch.nn.Module):
    """E = −μ·F, μ = Σ_i q_i (r_i − R) about the centre of mass R, so that ions do not drift in the field.

    Args:
        electric_field: F [3] in V/Å.
        species: atomic numbers in the order of the rows.
    """

    electric_field: torch.Tensor
    masses: torch.Tensor

    def __init__(self, electric_field: List[float], species: Sequence[int]):
        super().__init__()
        masses = torch.from_numpy(ase.data.atomic_masses)[list(species)]
        self.register_buffer("electric_field", torch.tensor(electric_field, dtype=torch.float64), persistent=False)
        self.register_buffer("masses", masses, persistent=False)

    def forward(
        self, charges: torch.Tensor, positions: torch.Tensor, row_blocks: List[RowBlock]
    ) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the energies of the atoms [n_atoms] in eV, and the derivatives of their sum by charges and positions.

        Args:
            charges: [n_atoms, n_channels], the first one q in e.
            positions: [n_atoms, 3] Å by row.
            row_blocks: all rows.
        """
        field = self.electric_field.to(charges)
        masses = self.masses.index_select(0, join([rows.species for rows in row_blocks]))
        shares = (masses / masses.sum()).to(charges).unsqueeze(1)
        voltages = torch.mv(positions - (shares * positions).sum(dim=0), field)
        q = charges[:, :1]
        by_charges = torch.zeros_like(charges)
        by_charges[:, 0] = -voltages
        return -q.squeeze(1) * voltages, by_charges, (q.sum() * shares - q) * field
