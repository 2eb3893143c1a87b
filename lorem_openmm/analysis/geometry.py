"""Quantities of single frames: distances in Å, angles in degrees, counts."""

import mdtraj
import numpy as np

from lorem_openmm.analysis.trajectory import molecules_of
from lorem_openmm.simulate import molecules
from lorem_openmm.simulate.images import nearest_image
from lorem_openmm.simulate.molecules import Sn2Atoms
from lorem_openmm.units import ANGSTROM_PER_NANOMETER


def find_sn2(topology: mdtraj.Topology) -> Sn2Atoms | None:
    """Returns the reacting atoms, see :func:`lorem_openmm.simulate.molecules.find_sn2`."""
    return molecules.find_sn2([atom.element.symbol for atom in topology.atoms], molecules_of(topology))


def sn2_coordinates(trajectory: mdtraj.Trajectory, atoms: Sn2Atoms) -> dict[str, np.ndarray]:
    """ξ = r(C–X) − r(C–Y): positive before the reaction, 0 at its middle, negative after it.

    Args:
        trajectory: [n_frames].
        atoms: Result of :func:`find_sn2`.

    Returns:
        ``reaction_coordinate``, ``attacker_distance`` r(C–X), ``leaving_distance`` r(C–Y) in Å, and ``attack_angle``
        X–C–Y in degrees; each [n_frames].
    """
    pairs = [(atoms.carbon, atoms.attacker), (atoms.carbon, atoms.leaving)]
    distances = ANGSTROM_PER_NANOMETER * mdtraj.compute_distances(trajectory, pairs).astype(float)
    angles = mdtraj.compute_angles(trajectory, [(atoms.attacker, atoms.carbon, atoms.leaving)])
    return {
        "reaction_coordinate": distances[:, 0] - distances[:, 1],
        "attacker_distance": distances[:, 0],
        "leaving_distance": distances[:, 1],
        "attack_angle": np.degrees(angles[:, 0].astype(float)),
    }


def crossings(coordinate: np.ndarray, threshold: float = 0.5) -> int:
    """Returns how often a coordinate went from beyond +threshold to beyond −threshold or back.

    What lies between counts for neither side, so that a moment on the barrier is not many crossings.

    Args:
        coordinate: [n_frames].
        threshold: Threshold in the coordinate's unit.
    """
    sides = np.sign(coordinate[np.abs(coordinate) > threshold])
    return int(np.count_nonzero(np.diff(sides)))


def center_distance(trajectory: mdtraj.Trajectory, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """|R_B − R_A| between centres of mass in Å [n_frames], the nearest images in a box.

    Args:
        trajectory: [n_frames], molecules whole.
        first: Atoms of A.
        second: Atoms of B.
    """
    centers = [mdtraj.compute_center_of_mass(trajectory.atom_slice(atoms)) for atoms in (first, second)]
    steps = centers[1] - centers[0]
    if trajectory.unitcell_vectors is not None:
        steps = nearest_image(steps, trajectory.unitcell_vectors.astype(float))
    return ANGSTROM_PER_NANOMETER * np.linalg.norm(steps, axis=1)


def contacts(
    trajectory: mdtraj.Trajectory, first: np.ndarray, second: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Closest distance between heavy atoms of two molecules, and the number of such pairs below a threshold.

    Args:
        trajectory: [n_frames].
        first: Atoms of one molecule; a molecule without heavy atoms takes part with its hydrogens.
        second: Atoms of the other.
        threshold: Å.

    Returns:
        Closest distance in Å [n_frames] and number of contacts [n_frames].
    """
    heavy = [_heavy_atoms(trajectory.topology, atoms) for atoms in (first, second)]
    pairs = np.stack(np.meshgrid(*heavy, indexing="ij"), axis=-1).reshape(-1, 2)
    distances = ANGSTROM_PER_NANOMETER * mdtraj.compute_distances(trajectory, pairs).astype(float)
    return distances.min(axis=1), (distances < threshold).sum(axis=1)


def _heavy_atoms(topology: mdtraj.Topology, atoms: np.ndarray) -> np.ndarray:
    heavy = [k for k in atoms if topology.atom(int(k)).element.symbol != "H"]
    return np.array(heavy if heavy else atoms)


def axis_angle(trajectory: mdtraj.Trajectory, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """θ = arccos |a_A · a_B|, with a the direction in which a molecule's mass is most extended.

    Args:
        trajectory: [n_frames], molecules whole.
        first: Atoms of A, at least two.
        second: Atoms of B, at least two.

    Returns:
        [n_frames] degrees from 0 to 90: an axis has no sense of direction.
    """
    axes = [_long_axis(trajectory.atom_slice(atoms)) for atoms in (first, second)]
    cosines = np.abs(np.einsum("ni,ni->n", *axes))
    return np.degrees(np.arccos(np.clip(cosines, 0.0, 1.0)))


def _long_axis(molecule: mdtraj.Trajectory) -> np.ndarray:
    masses = np.array([atom.element.mass for atom in molecule.topology.atoms])
    centered = molecule.xyz - mdtraj.compute_center_of_mass(molecule)[:, None, :]
    spread = np.einsum("a,nai,naj->nij", masses, centered, centered)
    return np.linalg.eigh(spread)[1][:, :, -1]
