"""Whether temperature and energy stay where they can be.

In a sound run 2K/kT is distributed as χ² with n degrees of freedom: of relative width √(2/n). So the temperature of 6
atoms may well be three times the thermostat's, that of 5,000 may not be a tenth above it. To this comes what molecules
set free when they find each other or react, which a thermostat needs picoseconds to take away.

    now      K > kT/2 · χ²(p = 10⁻¹²) + release
    lasting  mean of K over 0.25 ps > kT/2 · χ²(p = 10⁻⁹) + release/2
    energy   |U − U(start)| > 4·release, and more upwards: 2·n·kT
    at constant energy   |E − E(start)| > 0.2 eV + n·kT/2

Release: 1.5 eV and 0.05 eV per atom; where reactions are wanted 2.5 eV instead of 1.5. Two ions that fall towards each
other from 7 Å set free 1.5 eV (5 eV from afar), neutral molecules less than 0.5 eV, F⁻ + CH₃I 2 eV, a liquid that was
put together carelessly some hundredths of an eV per atom.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import chi2

from lorem_openmm.simulate.watch_structure import Finding
from lorem_openmm.units import EV_PER_KELVIN

RELEASE, RELEASE_REACTIVE, RELEASE_PER_ATOM = 1.5, 2.5, 0.05  # eV
RARE_NOW, RARE_MEAN = 1e-12, 1e-9  # probabilities in a sound run
MEAN_PS, MEAN_CHECKS = 0.25, 3  # shortest stretch of which a mean temperature is judged
KEPT_ENERGY = 0.2  # eV by which the total energy may change at constant energy, besides a part of the heat
TEMPERATURE, ENERGY, TOTAL_ENERGY = "temperature", "potential energy", "total energy"


class Ensemble(NamedTuple):
    """What a run samples.

    Attributes:
        temperature: K, of the thermostat, or of the velocities at the start.
        dof: Number of degrees of freedom.
        thermostat: Whether there is one.
    """

    temperature: float
    dof: int
    thermostat: bool


class Energies(NamedTuple):
    """Of one frame, in eV."""

    potential: float
    kinetic: float


class EnergyWatch:
    """Follows the energies of a run.

    Args:
        ensemble: Ensemble of the run.
        n_atoms: Number of atoms.
        reacts: Whether reactions are wanted.
    """

    def __init__(self, ensemble: Ensemble, n_atoms: int, reacts: bool):
        self.ensemble = ensemble
        heat = EV_PER_KELVIN * ensemble.temperature
        release = (RELEASE_REACTIVE if reacts else RELEASE) + RELEASE_PER_ATOM * n_atoms
        self.now = float(heat / 2 * chi2.isf(RARE_NOW, ensemble.dof)) + release
        self.lasting = float(heat / 2 * chi2.isf(RARE_MEAN, ensemble.dof)) + release / 2
        self.fall, self.rise = 4 * release, 4 * release + 2 * ensemble.dof * heat
        self.kept = KEPT_ENERGY + ensemble.dof * heat / 2
        self.watched = [TEMPERATURE, ENERGY] + ([] if ensemble.thermostat else [TOTAL_ENERGY])
        self.start: Energies | None = None
        self.recent: list[tuple[float, float]] = []

    def check(self, energies: Energies, time_ps: float) -> list[Finding]:
        """Returns what is wrong; energies must be finite."""
        if self.start is None:
            self.start = energies
        findings = [*self._temperature(energies.kinetic, time_ps)]
        change = energies.potential - self.start.potential
        if not -self.fall < change < self.rise:
            limit, word = (self.fall, "fallen") if change < 0 else (self.rise, "risen")
            findings.append(
                Finding(ENERGY, (), True, f"the potential energy has {word} by {abs(change):.4g} eV since the start, "
                        f"more than the {limit:.3g} eV that can be")
            )  # fmt: skip
        drift = sum(energies) - sum(self.start)
        if not self.ensemble.thermostat and abs(drift) > self.kept:
            findings.append(
                Finding(TOTAL_ENERGY, (), True, f"the total energy has changed by {drift:+.4g} eV at constant energy "
                        f"(limit {self.kept:.2g} eV); use a shorter time step or a smoother model")
            )  # fmt: skip
        return findings

    def _temperature(self, kinetic: float, time_ps: float) -> list[Finding]:
        self.recent.append((time_ps, kinetic))
        whole = [k for k, (time, _) in enumerate(self.recent) if time <= time_ps - MEAN_PS]
        if whole and len(self.recent) - whole[-1] >= MEAN_CHECKS:
            self.recent = self.recent[whole[-1] :]
        mean = float(np.mean([value for _, value in self.recent]))
        lasts = bool(whole) and len(self.recent) >= MEAN_CHECKS
        if kinetic > self.now:
            text = f"the temperature is {self._kelvin(kinetic):.0f} K"
            limit = self.now
        elif lasts and mean > self.lasting:
            span = time_ps - self.recent[0][0]
            text, limit = f"the mean temperature of the last {span:.2g} ps is {self._kelvin(mean):.0f} K", self.lasting
        else:
            return []
        return [
            Finding(TEMPERATURE, (), True, f"{text} where {self.ensemble.temperature:g} K are asked for; with "
                    f"{self.ensemble.dof} degrees of freedom it can be at most {self._kelvin(limit):.0f} K")
        ]  # fmt: skip

    def _kelvin(self, kinetic: float) -> float:
        return 2 * kinetic / (self.ensemble.dof * EV_PER_KELVIN)

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs."""
        return {"start": self.start and list(self.start), "recent": [list(entry) for entry in self.recent]}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self.start = Energies(*state["start"]) if state["start"] else None
        self.recent = [(time, value) for time, value in state["recent"]]
