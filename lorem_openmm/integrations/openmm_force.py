"""The potential as an OpenMM force, through TorchForce (TorchScript, no Python per step) or PythonForce.

Both run one scripted module, so that they give the same numbers. PythonForce serialises with its System, by path and
hash of the model file; for TorchForce see :mod:`lorem_openmm.integrations.serialize`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openmm
import torch

from lorem_openmm.ambient import building, script
from lorem_openmm.inference.compiled import CompiledDynamics
from lorem_openmm.inference.dynamics import scripted_calls
from lorem_openmm.integrations.force_module import ForceModule
from lorem_openmm.integrations.force_settings import ForceSettings
from lorem_openmm.integrations.torchforce import check_torchforce
from lorem_openmm.potential import Potential, Prediction

NAME = "LOREM"  # of the forces
# Simulations resume bit-for-bit from checkpoints at multiples of this many steps, see PotentialFunction.
STEPS_PER_LIST = 100


class PotentialFunction:
    """The callable of a PythonForce: State in, energy in kJ/mol and forces [n_atoms, 3] in kJ/mol/nm out.

    Pickles to its settings as text, a few hundred bytes; the model is loaded at the first call (not when unpickled:
    OpenMM crashes when unpickling raises, also where this package is not installed). Contexts of one System share the
    callable, its lists included; calls from several threads wait for each other.

    The last digits of energies depend on when the list was made. It is made anew at every hundredth step, and where
    the steps do not go on from the last call (another Context, a state that was loaded), so that simulations resume
    bit-for-bit from checkpoints at those steps.
    """

    def __init__(self, settings: ForceSettings):
        self.settings = settings
        self._original: Potential | None = settings.source.in_memory()  # held as long as the force, for its copies
        self._potential: Potential | None = None
        self._module: Any = None
        self._step = -1  # of the last call
        self._lock = threading.Lock()  # the lists change in a call, and PyTorch releases Python's own lock

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings.to_json()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(ForceSettings.from_json(state["settings"]))  # type: ignore[misc]

    @property
    def rebuilds(self) -> int:
        """Number of times the neighbour list was made."""
        return 0 if self._module is None else self._module.dynamics.lists.rebuilds

    @building()
    def load(self) -> None:
        """Loads the model, which the first call does otherwise.

        Raises:
            ModelFileError: If the model file is missing, damaged, or another one than when the force was made.
        """
        dynamics, self._potential = self.settings.load()
        compiled = self.settings.compile
        module = ForceModule(CompiledDynamics(dynamics) if compiled else dynamics, gather=self.settings.gather)
        module = module.to(self.settings.device)
        self._module = module if compiled else script(module)

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Computes the energy and the forces of a state."""
        with self._ready() as module:
            self._renew_list(state.getStepCount())
            energy, forces = module(*self._geometry(state))
        return float(energy), forces.numpy()

    def predict(self, state: openmm.State, atoms: list[int] | None = None) -> Prediction:
        """Computes everything that the model predicts, in eV and Å.

        Args:
            state: state with positions.
            atoms: indices of the particles the force applies to; None: all.
        """
        positions, box = self._geometry(state)
        with self._ready() as module:
            return module.predict(positions if atoms is None else positions[atoms], box)

    @contextmanager
    def _ready(self) -> Iterator[Any]:
        with self._lock:
            if self._module is None:
                self.load()
            with scripted_calls(len(self.settings.atomic_numbers)):
                yield self._module

    def _renew_list(self, step: int) -> None:
        lists = self._module.dynamics.lists
        begins = step % STEPS_PER_LIST == 0 and step != self._step
        if (begins or step not in (self._step, self._step + 1)) and not lists.all_pairs:
            self._module.dynamics.forget()
        self._step = step

    def _geometry(self, state: openmm.State) -> tuple[torch.Tensor, torch.Tensor | None]:
        positions = torch.from_numpy(state.getPositions(asNumpy=True)._value)
        if not (self.settings.periodic or self.settings.gather):
            return positions, None
        return positions, torch.from_numpy(state.getPeriodicBoxVectors(asNumpy=True)._value)


def add_python_force(
    system: openmm.System, settings: ForceSettings, atoms: list[int] | None, force_group: int
) -> openmm.PythonForce:
    """Adds the potential to a system as a PythonForce and returns the force.

    Args:
        system: System to add to.
        settings: settings of the force.
        atoms: indices of the particles it applies to; None: all.
        force_group: force group of the new force.
    """
    force = openmm.PythonForce(PotentialFunction(settings))
    if atoms is not None:
        force.setParticles(atoms)
    return _add(system, force, settings, force_group)


@building()
def add_torch_force(
    system: openmm.System, settings: ForceSettings, atoms: list[int] | None, force_group: int
) -> openmm.Force:
    """Adds the potential to a system as a TorchForce and returns the force.

    On the CUDA platform the model runs on the platform's GPU, on others on the device given.

    Args:
        system: System to add to.
        settings: settings of the force.
        atoms: indices of the particles it applies to; None: all.
        force_group: force group of the new force.

    Raises:
        InstallationError: If openmmtorch is missing or does not match PyTorch.
    """
    check_torchforce()
    import openmmtorch  # noqa: PLC0415 (optional; PyTorch must be imported first)

    dynamics, _ = settings.load()
    module = ForceModule(dynamics, atoms, settings.gather, settings.to_json(), unguarded=True).to(settings.device)
    scripted = script(module.eval())
    # TorchForce freezes the module, and PyTorch crashes on an error raised inside a function that freezing inlined:
    # reporting it follows pointers to functions that freezing removed. Functions inlined here stay alive.
    torch._C._jit_pass_inline(scripted.graph)
    force = openmmtorch.TorchForce(scripted)
    force.setOutputsForces(True)
    return _add(system, force, settings, force_group)


def _add(system: openmm.System, force: Any, settings: ForceSettings, force_group: int) -> Any:
    force.setName(NAME)
    force.setForceGroup(force_group)
    force.setUsesPeriodicBoundaryConditions(settings.periodic or settings.gather)
    system.addForce(force)
    return force
