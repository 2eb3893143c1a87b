"""Output folders as a finished workflow leaves them, with made-up numbers: good ones, unless a test says so."""

from pathlib import Path

import numpy as np
from ase import Atoms

from lorem_openmm import config
from lorem_openmm.files import write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.sampling.fragments import all_fragments, fragment
from lorem_openmm.units import COULOMB_EV_ANGSTROM

FRAGMENTS = ["acetate", "methylammonium", "methanol", "acetamide", "propane"]
PNG = b"\x89PNG\r\n\x1a\n"


def settings(folder: Path, **changes: object) -> config.Config:
    """Two runs on dimers, one of them without long range, a simulation and an umbrella sampling."""
    values = {
        "output": str(folder),
        "datasets": {"pairs": {"label": {"kind": "dimers", "fragments": FRAGMENTS}}},
        "models": {"long": {}, "short": {"long_range": False}},
        "training": {"quick": {}},
        "runs": {
            "dimers": {"datasets": ["pairs"], "model": "long", "training": "quick"},
            "dimers_short": {"datasets": ["pairs"], "model": "short", "training": "quick"},
        },
        "simulations": {"bridge": {"run": "dimers", "start": "dimer:acetate,methylammonium,3.0", "steps": 4000}},
        "umbrellas": {
            "pull": {
                "run": "dimers",
                "start": "dimer:acetate,methylammonium,3.0",
                "coordinate": "center_distance",
                "first": 3.0,
                "last": 6.0,
                "num_windows": 2,
            }
        },
    }
    return config.parse(config.Config, values | changes, "made")


def errors(split: str, group: str = "all", label: str = "", **values: float) -> dict[str, object]:
    """A row of metrics.json."""
    keys = {"dataset": "pairs", "split": split, "group": group, "class": label, "separation": "", "n_structures": 40}
    return keys | values


def rows(
    energy: float = 1.5, forces: float = 50.0, interaction: float = 4.0, r2: float = 0.9
) -> list[dict[str, object]]:
    return [
        errors("train", energy_mae=0.1, forces_rmse=1.0),
        errors("validation", energy_mae=1.0, forces_rmse=40.0, forces_r2=0.99),
        errors("test", energy_mae=energy, forces_rmse=forces, forces_r2=r2),
        errors("test", "beyond cutoff, by class", "CC", fragment_force_rmse=interaction),
        errors("test", "beyond cutoff, by class", "AA", fragment_force_rmse=0.5),
        errors("train", "beyond cutoff, by class", "AA", fragment_force_rmse=99.0),
    ]


def summary(verdict: dict[str, object] | None = None, steps: int = 4000, **changes: object) -> dict[str, object]:
    """A simulation's summary.json."""
    stable = {"stable": True, "reason": None, "time_ps": None, "step": None, "watched": ["bonds", "temperature"]}
    return {
        "verdict": stable if verdict is None else verdict,
        "settings": {"friction_per_ps": 1.0, "temperature": 300.0},
        "steps": steps,
        "time_ps": steps * 5e-4,
        "degrees_of_freedom": 42,
        "temperature_mean": 290.0,
    } | changes


def profile(**changes: object) -> dict[str, object]:
    """A free energy's summary.json."""
    return {
        "smallest_overlap": {"value": 0.2, "windows": [0, 1]},
        "windows": [{"n_samples": 50}, {"n_samples": 60}],
        "free_energy": {"well_depth": {"ev": 0.4, "error_ev": 0.01}},
        "warnings": [],
    } | changes


def write_results(layout: Layout) -> None:
    """Everything that the verdict reads but model files."""
    for run in ("dimers", "dimers_short"):
        write_json(layout.evaluation(run) / "metrics.json", {"rows": rows()})
        write_text(layout.run(run) / "metrics.csv", "epoch,seconds\n1,30.0\n2,30.0\n")
        write_json(layout.run(run) / "result.json", {"epoch": 2, "metrics": {}})
        (layout.evaluation(run) / "parity_pairs.png").write_bytes(PNG)
    counts = {"all": 140, "train": 80, "validation": 20, "test": 40}
    write_json(layout.root / "data" / "pairs.json", {"counts": counts, "atoms_per_structure": {"mean": 19.0}})
    write_json(layout.simulation("bridge") / "summary.json", summary())
    for index in range(2):
        write_json(layout.window("pull", index) / "summary.json", summary(steps=2000))
    write_json(layout.free_energy("pull") / "summary.json", profile())


def moments_as_charges(name: str) -> np.ndarray:
    """Charges [n_atoms] of the relaxed fragment's atoms with its charge, dipole and quadrupole, as far as they can."""
    item = fragment(name)
    r = item.positions
    squares = 0.5 * (3 * r[:, :, None] * r[:, None, :] - (r**2).sum(1)[:, None, None] * np.eye(3))
    equations = np.vstack([np.ones(len(r)), r.T, squares.reshape(len(r), 9).T])
    wanted = np.concatenate([[item.charge], item.dipole, item.quadrupole.ravel()])
    return np.linalg.lstsq(equations, wanted, rcond=None)[0]


def point_charges(structures: list[Atoms], extra: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Energies of point charges times ``scale``, and of molecules that repel one another as ``extra`` / distance."""
    molecules = {name: (item.numbers, moments_as_charges(name)) for name, item in all_fragments().items()}
    return np.array([_energy(atoms, molecules, extra, scale) for atoms in structures])


def _energy(atoms: Atoms, molecules: dict, extra: float, scale: float) -> float:
    for first in FRAGMENTS:
        for second in FRAGMENTS:
            numbers = np.concatenate([molecules[first][0], molecules[second][0]])
            if len(numbers) == len(atoms) and (numbers == atoms.numbers).all():
                n = len(molecules[first][0])
                a, b = atoms.positions[:n], atoms.positions[n:]
                distances = np.linalg.norm(a[:, None] - b[None], axis=2)
                charges = np.outer(molecules[first][1], molecules[second][1])
                coulomb = COULOMB_EV_ANGSTROM * (charges / distances).sum()
                centers = np.linalg.norm(a.mean(axis=0) - b.mean(axis=0))
                return float(scale * coulomb + extra / centers)
    return 0.0
