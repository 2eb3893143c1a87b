"""Reaction paths that the data set holds: barriers, and energies where the ion leaves the cutoff."""

from collections.abc import Iterator
from typing import NamedTuple

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
from lorem_openmm.verdict.lines import Line, at_most, first_figure, number
from lorem_openmm.verdict.trained import for_comparison

# kT at 300 K: an error of the energy along a coordinate is one of exp(−E/kT), which a free energy is made of.
PATH_LIMIT = 26.0  # meV


class PathErrors(NamedTuple):
    """Errors along the undisplaced path of a reaction, in meV.

    Attributes:
        reaction: Its name.
        barrier: Of the energy of the top above the complex on either side, the larger one.
        beyond: The largest of the energies at which the ion is beyond the cutoff, measured from the top; NaN: the path
            does not go there.
    """

    reaction: str
    barrier: float
    beyond: float


def path_lines(settings: config.Config, run_name: str, layout: Layout) -> Iterator[Line]:
    """Yields the lines on reaction paths of a run.

    Args:
        settings: The whole configuration.
        run_name: Which entry of ``runs``.
        layout: Where data and evaluation are.
    """
    run = settings.runs[run_name]
    for dataset in run.datasets:
        try:
            store = read_store(layout.store(dataset))
            predictions = read_predictions(layout.evaluation(run_name) / f"predictions_{dataset}.safetensors", store)
        except (DataError, ModelFileError):  # not made yet, which other lines say
            continue
        errors = path_errors(store, predictions.energy, settings.models[run.model].cutoff)
        if errors:
            counts = not for_comparison(settings, run_name)
            figure = first_figure(layout.root, f"evaluation/{run_name}/profile_{dataset}.png")
            for line in _lines(run_name, errors):
                yield line._replace(figure=figure, counts=counts)


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
        error = MEV_PER_EV * (energy[path] - reference)
        barrier = find_barrier(reference)
        if barrier is None:
            continue
        from_top = error - error[barrier.top]
        beyond = store["separation"][path] >= cutoff
        far = float(np.abs(from_top[beyond]).max()) if beyond.any() else np.nan
        wells = [barrier.low, barrier.high]
        found.append(PathErrors(reaction, float(np.abs(from_top[wells]).max()), far))
    return found


def _lines(run_name: str, errors: list[PathErrors]) -> Iterator[Line]:
    kinds = [
        ("Errors", "barriers from the complexes", "barrier", CHEMICAL_ACCURACY),
        ("Beyond the cutoff", "reaction paths where the ion is beyond the cutoff, from the top", "beyond", PATH_LIMIT),
    ]
    for section, check, name, bound in kinds:
        values = {item.reaction: getattr(item, name) for item in errors if not np.isnan(getattr(item, name))}
        if not values:
            continue
        worst = max(values, key=lambda reaction: values[reaction])
        yield Line(
            section,
            run_name,
            check,
            at_most(values[worst], bound),
            f"{number(values[worst])} meV",
            f"≤ {number(bound)} meV",
            values[worst],
            bound,
            "meV",
            f"the worst of {len(values)}: {worst}" if len(values) > 1 else worst,
        )
