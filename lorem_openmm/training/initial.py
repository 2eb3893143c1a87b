"""Fine-tuning: a training that starts from the weights of another one."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from lorem_openmm.config import Model, Run
from lorem_openmm.data.baseline import as_table, composition_energies
from lorem_openmm.data.checks import MAX_ENERGY_PER_ATOM
from lorem_openmm.data.store import Store, joint_baseline
from lorem_openmm.errors import ConfigError
from lorem_openmm.potential import Potential


def check_initial(run: Run, run_name: str, model: Model, initial: Potential | None) -> None:
    """Refuses to start from weights that are missing, not asked for, or of another model.

    Args:
        run: The run.
        run_name: Its name, for the error.
        model: Its hyper-parameters.
        initial: The model to start from.

    Raises:
        ConfigError: Naming the hyper-parameters that differ.
    """
    where = f"runs.{run_name}.initial_model"
    if (run.initial_model is None) != (initial is None):
        raise ConfigError(
            f"{where}: is {run.initial_model!r} in the configuration, but {'no' if initial is None else 'a'} model was "
            "given to start from. Read it with integrations.initial_model.read_initial_model and pass it as `initial`."
        )
    if initial is None:
        return
    theirs, ours = _effective(initial.model.hyperparameters), _effective(model)
    names = [name for name in ours if ours[name] != theirs[name]]
    if names:
        lines = [f"  {name}: {theirs[name]!r} there, {ours[name]!r} in models.{run.model}" for name in names]
        raise ConfigError(
            f"{where}: {run.initial_model} must have the hyper-parameters of the run's model, but differs in\n"
            + "\n".join(lines)
            + f"\nGive models.{run.model} these values, or start from another model."
        )


def _effective(model: Model) -> dict[str, Any]:
    """Returns hyper-parameters with the widths of the Ewald sum that are in force."""
    return model.model_dump() | {"smearing": model.smearing_in_force, "wavelength": model.wavelength_in_force}


def choose_baseline(run: Run, run_name: str, data: Sequence[Store], initial: Potential | None) -> dict[int, float]:
    """Returns the energies per element in eV: fitted to the training set, or those of the initial model.

    Data of another method have other zeros of energy, so that they are fitted unless ``keep_baseline`` says otherwise.

    Args:
        run: The run.
        run_name: Its name, for the error.
        data: Its data sets.
        initial: The model to start from, if any.

    Raises:
        ConfigError: If a baseline is to be kept that lacks elements or belongs to another zero of energy.
        DataError: If the data sets have no training structure, or different zeros of energy.
    """
    fitted = joint_baseline(list(data)).energies
    if initial is None or not run.keep_baseline:
        return fitted
    where = f"runs.{run_name}.keep_baseline"
    missing = sorted(set(fitted) - set(initial.baseline))
    if missing:
        raise ConfigError(
            f"{where}: {run.initial_model} must have an energy of each element of the data, but lacks "
            f"{_symbols(missing)}. Leave `keep_baseline` out: the energies are then fitted to the data."
        )
    table = as_table(initial.baseline)
    for store in data:
        offsets = store["atom_offsets"]
        rest = (store["energy"] - composition_energies(table, store["atomic_numbers"], offsets)) / np.diff(offsets)
        largest = float(np.abs(rest[store.indices("train")]).max(initial=0.0))
        if largest > MAX_ENERGY_PER_ATOM:
            raise ConfigError(
                f"{where}: the data must have the zero of energy of {run.initial_model}, but its energies per element "
                f"leave up to {largest:.4g} eV per atom in {store.path} (allowed: {MAX_ENERGY_PER_ATOM:g}). Leave "
                "`keep_baseline` out: the energies are then fitted to the data."
            )
    return dict(initial.baseline)


def initial_identity(run: Run, initial: Potential | None) -> dict[str, Any]:
    """Returns what decides how a training goes besides settings and data: the weights it starts from, by hash.

    Args:
        run: The run.
        initial: The model to start from, if any.
    """
    if initial is None:
        return {}
    baseline = dict(initial.baseline) if run.keep_baseline else {}
    kept = {f"baseline.{chemical_symbols[number]}": energy for number, energy in baseline.items()}
    return {"initial": {"weights (sha256)": weights_hash(initial), **kept}}


def weights_hash(potential: Potential) -> str:
    """Returns the SHA-256 of all weights in float32, by name, whatever file they are from.

    Args:
        potential: The model.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(potential.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def notes(baseline: dict[int, float], initial: Potential) -> list[str]:
    """Returns what the log says of the start.

    Args:
        baseline: The energies per element of the training.
        initial: The model it starts from.
    """
    lines = [f"starts from the weights {weights_hash(initial)[:12]}"]
    new = sorted(set(baseline) - set(initial.baseline))
    if new:
        lines.append(f"elements the initial model was not trained on, which start untrained: {_symbols(new)}")
    return lines


def _symbols(atomic_numbers: Sequence[int]) -> str:
    """Returns element symbols, comma-separated."""
    return ", ".join(chemical_symbols[number] for number in atomic_numbers)
