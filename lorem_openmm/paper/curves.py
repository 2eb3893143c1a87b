"""Energies along a coordinate: finding the structures, what runs predict for them, minima, and errors of the shape."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lorem_openmm.data.store import Store
from lorem_openmm.errors import DataError
from lorem_openmm.paper.sections import CurveStudy
from lorem_openmm.units import MEV_PER_EV

FEWEST_POINTS = 4
_TRUE = {"true", "t", "1", "1.0"}
_FALSE = {"false", "f", "0", "0.0"}


@dataclass(frozen=True, eq=False)
class Curve:
    """Energies of structures in order of a coordinate.

    Attributes:
        name: Value of the key that tells curves apart, or the data set's name.
        structures: [n_points] places in the store.
        x: [n_points] coordinate, ascending.
        reference: [n_points] eV.
        predicted: [n_points] eV by run.
    """

    name: str
    structures: np.ndarray
    x: np.ndarray
    reference: np.ndarray
    predicted: dict[str, np.ndarray]

    @property
    def lines(self) -> dict[str, np.ndarray]:
        """The reference and what each run predicts, by name: [n_points] eV."""
        return {"reference": self.reference, **self.predicted}


def find_curves(store: Store, study: CurveStudy) -> list[Curve]:
    """Returns the curves of a data set, without predictions.

    Args:
        store: The data set.
        study: Names the info keys.

    Raises:
        DataError: If a key is missing, or no curve has enough structures.
    """
    coordinate = store.info(study.coordinate)
    if coordinate.dtype == object:
        raise DataError(
            f"{store.path}: `coordinate` must name an info key with numbers, but '{study.coordinate}' has texts. Name "
            "another."
        )
    member = np.isfinite(coordinate)
    for key, wanted in study.only.items():
        member &= np.array([_same(value, wanted) for value in store.info(key)])
    labels = np.full(len(store), store.metadata["name"], dtype=object)
    if study.curve_by is not None:
        labels = np.array([_text(value) for value in store.info(study.curve_by)], dtype=object)
    curves = []
    for name in dict.fromkeys(labels[member]):
        chosen = np.flatnonzero(member & (labels == name))
        chosen = chosen[np.argsort(coordinate[chosen], kind="stable")]
        if len(chosen) >= FEWEST_POINTS:
            curves.append(Curve(str(name), chosen, coordinate[chosen], np.array(store["energy"][chosen]), {}))
    if not curves:
        raise DataError(
            f"{store.path}: no curve along '{study.coordinate}' has at least {FEWEST_POINTS} structures with "
            f"{study.only or 'any info'}. Correct `coordinate`, `curve_by` or `only` of the study."
        )
    curves.sort(key=lambda curve: -len(curve.x))
    return sorted(curves[: study.max_curves], key=lambda curve: curve.name)


def with_predictions(curves: list[Curve], energies: Mapping[str, np.ndarray]) -> list[Curve]:
    """Returns the curves with what runs say of them.

    Args:
        curves: Result of :func:`find_curves`.
        energies: [n_structures] eV of the whole data set by run.
    """
    return [
        replace(curve, predicted={run: all_[curve.structures] for run, all_ in energies.items()}) for curve in curves
    ]


def shape_error(reference: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the RMS error of a curve's shape, relative to the RMS of the reference's.

    ε = rms(ΔE − ⟨ΔE⟩) / rms(E − ⟨E⟩) with ΔE = predicted − E; 1 for a constant prediction, R² = 1 − ε².

    Args:
        reference: [n_points] E, eV.
        predicted: [n_points] eV.
    """
    return float(np.std(predicted - reference) / np.std(reference))


def minimum(x: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    """Returns place and energy of the minimum: of the parabola through the lowest point and those beside it.

    At an end of the curve it is the lowest point itself.

    Args:
        x: [n_points] ascending.
        energy: [n_points] eV.
    """
    lowest = int(np.argmin(energy))
    if lowest in (0, len(x) - 1):
        return float(x[lowest]), float(energy[lowest])
    near = slice(lowest - 1, lowest + 2)
    a, b, c = np.polyfit(x[near] - x[lowest], energy[near], 2)
    shift = -b / (2 * a) if a > 0 else 0.0
    return float(x[lowest] + shift), float(a * shift**2 + b * shift + c)


def curve_rows(curves: list[Curve], zero: str = "minimum") -> list[dict[str, Any]]:
    """Returns, for each curve and run: the minimum's place, the depth, and the error of the curve.

    The depth is the energy of the farthest structure above the minimum.

    Args:
        curves: Curves with predictions.
        zero: minimum or farthest: what is subtracted from a curve before its RMSE is taken.
    """
    rows = []
    for curve in curves:
        for run, energy in curve.lines.items():
            place, lowest = minimum(curve.x, energy)
            difference = shifted(curve.x, energy, zero) - shifted(curve.x, curve.reference, zero)
            rows.append(
                {
                    "curve": curve.name,
                    "run": run,
                    "minimum": place,
                    "depth (meV)": MEV_PER_EV * (float(energy[-1]) - lowest),
                    "rmse (meV)": MEV_PER_EV * float(np.sqrt(np.mean(difference**2))),
                    "shape error": shape_error(curve.reference, energy),
                }
            )
    return rows


def reaction_rows(curves: list[Curve], reactants: str) -> list[dict[str, Any]]:
    """Returns, for each reaction and run: barrier and reaction energy from the reactants, and the error of the curve.

    Args:
        curves: Curves with predictions.
        reactants: highest or lowest: the end of the coordinate where the reactants are.
    """
    first, last = (-1, 0) if reactants == "highest" else (0, -1)
    rows = []
    for curve in curves:
        for run, energy in curve.lines.items():
            difference = (energy - energy[first]) - (curve.reference - curve.reference[first])
            rows.append(
                {
                    "curve": curve.name,
                    "run": run,
                    "barrier (meV)": MEV_PER_EV * (barrier(energy) - float(energy[first])),
                    "reaction energy (meV)": MEV_PER_EV * float(energy[last] - energy[first]),
                    "rmse (meV)": MEV_PER_EV * float(np.sqrt(np.mean(difference**2))),
                }
            )
    return rows


def barrier(energy: np.ndarray) -> float:
    """Returns the barrier between two minima: the E_i for which E_i − max(min_{j≤i} E_j, min_{j≥i} E_j) is largest.

    Args:
        energy: [n_points] along the coordinate.
    """
    left = np.minimum.accumulate(energy)
    right = np.minimum.accumulate(energy[::-1])[::-1]
    return float(energy[int(np.argmax(energy - np.maximum(left, right)))])


def shifted(x: np.ndarray, energy: np.ndarray, zero: str) -> np.ndarray:
    """Returns a curve's energies in eV above its zero.

    Args:
        x: [n_points] ascending.
        energy: [n_points] eV.
        zero: minimum, farthest, or nearest.
    """
    if zero == "minimum":
        return energy - minimum(x, energy)[1]
    return energy - energy[-1 if zero == "farthest" else 0]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(value: Any, wanted: str | float | bool) -> bool:
    """Whether an info entry, which may have been read as text or number, has a value."""
    if isinstance(wanted, bool):
        return _text(value).lower() in (_TRUE if wanted else _FALSE)
    if isinstance(wanted, str):
        return _text(value) == wanted
    return not isinstance(value, str) and float(value) == wanted
