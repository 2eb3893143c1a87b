"""The potential between OpenMM's units and its own: the module that both kinds of force run."""

from typing import ClassVar

import torch

from lorem_openmm.inference.finite import check_geometry, check_volume
from lorem_openmm.potential import Prediction
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_NM_PER_EV_ANGSTROM, KJ_PER_MOL_PER_EV


class ForceModule(torch.nn.Module):
    """Scriptable: positions and box vectors in nm to energy in kJ/mol and forces in kJ/mol/nm.

    Args:
        dynamics: dynamics of the atoms the model sees.
        atoms: indices of the atoms the model sees among the positions; None: all, in order.
        gather: for a model run in vacuum within a periodic box: takes of each atom the image next to the first one.
        settings: a text kept with the module, from which the force can be made again.
        unguarded: whether nothing leaves autocast and inference mode before the module is called.
    """

    __constants__: ClassVar[list[str]] = ["unguarded"]
    atoms: torch.Tensor

    def __init__(
        self,
        dynamics: torch.nn.Module,
        atoms: list[int] | None = None,
        gather: bool = False,
        settings: str = "",
        unguarded: bool = False,
    ):
        super().__init__()
        self.dynamics = dynamics
        self.subset = atoms is not None
        self.gather = gather
        self.settings = settings
        self.unguarded = unguarded
        self.register_buffer("atoms", torch.tensor(atoms or [], dtype=torch.long), persistent=False)
        self.length_unit = ANGSTROM_PER_NANOMETER
        self.energy_unit = KJ_PER_MOL_PER_EV
        self.force_unit = KJ_PER_MOL_NM_PER_EV_ANGSTROM

    def forward(self, positions: torch.Tensor, box: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the energy [] in kJ/mol and the forces [n_particles, 3] in kJ/mol/nm, both in float64.

        Args:
            positions: [n_particles, 3] nm.
            box: [3, 3] nm, rows are the vectors; not used in vacuum.

        Raises:
            RuntimeError: If positions, box or results are not finite, the box has no volume, or the atoms to gather are
                too far apart.
        """
        if self.unguarded:
            refuse_ambient(positions)
        prediction = self.predict(positions, box)
        energy = prediction.energy.sum() * self.energy_unit
        forces = (prediction.forces.double() * self.force_unit).to(positions.device)
        if self.subset:
            everyone = torch.zeros_like(positions.detach(), dtype=torch.float64)
            forces = everyone.index_copy(0, self.atoms.to(positions.device), forces)
        return energy.to(positions.device), forces

    @torch.jit.export
    def predict(self, positions: torch.Tensor, box: torch.Tensor | None = None) -> Prediction:
        """Returns the prediction for the atoms that the model sees, in Å and eV; arguments and errors as above."""
        seen = positions.detach().double()  # TorchForce passes positions that require grad
        if self.subset:
            seen = seen.index_select(0, self.atoms.to(positions.device))
        cell = torch.zeros(3, 3, dtype=torch.float64, device=positions.device)
        if box is not None:
            cell = box.detach().double()
            if self.gather:
                seen = gather_images(seen, cell)
        return self.dynamics(seen * self.length_unit, cell * self.length_unit)


def refuse_ambient(positions: torch.Tensor) -> None:
    """Refuses to run in autocast or inference mode, which code called without Python cannot leave.

    Raises:
        RuntimeError: saying so.
    """
    row = positions[:1].detach().float()
    # Asking whether autocast is on ends the process, where TorchScript rewrites the graph for autocast.
    if torch.mm(row, row.t()).dtype != torch.float32 or positions.is_inference():
        raise RuntimeError(
            "TorchForce: steps must be outside torch.autocast and torch.inference_mode, which a TorchForce cannot "
            "leave by itself; or use implementation='pythonforce', which can."
        )


def gather_images(positions: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """r_i − h·round(h⁻¹ (r_i − r_0)): of each atom the image next to the first atom [n, 3].

    Atoms that span less than half of the box along each vector have one such arrangement only, whichever image each is
    given in, and whichever is the first.

    Args:
        positions: [n, 3].
        cell: [3, 3], rows are the vectors.

    Raises:
        RuntimeError: If positions or cell are not finite, the cell has no volume, or the atoms span half of the box or
            more, so that what is next to what is ambiguous.
    """
    check_geometry(positions, cell, True)
    check_volume(cell)
    steps = torch.mm(positions - positions[:1], torch.linalg.inv(cell))
    boxes = torch.round(steps)
    inside = steps - boxes
    span = (inside.max(dim=0)[0] - inside.min(dim=0)[0]).max()
    if bool(span >= 0.5):
        raise RuntimeError(
            "boundary='vacuum': the atoms of the model must span less than half of the box along each of its vectors, "
            "because within a periodic box they are put together by nearest images; received a larger span. Use a "
            "larger box, hold the molecules together with a restraint, or a model trained on periodic structures."
        )
    return positions - torch.mm(boxes, cell)
