"""The potential as an OpenMM force, through TorchForce (TorchScript, no Python per step) or PythonForce.

Both run one scripted module, so that they give the same numbers. PythonForce serialises with its System, by path and
hash of the model file; TorchForce does not: openmmtorch 1.5 is compiled against an OpenMM whose ``SerializationNode``
had another binary interface than OpenMM ≥ 8.5.2, and ``XmlSerializer.deserialize`` (also ``copy.deepcopy``) of a
System with any TorchForce ends the process with a segmentation fault.
"""

import threading
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch

from lorem_openmm.errors import InstallationError
from lorem_openmm.inference.compiled import CompiledDynamics
from lorem_openmm.inference.dynamics import Dynamics, scripted_calls
from lorem_openmm.integrations.model_source import ModelSource
from lorem_openmm.potential import Potential
from lorem_openmm.units import ANGSTROM_PER_NANOMETER, KJ_PER_MOL_NM_PER_EV_ANGSTROM, KJ_PER_MOL_PER_EV

# Simulations resume bit-for-bit from checkpoints at multiples of this many steps, see PotentialFunction.
STEPS_PER_LIST = 100


class ForceModule(torch.nn.Module):
    """Scriptable: positions and box vectors in nm to energy in kJ/mol and forces in kJ/mol/nm.

    Args:
        dynamics: of the atoms the model sees.
        atoms: indices of the atoms the model sees among the positions; None: all, in order.
    """

    atoms: torch.Tensor

    def __init__(self, dynamics: torch.nn.Module, atoms: list[int] | None = None):
        super().__init__()
        self.dynamics = dynamics
        self.subset = atoms is not None
        self.register_buffer("atoms", torch.tensor(atoms or [], dtype=torch.long), persistent=False)
        self.length_unit = ANGSTROM_PER_NANOMETER
        self.energy_unit = KJ_PER_MOL_PER_EV
        self.force_unit = KJ_PER_MOL_NM_PER_EV_ANGSTROM

    def forward(self, positions: torch.Tensor, box: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the energy [] in kJ/mol and the forces [n_particles, 3] in kJ/mol/nm, both in float64.

        Args:
            positions: [n_particles, 3] nm.
            box: [3, 3] nm, rows are the vectors; not used in vacuum.
        """
        everyone = positions.detach().double()  # TorchForce passes positions that require grad
        seen = everyone
        if self.subset:
            seen = everyone.index_select(0, self.atoms.to(everyone.device))
        cell = torch.zeros(3, 3, dtype=torch.float64, device=positions.device)
        if box is not None:
            cell = box.detach().double()
        prediction = self.dynamics(seen * self.length_unit, cell * self.length_unit)
        energy = prediction.energy.sum() * self.energy_unit
        forces = (prediction.forces.double() * self.force_unit).to(positions.device)
        if self.subset:
            forces = torch.zeros_like(everyone).index_copy(0, self.atoms.to(everyone.device), forces)
        return energy.to(positions.device), forces


class PotentialFunction:
    """The callable of a PythonForce: State in, energy in kJ/mol and forces [n_atoms, 3] in kJ/mol/nm out.

    Pickles to the source of the model and the options, a few hundred bytes; the model is loaded at the first call
    (not when unpickled: OpenMM crashes when unpickling raises, also where this package is not installed). Contexts
    of one System share the callable, its lists included; calls from several threads wait for each other.

    The last digits of energies depend on when the list was made. It is made anew at every hundredth step, and where
    the steps do not go on from the last call (another Context, a state that was loaded), so that simulations resume
    bit-for-bit from checkpoints at those steps.

    Args:
        source: where the model is.
        atomic_numbers: of the atoms the force applies to, in order.
        periodic: in all three directions, or in vacuum.
        precision: ``single`` or ``double``.
        device: where the model runs.
        skin: Å, of the neighbour lists.
        compiled: whether to compile the model to native code, see :mod:`lorem_openmm.inference.compiled`.
    """

    def __init__(
        self,
        source: ModelSource,
        atomic_numbers: list[int],
        periodic: bool,
        precision: str,
        device: str,
        skin: float,
        compiled: bool = False,
    ):
        options = {
            "source": source,
            "atomic_numbers": atomic_numbers,
            "periodic": periodic,
            "precision": precision,
            "device": device,
            "skin": skin,
            "compiled": compiled,
        }
        self.__setstate__(options)

    def __getstate__(self) -> dict[str, Any]:
        return self.options

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.options = state
        self._original: Potential | None = state["source"].in_memory()  # held as long as the force, for its copies
        self._potential: Potential | None = None
        self._module: Any = None
        self._step = -1  # of the last call
        self._lock = threading.Lock()  # the lists change in a call, and PyTorch releases Python's own lock

    @property
    def rebuilds(self) -> int:
        """Number of times the neighbour list was made."""
        return 0 if self._module is None else self._module.dynamics.lists.rebuilds

    def load(self) -> None:
        """Loads the model, which the first call does otherwise.

        Raises:
            ModelFileError: If the model file is missing, damaged, or another one than when the force was made.
        """
        dynamics = self.dynamics()
        if self.options["compiled"]:
            self._module = ForceModule(CompiledDynamics(dynamics)).to(self.options["device"])
        else:
            self._module = torch.jit.script(ForceModule(dynamics).to(self.options["device"]))

    def dynamics(self) -> Dynamics:
        """Returns the model for these atoms, not scripted; errors as in :meth:`load`."""
        o = self.options
        self._potential = o["source"].load(o["precision"], o["device"])  # held so that other forces can share it
        return Dynamics(self._potential, o["atomic_numbers"], o["periodic"], o["skin"])

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Computes the energy and the forces of a state."""
        with self._lock:
            if self._module is None:
                self.load()
        positions = torch.from_numpy(state.getPositions(asNumpy=True)._value)
        box = None
        if self.options["periodic"]:
            box = torch.from_numpy(state.getPeriodicBoxVectors(asNumpy=True)._value)
        with self._lock, scripted_calls(len(self.options["atomic_numbers"])):
            self._renew_list(state.getStepCount())
            energy, forces = self._module(positions, box)
        return float(energy), forces.numpy()

    def _renew_list(self, step: int) -> None:
        lists = self._module.dynamics.lists
        begins = step % STEPS_PER_LIST == 0 and step != self._step
        if (begins or step not in (self._step, self._step + 1)) and not lists.all_pairs:
            lists.forget()
        self._step = step


def add_python_force(
    system: openmm.System, function: PotentialFunction, atoms: list[int] | None, force_group: int
) -> openmm.PythonForce:
    """Adds the potential to a system as a PythonForce and returns the force.

    Args:
        system: to add to.
        function: the potential of the atoms.
        atoms: indices of the particles it applies to; None: all.
        force_group: of the new force.
    """
    force = openmm.PythonForce(function)
    force.setName("LOREM")
    force.setForceGroup(force_group)
    force.setUsesPeriodicBoundaryConditions(function.options["periodic"])
    if atoms is not None:
        force.setParticles(atoms)
    system.addForce(force)
    return force


def add_torch_force(
    system: openmm.System, function: PotentialFunction, atoms: list[int] | None, force_group: int
) -> openmm.Force:
    """Adds the potential to a system as a TorchForce and returns the force.

    On the CUDA platform the model runs on the platform's GPU, on others on the device given.

    Args:
        system: to add to.
        function: the potential of the atoms.
        atoms: indices of the particles it applies to; None: all.
        force_group: of the new force.

    Raises:
        InstallationError: If openmmtorch is missing or does not match PyTorch.
    """
    check_torchforce()
    import openmmtorch  # noqa: PLC0415 (optional; PyTorch must be imported first)

    o = function.options
    module = ForceModule(function.dynamics(), atoms).to(o["device"])
    scripted = torch.jit.script(module.eval())
    # TorchForce freezes the module, and PyTorch crashes on an error raised inside a function that freezing inlined:
    # reporting it follows pointers to functions that freezing removed. Functions inlined here stay alive.
    torch._C._jit_pass_inline(scripted.graph)
    force = openmmtorch.TorchForce(scripted)
    force.setName("LOREM")
    force.setOutputsForces(True)
    force.setForceGroup(force_group)
    force.setUsesPeriodicBoundaryConditions(o["periodic"])
    system.addForce(force)
    return force


def load_torch_plugins() -> None:
    """Loads those of openmmtorch's plugins that OpenMM could not.

    OpenMM loads plugins when it is imported; openmmtorch's need PyTorch's libraries. Where OpenMM was imported first
    they failed, and every TorchForce would end with "does not support all required kernels".
    """
    failed = [line.split(":")[0].split()[-1] for line in openmm.Platform.getPluginLoadFailures()]
    for library in failed:
        if "OpenMMTorch" in Path(library).name:
            with suppress(openmm.OpenMMException):  # OpenCL or CUDA may really be absent
                openmm.Platform.loadPluginLibrary(library)


class Probe(torch.nn.Module):
    """E = Σ r², F = −2 r by autograd inside the module, as the real force does."""

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the energy and the forces of positions [n, 3]."""
        r = positions.detach().requires_grad_(True)
        energy = (r * r).sum()
        gradient = torch.autograd.grad([energy], [r])[0]
        assert gradient is not None  # for TorchScript  # noqa: S101
        return energy.detach(), -gradient


@cache
def check_torchforce() -> None:
    """Runs a tiny TorchForce, once per process.

    Raises:
        InstallationError: If openmmtorch is missing or was built for another PyTorch.
    """
    run_probe(Probe())


def run_probe(probe: torch.nn.Module) -> None:
    """Runs a module as a TorchForce on two particles and checks the energy, see :func:`check_torchforce`."""
    advice = (
        "Install matching versions with pip install 'lorem-openmm[torchforce]' (openmmtorch 1.5 with PyTorch 2.9; "
        "for CUDA 'lorem-openmm[cuda12]'), or use implementation='pythonforce', which works with any PyTorch"
    )
    found = f"PyTorch {torch.__version__}, OpenMM {openmm.__version__}, openmmtorch {_version('openmmtorch')}"
    try:
        import openmmtorch  # noqa: PLC0415 (optional)

        load_torch_plugins()
        force = openmmtorch.TorchForce(torch.jit.script(probe))
        force.setOutputsForces(True)
        system = openmm.System()
        for _ in range(2):
            system.addParticle(1.0)
        system.addForce(force)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        context.setPositions([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        energy = context.getState(getEnergy=True, getForces=True).getPotentialEnergy()._value
    except Exception as error:
        raise InstallationError(
            f"openmmtorch: TorchForce must load and run, but failed ({error!s:.300}). Found {found}. {advice}."
        ) from error
    if abs(energy - 5.0) > 1e-6:
        raise InstallationError(
            f"openmmtorch: a TorchForce must give the energy of its module, expected 5, received {energy}. "
            f"Found {found}. {advice}."
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
