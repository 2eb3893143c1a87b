"""Small data sets made on the spot."""

from pathlib import Path

import pytest
from made_frames import isolated_atom, labelled_atoms, write_frames

from lorem_openmm import config
from lorem_openmm.data.prepare import prepare_dataset
from lorem_openmm.data.store import Store, read_store


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "molecules.xyz", [labelled_atoms(index) for index in range(40)])


@pytest.fixture(scope="session")
def mixed_stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """Molecules with a cutoff of 5 Å, and molecules and crystals mixed with one of 4 Å."""
    folder = tmp_path_factory.mktemp("stores")
    sets = {
        "molecules": ([isolated_atom(8), *(labelled_atoms(index) for index in range(40))], 5.0),
        "mixed": ([labelled_atoms(index, index % 2 == 0, index % 4 == 0) for index in range(40, 70)], 4.0),
    }
    stores = []
    for name, (frames, cutoff) in sets.items():
        dataset = config.Dataset(
            structures=str(write_frames(folder / f"{name}.xyz", frames)),
            stress_key="stress" if name == "mixed" else None,
            class_key="label",
            separation_key="distance",
        )
        prepare_dataset(dataset, name, None, cutoff, folder / f"{name}.safetensors")
        stores.append(read_store(folder / f"{name}.safetensors"))
    return stores
