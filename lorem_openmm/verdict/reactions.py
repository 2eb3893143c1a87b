"""Reaction paths that the data set holds: barriers, and energies where the ion leaves the cutoff."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lorem_openmm import config
from lorem_openmm.analysis.mbar import find_barrier
from lorem_openmm.data.store import Store, read_store
from lorem_openmm.errors import DataError, ModelFileError
from lorem_openmm.layout import Layout
from lorem_openmm.training.plots import find_profiles
from lorem_openmm.training.predictions import read_predictions
from lorem_openmm.units import MEV_PER_EV
from lorem_openmm.verdict.accuracy import CHEMICAL_ACCURACY
from lorem_openmm.verdict.lines import Line, bounded

# kT at 300 K: an error of the energy along a coordinate is one of exp(−E/kT), which a free energy is made of.
PATH_LIMIT = 26.0  # meV


@dataclass(frozen=True, eq=False)
class PathErrors:
    """Errors along the undisplaced path of a reaction, measured from the top of its barrier.

    Attributes:
        reaction: Its name.
        coordinate: [n] r(C–X) − r(C–Y) in Å, ascending.
        error: [n] meV.
        is_beyond: [n] whether the ion is beyond the cutoff of carbon.
        wells: Indices of the complexes on both sides of the barrier.
    """

    reaction: str
    coordinate: np.ndarray
    error: np.ndarray
    is_beyond: np.ndarray
    wells: list[int]

    @property
    def barrier(self) -> float:
        """Error in meV of the barrier as seen from the complexes, the larger one."""
        return float(np.abs(self.error[self.wells]).max())

    @property
    def beyond(self) -> float:
        """The largest error in meV where the ion is beyond the cutoff; NaN if the path does not go there."""
        return float(np.abs(self.error[self.is_beyond]).max()) if self.is_beyond.any() else np.nan


def run_paths(settings: config.Config, run_name: str, layout: Layout) -> list[PathErrors]:
    """Returns the errors along the reaction paths in the data of a run; nothing where it was not evaluated yet.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
        layout: Where data and evaluation are.
    """
    run, errors = settings.runs[run_name], []
    for dataset in run.datasets:
        try:
            store = read_store(layout.store(dataset))
            predictions = read_predictions(layout.evaluation(run_name) / f"predictions_{dataset}.safetensors", store)
        except (DataError, ModelFileError):  # not made yet, which other lines say
            continue
        errors += path_errors(store, predictions.energy, settings.models[run.model].cutoff)
    return errors


def path_errors(store: Store, energy: np.ndarray, cutoff: float) -> list[PathErrors]:
    """Returns the errors along each reaction path of a data set.

    Args:
        store: The data set.
        energy: [n_structures] eV, predicted.
        cutoff: Å.
    """
    found = []
    for reaction, path in find_profiles(store).items():
        reference = store["energy"][path]
        barrier = find_barrier(reference)
        if barrier is not None:
            error = MEV_PER_EV * (energy[path] - reference)
            coordinate, is_beyond = store.info("reaction_coordinate")[path], store["separation"][path] >= cutoff
            wells = [barrier.low, barrier.high]
            found.append(PathErrors(reaction, coordinate, error - error[barrier.top], is_beyond, wells))
    return found


def path_lines(errors: Sequence[PathErrors], run_name: str, figure: str, counts: bool) -> Iterator[Line]:
    """Yields the lines on reaction paths of a run: the worst of them.

    Args:
        errors: Errors of all paths.
        run_name: The run.
        figure: Path of their figure.
        counts: Whether the lines count.
    """
    kinds = [
        ("Errors", "barriers from the complexes", "barrier", CHEMICAL_ACCURACY),
        ("Beyond the cutoff", "reaction paths where the ion is beyond the cutoff, from the top", "beyond", PATH_LIMIT),
    ]
    for section, check, name, bound in kinds:
        values = {item.reaction: getattr(item, name) for item in errors if not np.isnan(getattr(item, name))}
        if not values:
            continue
        worst = max(values, key=lambda reaction: values[reaction])
        note = f"the worst of {len(values)}: {worst}" if len(values) > 1 else worst
        line = bounded(section, check, values[worst], bound, "meV", note)
        yield line._replace(subject=run_name, figure=figure, counts=counts)
