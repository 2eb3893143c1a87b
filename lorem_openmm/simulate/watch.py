"""A watch on a simulation: whether the molecules are still molecules, and the energies still plausible.

What it takes to call a run unstable is meant to be certain, not early: nothing here ends a sound run.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lorem_openmm.simulate.stability import Verdict
from lorem_openmm.simulate.watch_energy import Energies, EnergyWatch, Ensemble
from lorem_openmm.simulate.watch_structure import Finding, Reactive, StructureWatch, Subject, reactive_atoms

FINITE = "values that are not finite"
# What is not certain in one frame must be seen in as many checks in a row, over as long a time.
LASTING_CHECKS, LASTING_PS = 3, 0.05


class Frame(NamedTuple):
    """One moment of a run.

    Attributes:
        step: Number of the step.
        time_ps: Time in ps.
        positions: [n_atoms, 3] Å.
        box: [3, 3] Å; None: vacuum.
        energies: Energies in eV; None: not known.
    """

    step: int
    time_ps: float
    positions: np.ndarray
    box: np.ndarray | None = None
    energies: Energies | None = None


class Watch:
    """Judges a run frame by frame.

    Args:
        subject: Atoms, molecules and positions at the start.
        reactive: Reactions that are wanted: True, the atoms concerned, or None for those of X⁻ + CH₃Y.
        ensemble: What the run samples; None: energies are not judged.

    Raises:
        ConfigError: If `reactive` names an atom that is not there.
    """

    def __init__(self, subject: Subject, reactive: Reactive = None, ensemble: Ensemble | None = None):
        atoms = reactive_atoms(reactive, subject.symbols, subject.molecules)
        self._structure = StructureWatch(subject, atoms)
        self._energies = None
        if ensemble is not None and ensemble.dof > 0:
            self._energies = EnergyWatch(ensemble, len(subject.symbols), bool(atoms))
        watched = [*self._structure.watched, *(self._energies.watched if self._energies else ()), FINITE]
        self.verdict = Verdict(True, None, None, None, watched)
        self._lasting: dict[tuple[str, tuple[int, ...]], tuple[int, int, float, str]] = {}  # checks, since, text

    def check(self, frame: Frame) -> bool:
        """Judges a frame; returns whether the run is sound so far. After the first fault nothing is judged."""
        if not self.verdict.stable:
            return False
        broken = _not_finite(frame)
        if broken:
            self.condemn(f"{broken}: the dynamics became unstable", frame.step, frame.time_ps)
            return False
        findings = self._structure.check(frame.positions, frame.box)
        if self._energies and frame.energies is not None:
            findings += self._energies.check(frame.energies, frame.time_ps)
        self._weigh(findings, frame)
        return self.verdict.stable

    def condemn(self, reason: str, step: int, time_ps: float) -> None:
        """Calls the run unstable, unless it has been before."""
        if self.verdict.stable:
            self.verdict = Verdict(False, reason, float(time_ps), int(step), self.verdict.watched)

    def conclude(self) -> Verdict:
        """Returns the verdict at the end of a run, when what was seen more than once is no longer waited for."""
        for checks, step, time_ps, text in self._lasting.values():
            if checks > 1:
                self.condemn(text, step, time_ps)
        return self.verdict

    def state(self) -> dict[str, Any]:
        """Returns what a watch that goes on after an interruption needs; for JSON."""
        lasting = [[kind, list(atoms), *entry] for (kind, atoms), entry in self._lasting.items()]
        return {"lasting": lasting, "energies": self._energies.state() if self._energies else None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self._lasting = {(kind, tuple(atoms)): tuple(entry) for kind, atoms, *entry in state["lasting"]}
        if self._energies and state["energies"]:
            self._energies.restore(state["energies"])

    def _weigh(self, findings: list[Finding], frame: Frame) -> None:
        before, self._lasting = self._lasting, {}
        for finding in findings:
            checks, step, time_ps, _ = before.get((finding.kind, finding.atoms), (0, frame.step, frame.time_ps, ""))
            self._lasting[finding.kind, finding.atoms] = (checks + 1, step, time_ps, finding.text)
            lasts = checks + 1 >= LASTING_CHECKS and frame.time_ps - time_ps >= LASTING_PS
            if finding.certain or lasts:
                self.condemn(finding.text, step, time_ps)


def _not_finite(frame: Frame) -> str:
    """Returns what of a frame is not a finite number, or nothing."""
    broken = np.flatnonzero(~np.isfinite(frame.positions).all(axis=1))
    if len(broken):
        return f"positions of {len(broken)} atoms are NaN or infinite, the first that of atom {broken[0]} (from 0)"
    if frame.box is not None and not np.isfinite(frame.box).all():
        return "the box is NaN or infinite"
    if frame.energies is not None and not np.isfinite(frame.energies).all():
        return f"the energy is NaN or infinite (potential {frame.energies.potential} eV)"
    return ""
