"""A wall between the force field and those hydrogens of the model's region that it leaves without Lennard-Jones term.

    E = Σ_h Σ_m 4 ε_hm ((σ_hm / r)¹² − (σ_hm / r)⁶),  σ_hm = ½ (σ_h + σ_m),  ε_hm = √(ε_h ε_m)

h: hydrogens of the region with ε = 0 in the force field, m: atoms outside. In a force field, the bond protects the
hydrogen of a hydroxyl or ammonium group: the oxygen or nitrogen that it stays with has a wall. In a mixed system
nothing does: the charges of water pull at it, and the model that holds the bond has seldom seen it stretched. σ_h and
ε_h are those of CHARMM's polar hydrogens; with TIP3P's oxygen, E is 33 kcal/mol at 1.2 Å and 0.0 at 1.8 Å, so that
hydrogen bonds stay as they are.

References:
    MacKerell et al., J. Phys. Chem. B 102, 3586 (1998): R_min/2 = 0.2245 Å, ε = 0.046 kcal/mol.
"""

import logging
import warnings
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import openmm
from openmm import app, unit

logger = logging.getLogger(__name__)

SIGMA = 0.02245 * 2.0 ** (5.0 / 6.0)  # nm: 2 · R_min/2 · 2^(−1/6)
EPSILON = 0.046 * 4.184  # kJ/mol
NAME = "polar hydrogens of LOREM"
LENNARD_JONES = "4*epsilon*(s^2 - s); s = (sigma/r)^6; sigma = (sigma1 + sigma2)/2; epsilon = sqrt(epsilon1*epsilon2)"
PROBES = (0.2, 0.3, 0.4)  # nm: two distances give σ and ε, the third tells whether it is Lennard-Jones at all
PERIODIC = openmm.CustomNonbondedForce.CutoffPeriodic


class LennardJones(NamedTuple):
    """The Lennard-Jones terms of a force field, as far as they can be told.

    Attributes:
        sigma: [n_particles] nm.
        epsilon: [n_particles] kJ/mol; 0: no term.
        holder: The force that has them; None: there are none.
    """

    sigma: np.ndarray
    epsilon: np.ndarray
    holder: openmm.NonbondedForce | openmm.CustomNonbondedForce | None


def lennard_jones(system: openmm.System) -> LennardJones:
    """Reads σ and ε of every particle from the system's NonbondedForce, or else its CustomNonbondedForce.

    Of a CustomNonbondedForce, a pair of equal particles is evaluated: whatever the expression or table, the pair has a
    Lennard-Jones term if its energy is that of one.
    """
    sigma, epsilon = np.zeros(system.getNumParticles()), np.zeros(system.getNumParticles())
    holder = None
    for kind, read in ((openmm.NonbondedForce, _of_nonbonded), (openmm.CustomNonbondedForce, _of_custom)):
        for force in system.getForces():
            if isinstance(force, kind) and force.getName() != NAME:
                new_sigma, new_epsilon = read(force)
                missing = (epsilon == 0.0) & (new_epsilon > 0.0)
                sigma[missing], epsilon[missing] = new_sigma[missing], new_epsilon[missing]
                holder = force if holder is None and missing.any() else holder
    return LennardJones(sigma, epsilon, holder)


def bare_hydrogens(topology: app.Topology, system: openmm.System, atoms: Sequence[int]) -> list[int]:
    """Returns those of the atoms that are hydrogen without Lennard-Jones term, where a force field has such terms."""
    return _bare(topology, lennard_jones(system), atoms)


def add_polar_hydrogen_repulsion(
    topology: app.Topology, system: openmm.System, atoms: Sequence[int], mixed: openmm.System, scale: str | None
) -> None:
    """Adds Lennard-Jones terms of the region's bare hydrogens with every atom outside that has one.

    Cutoff, switching, long-range correction, force group and excluded pairs are those of the force field's own terms.
    Under LJPME these terms end at the cutoff, the rest by the correction.

    Args:
        topology: Topology with elements.
        system: System of the force field alone.
        atoms: Indices of the model's atoms.
        mixed: Mixed System to add to; its particles are those of ``system`` and perhaps link atoms after them.
        scale: Global parameter that the energy is proportional to; None: none.
    """
    known = lennard_jones(system)
    if known.holder is None:
        _warn_of_unknown_terms(system)
        return
    hydrogens = _bare(topology, known, atoms)
    outside = np.setdiff1d(np.flatnonzero(known.epsilon > 0.0), atoms)
    if not hydrogens or not len(outside):
        return
    force = openmm.CustomNonbondedForce(LENNARD_JONES if scale is None else f"{scale}*{LENNARD_JONES}")
    force.setName(NAME)
    force.addPerParticleParameter("sigma")
    force.addPerParticleParameter("epsilon")
    if scale is not None:
        force.addGlobalParameter(scale, 1.0)
    known.sigma[hydrogens], known.epsilon[hydrogens] = SIGMA, EPSILON
    for sigma, epsilon in zip(known.sigma, known.epsilon, strict=True):
        force.addParticle([sigma, epsilon])
    for _ in range(mixed.getNumParticles() - len(known.sigma)):
        force.addParticle([0.0, 0.0])  # link atoms
    force.addInteractionGroup(hydrogens, outside.tolist())
    for first, second in _excluded(mixed):
        force.addExclusion(first, second)
    _copy_range(known.holder, force)
    mixed.addForce(force)
    logger.info("LOREM: %d hydrogens get a Lennard-Jones term towards the force field", len(hydrogens))


