"""Errors summed up batch by batch, as a whole or by group, in float64."""

import math

import torch

from lorem_openmm.training.electric_losses import ElectricResiduals
from lorem_openmm.training.losses import Residuals
from lorem_openmm.units import MEV_PER_EV

QUANTITIES = ("energy", "forces", "stress", "dipole", "born_charges")
UNITS = {
    "energy": "meV/atom",
    "forces": "meV/Å",
    "stress": "meV/Å^3",
    "dipole": "10^-3 e Å",
    "born_charges": "10^-3 e",
}


class ErrorSums:
    """n, Σ|e|, Σe², Σy, Σy² of errors e and labels y, for each of several groups.

    Args:
        n_groups: Number of groups.
        device: Where the errors will be.

    Attributes:
        sums: [n_groups, 5] float64.
    """

    def __init__(self, n_groups: int = 1, device: str | torch.device = "cpu") -> None:
        self.sums = torch.zeros(n_groups, 5, dtype=torch.float64, device=device)

    def update(self, error: torch.Tensor, label: torch.Tensor, group: torch.Tensor | None = None) -> None:
        """Adds rows of errors.

        Args:
            error: [n, ...] prediction minus label.
            label: [n, ...].
            group: [n] group of each row, negative: left out; default: all rows in group 0.
        """
        e = error.detach().double().flatten(1) if error.dim() > 1 else error.detach().double().unsqueeze(1)
        y = label.double().reshape(e.shape)
        if group is None:
            count = torch.full_like(self.sums[0, 0], e.numel())
            self.sums[0] += torch.stack([count, e.abs().sum(), e.square().sum(), y.sum(), y.square().sum()])
            return
        rows = [e.new_full((e.shape[0],), e.shape[1]), e.abs().sum(1), e.square().sum(1), y.sum(1), y.square().sum(1)]
        inside = group >= 0
        self.sums.index_add_(0, group[inside], torch.stack(rows, dim=1)[inside])

    def summary(self, group: int = 0) -> dict[str, float]:
        """Returns n, RMSE = √(Σe²/n), MAE = Σ|e|/n and R² = 1 − Σe² / Σ(y − ȳ)² of a group.

        Values are in the unit of the errors; NaN where there is nothing to average, or no spread for R².

        Args:
            group: Index of the group.
        """
        n, absolute, square, first, second = self.sums[group].tolist()
        if n == 0:
            return {"n": 0, "rmse": math.nan, "mae": math.nan, "r2": math.nan}
        spread = second - first * first / n
        r2 = 1 - square / spread if spread > 1e-12 * second else math.nan
        return {"n": int(n), "rmse": math.sqrt(square / n), "mae": absolute / n, "r2": r2}


class Metrics:
    """Errors of energies per atom and of the components of all else, by group of structures.

    Args:
        n_groups: Number of groups of structures.
        device: Where the predictions will be.
    """

    def __init__(self, n_groups: int = 1, device: str | torch.device = "cpu") -> None:
        self.errors = {name: ErrorSums(n_groups, device) for name in QUANTITIES}

    def update(
        self, difference: Residuals, group: torch.Tensor | None = None, system_index: torch.Tensor | None = None
    ) -> None:
        """Adds a batch.

        Args:
            difference: predictions minus labels, and labels.
            group: [n_systems] group of each structure, negative: left out; default: all in one.
            system_index: [n_atoms] structure of each atom, needed with ``group``.
        """
        atom_group = None if group is None or system_index is None else group[system_index]
        self.errors["energy"].update(difference.energy, difference.energy_label, group)
        self.errors["forces"].update(difference.forces, difference.forces_label, atom_group)
        if difference.stress.shape[0] > 0:
            stress_group = None if group is None else group[difference.stress_systems]
            self.errors["stress"].update(difference.stress, difference.stress_label, stress_group)

    def update_electric(self, difference: ElectricResiduals) -> None:
        """Adds dipoles and Born effective charges of a batch, all in group 0.

        Args:
            difference: predictions minus labels, and labels.
        """
        if difference.dipole.shape[0] > 0:
            self.errors["dipole"].update(difference.dipole, difference.dipole_label)
        if difference.born_charges.shape[0] > 0:
            self.errors["born_charges"].update(difference.born_charges, difference.born_charges_label)

    def summary(self, group: int = 0) -> dict[str, float]:
        """Returns ``{quantity}_{rmse,mae,r2}`` in thousandths: meV/atom, …; energy and forces, others where labelled.

        Args:
            group: Index of the group.
        """
        result = {}
        for name, errors in self.errors.items():
            values = errors.summary(group)
            if name not in ("energy", "forces") and values["n"] == 0:
                continue
            result[f"{name}_rmse"] = values["rmse"] * MEV_PER_EV
            result[f"{name}_mae"] = values["mae"] * MEV_PER_EV
            result[f"{name}_r2"] = values["r2"]
        return result
