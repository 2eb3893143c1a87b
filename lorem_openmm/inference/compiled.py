"""Dynamics of a small molecule compiled to native code by AOTInductor: fewer, larger operations.

In vacuum all pairs of a small molecule are listed once, so that no shape ever changes and a step is one graph.
Compiling takes about half a minute and a C++ compiler; the result is kept in the user's cache directory, ``~/.cache``
or ``XDG_CACHE_HOME``, named by a hash of the graph, the weights, PyTorch and the machine. It is compared with the
scripted module before it is used.
"""

import hashlib
import logging
import math
import os
import platform
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

from lorem_openmm.ambient import building, script
from lorem_openmm.inference.blocks.bridge import AutogradBridge
from lorem_openmm.inference.dynamics import Dynamics
from lorem_openmm.inference.finite import soundness
from lorem_openmm.inference.verlet import ALL_PAIRS_LIMIT, Neighborhood
from lorem_openmm.potential import Prediction

logger = logging.getLogger(__name__)
# Largest difference of forces, relative to the largest force and to 1 eV/Å: several times that of two ways of rounding.
TOLERANCES = {torch.float32: 5e-5, torch.float64: 1e-11}
SETTINGS: dict[str, Any] = {
    "cpp.threads": 1,  # loops this short lose more by waiting for a second thread than they gain
    # Values read more than once are stored, not computed again at each place: sorting the pairs of a tensor product
    # reads each of its factors dozens of times.
    "max_pointwise_cat_inputs": 0,
    "realize_reads_threshold": 1,
    "realize_acc_reads_threshold": 1,
    "realize_opcount_threshold": 4,
}


class StaticDynamics(torch.nn.Module):
    """Dynamics whose list never changes: a function of the positions alone."""

    def __init__(self, dynamics: Dynamics):
        super().__init__()
        places = torch.zeros((dynamics.order.shape[0], 3), dtype=torch.float64, device=dynamics.order.device)
        near = dynamics.lists(places, torch.zeros_like(places[:1]).expand(3, 3))
        self.model, self.table, self.offsets, self.dtype = dynamics.model, near.table, near.offsets, near.cell.dtype
        self.predict: Callable[[Neighborhood, bool], Prediction] = dynamics._predict
        self.register_buffer("order", dynamics.order)
        self.register_buffer("cell", near.cell)

    def forward(self, positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns the fields of a prediction for positions [n_atoms, 3] Å in float64, and its soundness."""
        rows = positions.index_select(0, self.order)
        rows = (rows - rows.mean(dim=0, keepdim=True)).to(self.dtype)
        found = self.predict(Neighborhood(rows, self.cell, self.table, self.offsets), False)
        return (*found, soundness(found.energy, found.forces, rows))


class CompiledDynamics(torch.nn.Module):
    """What :class:`~lorem_openmm.inference.dynamics.Dynamics` computes, by compiled code where that is possible.

    The first call compiles, or loads what an earlier process compiled, and compares it with the scripted module. Where
    the molecule is too large or periodic, the compiler fails or its numbers differ, a warning says so and the scripted
    module runs.
    """

    def __init__(self, dynamics: Dynamics):
        super().__init__()
        self.scripted = script(dynamics)
        self._source: Dynamics | None = dynamics
        self._run: Callable[[torch.Tensor], Any] | None = None

    @property
    def lists(self) -> Any:
        """The scripted module's neighbour lists."""
        return self.scripted.lists

    @property
    def is_compiled(self) -> bool:
        """Whether compiled code runs; decided by the first call."""
        return self._run is not None

    def forward(self, positions: torch.Tensor, cell: torch.Tensor, compute_stress: bool = False) -> Prediction:
        """Computes energy and forces, arguments and errors as in ``Dynamics``."""
        if self._source is not None:
            expected = self.scripted(positions, cell, compute_stress)  # may raise: the next call is the first again
            source, self._source = self._source, None
            self._compile(source, positions, expected)
            return expected
        if self._run is None:
            return self.scripted(positions, cell, compute_stress)
        *fields, sound = self._run(positions.to(torch.float64))
        if not math.isfinite(float(sound)):
            return self.scripted(positions, cell, compute_stress)  # which says what is wrong
        return Prediction(*fields)

    @building()
    def _compile(self, source: Dynamics, positions: torch.Tensor, expected: Prediction) -> None:
        try:
            _check_static(source)
            run = load_or_compile(StaticDynamics(source), positions.to(torch.float64))
            _compare(Prediction(*run(positions.to(torch.float64))[:-1]), expected)
            self._run = run
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            warnings.warn(f"compile: running without it, because {reason}", stacklevel=2)


def _check_static(dynamics: Dynamics) -> None:
    if not dynamics.lists.all_pairs:
        raise ValueError(f"only molecules of up to {ALL_PAIRS_LIMIT} atoms in vacuum keep their list of pairs")
    if dynamics.model.features.rounds is not None:
        raise ValueError("message passing is differentiated by autograd, which cannot be exported")
    if dynamics.model.long_range is not None and isinstance(dynamics.model.long_range.block, AutogradBridge):
        raise ValueError("this long-range block is differentiated by autograd, which cannot be exported")
    if not dynamics.model.features.edges.radial.bernstein:
        raise ValueError("bases other than Bernstein's are differentiated by autograd, which cannot be exported")


def load_or_compile(module: StaticDynamics, positions: torch.Tensor) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Returns the compiled module, from the cache if it is there."""
    with torch.no_grad():
        program = torch.export.export(module, (positions,), strict=False)
    path = user_cache_path("lorem-openmm") / "compiled" / f"{_identity(program)}.pt2"
    if not path.is_file():
        logger.info("compiling the molecule, about half a minute; kept as %s", path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            target = os.path.join(folder, "made.pt2")
            settings = dict(SETTINGS)  # PyTorch adds its own
            made = torch._inductor.aoti_compile_and_package(program, package_path=target, inductor_configs=settings)
            os.replace(made, path)
    # Calling the package itself would read the layout of arguments and results, as JSON, at every call.
    loader = torch._inductor.aoti_load_package(str(path)).loader
    return lambda positions: loader.boxed_run([positions])


def _identity(program: Any) -> str:
    """Returns a hash of all that the compiled code depends on."""
    machine = (torch.__version__, torch.backends.cpu.get_cpu_capability(), _processor(), SETTINGS)
    digest = hashlib.sha256(f"{program.graph} {machine}".encode())
    for name, value in sorted({**program.state_dict, **program.constants}.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} {value.device}\0".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _processor() -> str:
    """Returns what tells processors apart whose compiled code may not run on one another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return f"{platform.machine()} {platform.processor()}"
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compare(found: Prediction, expected: Prediction) -> None:
    """Raises ValueError if two predictions differ by more than rounding."""
    for name in ("energy", "forces", "charges"):
        one, other = getattr(found, name).double(), getattr(expected, name).double()
        if one.numel() == 0:
            continue
        error = float((one - other).abs().max()) / max(1.0, float(other.abs().max()))
        if not error <= TOLERANCES[expected.forces.dtype]:
            raise ValueError(f"compiled and scripted {name} differ by {error:.1e} of their size")
