"""What a potential says about all structures of a data set, and which of them no short-range model can describe."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lorem_openmm.ambient import building
from lorem_openmm.data.baseline import as_table, composition_energies
from lorem_openmm.data.batching import StructureSet, ordered_batches
from lorem_openmm.data.splits import SPLITS
from lorem_openmm.data.store import Store
from lorem_openmm.errors import ModelFileError
from lorem_openmm.files import atomic_path
from lorem_openmm.potential import Potential, check_species, graph_for
from lorem_openmm.progress import progress
from lorem_openmm.training.dimer_curves import find_curves, reference_zero

BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class Predictions:
    """Energies and forces of a data set, in its order.

    Attributes:
        energy: [n_structures] eV, total, float64.
        forces: [n_atoms, 3] eV/Å.
        stress: [n_structures, 3, 3] eV/Å³; zeros where there is no label.
        baseline: [n_structures] eV, sum of the per-element energies of the potential.
        apart: [n_structures] eV, of the molecules of a structure, each alone in vacuum; where a curve of dimers ends,
            else NaN.
    """

    energy: np.ndarray
    forces: np.ndarray
    stress: np.ndarray
    baseline: np.ndarray
    apart: np.ndarray


@building()
def predict(potential: Potential, store: Store, device: torch.device) -> Predictions:
    """Evaluates a potential on all structures of a data set.

    Args:
        potential: The model.
        store: The data set; its neighbour lists must reach at least the cutoff.
        device: Where to compute.

    Raises:
        DataError: If the neighbour lists are too short, or the potential uses the total charge and a structure states
            none.
        UnknownElementError: If the data set has an element that the potential does not know.
    """
    check_species(potential.species, store.elements)
    if potential.model.needs_total_charge:
        store.check_total_charges()
    potential = potential.to(device)
    dtype = next(potential.parameters()).dtype
    table = as_table(potential.baseline)
    energy = np.zeros(len(store))
    forces = np.zeros(store["forces"].shape)
    stress = np.zeros(store["stress"].shape)
    split_of_atom = np.repeat(store["split"], np.diff(store["atom_offsets"]))
    for number, split in enumerate(SPLITS):
        structures = StructureSet([store], split, potential.cutoff, table, device, dtype)
        batches = ordered_batches(len(structures), BATCH_SIZE)
        force_parts = []
        for indices in progress(batches, len(batches), f"evaluate {store.metadata['name']} {split}"):
            graph, labels = structures.batch(indices)
            with_stress = bool(labels.has_stress.any())
            prediction = potential.evaluate(graph, with_stress)
            places = structures.structure_index[indices]
            energy[places] = prediction.energy.cpu().numpy()
            stress[places] = (prediction.stress * labels.has_stress[:, None, None]).cpu().numpy()
            force_parts.append(prediction.forces.cpu().numpy())
        if force_parts:
            forces[split_of_atom == number] = np.concatenate(force_parts)
    baseline = composition_energies(table, store["atomic_numbers"], store["atom_offsets"])
    ends = [curve[-1] for curves in find_curves(store).values() for curve in curves]
    apart = np.full(len(store), np.nan)
    apart[ends] = _energies_apart(potential, store, ends)
    return Predictions(energy, forces, stress, baseline, apart)


def _energies_apart(potential: Potential, store: Store, chosen: Sequence[int]) -> np.ndarray:
    """Returns the energies in eV of the molecules of each chosen structure in vacuum, each alone, summed; else NaN.

    A model that uses the total charge gives none: data state the charge of a structure, not of its molecules.
    """
    fragments, offsets = find_fragments(store, potential.cutoff), store["atom_offsets"]
    atoms, sizes, owners = [], [], []
    for place, index in enumerate(chosen):
        own_atoms = np.arange(offsets[index], offsets[index + 1])
        counts = np.unique(fragments[own_atoms], return_counts=True)[1]
        if len(counts) > 1 and not store["periodic"][index]:
            atoms.append(own_atoms[np.argsort(fragments[own_atoms], kind="stable")])
            sizes += counts.tolist()
            owners += [place] * len(counts)
    energies = np.full(len(chosen), np.nan)
    if not atoms or potential.model.needs_total_charge:
        return energies
    rows = np.concatenate(atoms)
    graph = graph_for(potential, store["positions"][rows], store["atomic_numbers"][rows], sizes)
    alone = potential.evaluate(graph).energy.cpu().numpy()
    known = np.unique(owners)
    energies[known] = np.bincount(owners, weights=alone, minlength=len(chosen))[known]
    return energies


def save_predictions(path: Path, predictions: Predictions, store: Store) -> None:
    """Writes predictions, whole or not at all.

    Args:
        path: The ``.safetensors`` file.
        predictions: What to write.
        store: The data set they belong to.
    """
    arrays = {name: np.ascontiguousarray(value) for name, value in vars(predictions).items()}
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={"lorem": json.dumps({"store": store.content_hash})})


def read_predictions(path: Path, store: Store) -> Predictions:
    """Reads predictions.

    Args:
        path: The ``.safetensors`` file.
        store: The data set they must belong to.

    Raises:
        ModelFileError: If the file is missing, damaged, or of other data.
    """
    try:
        with safe_open(path, "np") as content:
            about = json.loads(content.metadata()["lorem"])
            predictions = Predictions(**{name: content.get_tensor(name) for name in content.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path}: must hold predictions ({error}). Run `lorem-openmm evaluate` first.") from None
    if about["store"] != store.content_hash:
        raise ModelFileError(f"{path}: was made from other data than {store.path}. Evaluate the run again.")
    return predictions


def find_fragments(store: Store, cutoff: float) -> np.ndarray:
    """Numbers the groups of atoms that neighbours within the cutoff join, from 0 over the whole data set: [n_atoms].

    A structure with several groups has parts whose interaction no short-range model with this cutoff can see.

    Args:
        store: The data set.
        cutoff: Å.
    """
    sizes, n_edges = np.diff(store["atom_offsets"]), np.diff(store["edge_offsets"])
    structure = np.repeat(np.arange(len(store)), n_edges)
    first = store["atom_offsets"][:-1][structure]
    centers, neighbors = store["centers"] + first, store["neighbors"] + first
    vectors = store["positions"][neighbors] - store["positions"][centers]
    if store["periodic"].any():
        vectors = vectors + np.einsum("ea,eab->eb", store["cell_shifts"].astype(np.float64), store["cell"][structure])
    within = np.einsum("ea,ea->e", vectors, vectors) < cutoff**2
    n_atoms = int(sizes.sum())
    joined = coo_matrix((np.ones(within.sum(), dtype=bool), (centers[within], neighbors[within])), (n_atoms, n_atoms))
    return np.asarray(connected_components(joined, directed=False)[1], dtype=np.int64)


def is_separated(store: Store, fragments: np.ndarray) -> np.ndarray:
    """Whether a structure has several groups of atoms: [n_structures].

    Args:
        store: The data set.
        fragments: Result of :func:`find_fragments`.
    """
    return np.bincount(fragment_owners(store, fragments), minlength=len(store)) > 1


def fragment_owners(store: Store, fragments: np.ndarray) -> np.ndarray:
    """Returns the structure of each group of atoms: [n_fragments].

    Args:
        store: The data set.
        fragments: Result of :func:`find_fragments`.
    """
    owners = np.zeros(fragments.max(initial=-1) + 1, dtype=np.int64)
    owners[fragments] = np.repeat(np.arange(len(store)), np.diff(store["atom_offsets"]))
    return owners


def fragment_forces(forces: np.ndarray, fragments: np.ndarray) -> np.ndarray:
    """Sums the forces over each group of atoms: [n_fragments, 3].

    Args:
        forces: [n_atoms, 3].
        fragments: [n_atoms] from :func:`find_fragments`.
    """
    return np.stack([np.bincount(fragments, weights=forces[:, axis]) for axis in range(3)], axis=1)


def predicted_zero(predictions: Predictions, store: Store, curve: np.ndarray) -> float:
    """Returns the energy in eV to measure a predicted curve from: that of the molecules alone, as predicted.

    A curve that is measured from the labels' molecules ends at the model's error in them, not at zero. Where molecules
    cannot be told apart, the reference's zero is taken.

    Args:
        predictions: Predictions of the potential.
        store: The data set.
        curve: Structures in order of their separation.
    """
    apart = float(predictions.apart[curve[-1]])
    return apart if np.isfinite(apart) else reference_zero(store, curve)