def _bare(topology: app.Topology, known: LennardJones, atoms: Sequence[int]) -> list[int]:
    inside = set(atoms)
    hydrogens = [a.index for a in topology.atoms() if a.element is not None and a.element.atomic_number == 1]
    without = [index for index in hydrogens if index in inside and known.epsilon[index] == 0.0]
    return without if known.holder is not None else []


def _warn_of_unknown_terms(system: openmm.System) -> None:
    if any(isinstance(force, openmm.CustomNonbondedForce) for force in system.getForces()):
        warnings.warn(
            "polarHydrogenRepulsion: finds Lennard-Jones terms in a NonbondedForce, or in a CustomNonbondedForce whose "
            "energy is 4ε((σ/r)¹² − (σ/r)⁶) for equal atoms; this system has a CustomNonbondedForce of another kind: "
            "hydrogens of the region get no term. See that they cannot fall onto atoms of the force field; "
            "polarHydrogenRepulsion=False says that this is known",
            stacklevel=5,
        )


def _of_nonbonded(force: openmm.NonbondedForce) -> tuple[np.ndarray, np.ndarray]:
    count = force.getNumParticles()
    values = np.array([[p._value for p in force.getParticleParameters(k)[1:]] for k in range(count)]).reshape(count, 2)
    sigma, epsilon = values.T.copy()
    for k in range(force.getNumParticleParameterOffsets()):
        _, index, _, sigma_scale, epsilon_scale = force.getParticleParameterOffset(k)
        if epsilon[index] == 0.0 and epsilon_scale > 0.0:  # a parameter switches it on
            sigma[index], epsilon[index] = sigma[index] or sigma_scale, epsilon_scale
    return sigma, epsilon


def _of_custom(force: openmm.CustomNonbondedForce) -> tuple[np.ndarray, np.ndarray]:
    pair = _Pair(force)
    found = [pair.lennard_jones(force.getParticleParameters(k)) for k in range(force.getNumParticles())]
    sigma, epsilon = np.array(found).reshape(-1, 2).T
    return sigma, epsilon


class _Pair:
    """Two equal particles with the energy of a CustomNonbondedForce."""

    def __init__(self, force: openmm.CustomNonbondedForce):
        self.force = openmm.CustomNonbondedForce(force.getEnergyFunction())
        for k in range(force.getNumPerParticleParameters()):
            self.force.addPerParticleParameter(force.getPerParticleParameterName(k))
        for k in range(force.getNumGlobalParameters()):
            self.force.addGlobalParameter(force.getGlobalParameterName(k), force.getGlobalParameterDefaultValue(k))
        for k in range(force.getNumTabulatedFunctions()):
            self.force.addTabulatedFunction(
                force.getTabulatedFunctionName(k), openmm.XmlSerializer.clone(force.getTabulatedFunction(k))
            )
        for k in range(force.getNumComputedValues()):
            self.force.addComputedValue(*force.getComputedValueParameters(k))
        self.context: openmm.Context | None = None
        self.lennard_jones = cache(self._lennard_jones)

    def _lennard_jones(self, parameters: tuple[float, ...]) -> tuple[float, float]:
        """Returns σ and ε; zeros where the energy is not that of a Lennard-Jones term."""
        energies = np.array([self._energy(parameters, r) for r in PROBES])
        powers = np.array([[r**-12, -(r**-6)] for r in PROBES])
        a, b = np.linalg.solve(powers[:2], energies[:2])
        if a <= 0.0 or b <= 0.0 or not np.isclose(powers[2] @ (a, b), energies[2], rtol=1e-4, atol=1e-9):
            return 0.0, 0.0
        return (a / b) ** (1 / 6), b * b / (4.0 * a)

    def _energy(self, parameters: tuple[float, ...], distance: float) -> float:
        if self.context is None:
            system = openmm.System()
            for _ in range(2):
                system.addParticle(1.0)
                self.force.addParticle(parameters)
            system.addForce(self.force)
            reference = openmm.Platform.getPlatform("Reference")
            self.context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
        for k in range(2):
            self.force.setParticleParameters(k, parameters)
        self.force.updateParametersInContext(self.context)
        self.context.setPositions([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
        energy = self.context.getState(energy=True).getPotentialEnergy()
        return float(energy.value_in_unit(unit.kilojoule_per_mole))


def _excluded(system: openmm.System) -> list[tuple[int, int]]:
    """Returns the pairs that the force field treats apart; all forces between atoms must exclude the same ones."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            return [tuple(force.getExceptionParameters(k)[:2]) for k in range(force.getNumExceptions())]
    for force in system.getForces():
        if isinstance(force, openmm.CustomNonbondedForce):
            return [tuple(force.getExclusionParticles(k)) for k in range(force.getNumExclusions())]
    return []


def _copy_range(
    holder: openmm.NonbondedForce | openmm.CustomNonbondedForce, force: openmm.CustomNonbondedForce
) -> None:
    """Gives a force the cutoff, the switch, the long-range correction and the group of another."""
    method = min(holder.getNonbondedMethod(), PERIODIC)  # Ewald, PME and LJPME come after it
    force.setNonbondedMethod(method)
    force.setCutoffDistance(holder.getCutoffDistance())
    force.setUseSwitchingFunction(holder.getUseSwitchingFunction())
    force.setSwitchingDistance(holder.getSwitchingDistance())
    force.setForceGroup(holder.getForceGroup())
    if isinstance(holder, openmm.CustomNonbondedForce):
        corrected = holder.getUseLongRangeCorrection()
    else:
        corrected = holder.getUseDispersionCorrection()
    force.setUseLongRangeCorrection(bool(corrected) and method == PERIODIC)
