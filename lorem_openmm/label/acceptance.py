"""Which labels are kept: each attempt of the engine is checked, and what stays bad is rejected and counted.

Approximate density functionals, xTB among them, spread an extra electron over fragments far apart when the level
it leaves lies above the one it enters. Such a state converges and looks smooth, but its long-range tail is wrong,
so the charge of every fragment is checked against the integer it must have.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from lorem_openmm.config import Acceptance
from lorem_openmm.label.engines import Engine, EngineFailure, Label
from lorem_openmm.label.surfaces import surface_gap

Check = Callable[[Label], str | None]  # a reason to refuse a label, or nothing


class Frame(NamedTuple):
    """A structure to label.

    Attributes:
        atoms: The structure; `atoms.info` is written with it.
        charge: Total charge in e.
        groups: Indices and integer charge of each molecule in it, for the check of the charges.
    """

    atoms: Atoms
    charge: int
    groups: tuple[tuple[np.ndarray, int], ...] = ()


class Labelled(NamedTuple):
    """A frame with its label and the attempt of the engine that gave it."""

    frame: Frame
    label: Label
    attempt: int


class Labeller:
    """Labels frames and counts what happened.

    Attributes:
        rejected: Number of rejected frames by reason.
        retried: Number of kept frames by the settings that gave them, where those were not the default.
    """

    def __init__(self, engine: Engine, acceptance: Acceptance) -> None:
        self.engine = engine
        self.acceptance = acceptance
        self.rejected: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()

    def attempt(self, frame: Frame, first: int = 0, also: Check | None = None) -> Labelled | str:
        """Labels a frame with the first attempt that passes all checks, without counting.

        Args:
            frame: The frame.
            first: Index of the first attempt to make.
            also: A further check; returns a reason to refuse the label, or nothing.

        Returns:
            The labelled frame, or why the first attempt was refused.
        """
        reason = ""
        for index, attempt in enumerate(self.engine.attempts[first:], start=first):
            try:
                label = self.engine.calculate(frame.atoms, frame.charge, attempt)
            except EngineFailure as failure:
                reason = reason or failure.reason
                continue
            fault = self.fault(frame, label) or (also(label) if also else None)
            if fault is None:
                return Labelled(frame, label, index)
            reason = reason or fault
        return reason or "no_attempt_left"

    def label(self, frame: Frame, also: Check | None = None) -> Labelled | None:
        """Labels a frame; one that no attempt can label is counted as rejected."""
        result = self.attempt(frame, also=also)
        if isinstance(result, str):
            self.reject(result)
            return None
        return result

    def reject(self, reason: str, count: int = 1) -> None:
        """Counts rejected frames."""
        self.rejected[reason] += count

    def fault(self, frame: Frame, label: Label) -> str | None:
        """Returns what is wrong with a label on its own, or nothing."""
        if not (np.isfinite(label.energy) and np.isfinite(label.forces).all()):
            return "not_finite"
        if np.linalg.norm(label.forces, axis=1).max() > self.acceptance.max_force:
            return "force_too_large"
        if abs(label.charges.sum() - frame.charge) > 1e-3:
            return "wrong_total_charge"
        for indices, charge in frame.groups:
            if abs(label.charges[indices].sum() - charge) > self.charge_limit(frame, indices):
                return "charge_leak"
        return None

    def charge_limit(self, frame: Frame, indices: np.ndarray) -> float:
        """Returns the charge in e that may leave a molecule.

        limit = tolerance + contact_charge · exp(−gap / contact_length), with the gap of the van der Waals surfaces
        """
        others = np.setdiff1d(np.arange(len(frame.atoms)), indices)
        if len(others) == 0:
            return self.acceptance.charge_tolerance
        numbers, positions = frame.atoms.numbers, frame.atoms.positions
        gap = surface_gap(numbers[indices], positions[indices], numbers[others], positions[others])
        shared = self.engine.contact_charge * float(np.exp(-gap / self.engine.contact_length))
        return self.acceptance.charge_tolerance + shared

    def discontinuous(self, first: Labelled, frame: Frame, label: Label) -> str | None:
        """Returns a reason if energies and forces of two neighbouring frames do not belong to one surface.

        |E_b − E_a + ½ (F_a + F_b) · (x_b − x_a)| ≤ tolerance + ¼ |(F_b − F_a) · (x_b − x_a)|

        The left side vanishes for a harmonic surface; the second term on the right is half of the energy that the
        change of the forces stands for, which bounds what anharmonicity can do on the steps taken here.
        """
        step = frame.atoms.positions - first.frame.atoms.positions
        work = 0.5 * float(((first.label.forces + label.forces) * step).sum())
        change = float(((label.forces - first.label.forces) * step).sum())
        mismatch = abs(label.energy - first.label.energy + work)
        if mismatch > self.acceptance.energy_tolerance + 0.25 * abs(change):
            return "discontinuous"
        return None

    def follow(self, start: Labelled, candidates: Sequence[tuple[Frame, Labelled | str]]) -> list[Labelled]:
        """Keeps the frames of a path that continue the surface of ``start``; the others are tried again, then counted.

        Args:
            start: A frame that is known to be right.
            candidates: Frames in order along the path from there, with their labels or the reason there is none.

        Returns:
            The frames kept, in order, without ``start``.
        """
        kept: list[Labelled] = []
        last = start
        for frame, first_result in candidates:
            result = self._continued(last, frame, first_result)
            if isinstance(result, str):
                self.reject(result)
                continue
            kept.append(result)
            last = result
        return kept

    def _continued(self, last: Labelled, frame: Frame, result: Labelled | str) -> Labelled | str:
        if isinstance(result, str) or not self.discontinuous(last, frame, result.label):
            return result
        again = self.attempt(frame, result.attempt + 1, partial(self.discontinuous, last, frame))
        return again if isinstance(again, Labelled) else "discontinuous"

    def finish(self, labelled: Iterable[Labelled], provenance: dict[str, Any]) -> list[Atoms]:
        """Turns kept frames into ASE atoms with energy, forces and provenance, and counts retries."""
        finished = []
        for frame, label, index in labelled:
            atoms = frame.atoms.copy()
            settings = self.engine.attempts[index].name
            if index > 0:
                self.retried[settings] += 1
            atoms.info.update(charge=frame.charge, **provenance, scf=settings)
            results = {"energy": label.energy, "forces": label.forces}
            if label.stress is not None:
                results["stress"] = full_3x3_to_voigt_6_stress(label.stress)
            atoms.calc = SinglePointCalculator(atoms, **results)
            finished.append(atoms)
        return finished
