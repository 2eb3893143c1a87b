"""Trains explicit charges on dipoles of hydrogen chloride; then dipole, polar tensors, a field and the spectrum."""

import argparse
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet

import lorem_openmm
from lorem_openmm import cli
from lorem_openmm.analysis.infrared import infrared_spectrum, write_infrared
from lorem_openmm.units import CENTIMETER_PER_FEMTOSECOND

DEPTH, STEEPNESS, LENGTH, CHARGE = 4.62, 1.867, 1.2746, 0.18  # eV, 1/Å, Å, e: Morse curve and dipole of HCl


def made_data(path, count):
    """Writes molecules of 1.05 to 1.6 Å in any direction, with energy, forces and dipole."""
    random, frames = np.random.default_rng(0), []
    for length in random.uniform(1.05, 1.6, count):
        direction = random.normal(size=3)
        direction /= np.linalg.norm(direction)
        decay = np.exp(-STEEPNESS * (length - LENGTH))
        slope = 2 * DEPTH * STEEPNESS * (1 - decay) * decay
        atoms = Atoms("HCl", [length * direction, np.zeros(3)])
        atoms.calc = SinglePointCalculator(
            atoms, energy=DEPTH * ((1 - decay) ** 2 - 1), forces=np.array([-slope * direction, slope * direction])
        )
        atoms.info |= {"dipole": CHARGE * length * direction, "charge": 0}
        frames.append(atoms)
    write(path, frames, format="extxyz")


def stretched(length, **options):
    """Returns a molecule along x with its calculator."""
    return Atoms(
        "HCl", [[length, 0, 0], [0, 0, 0]], calculator=lorem_openmm.LoremCalculator(dtype="float64", **options)
    )


def relaxed_length(**options):
    """Returns the bond length at which the bond is not pulled at, by bisection."""
    shortest, longest = 1.15, 1.45
    for _ in range(30):
        middle = 0.5 * (shortest + longest)
        pull = np.subtract(*stretched(middle, **options).get_forces()[:, 0])
        shortest, longest = (middle, longest) if pull > 0 else (shortest, middle)
    return middle


def main():
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60, help="of the training")
    parser.add_argument("--steps", type=int, default=4000, help="of dynamics, 0.5 fs each")
    parser.add_argument("--output", type=Path, default=Path("electric"), help="folder for everything that is made")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    made_data(options.output / "hcl.xyz", 200)
    size = {"cutoff": 4.0, "max_degree": 1, "max_charge_degree": 1, "num_features": 16, "num_radial": 16}
    size |= {"num_spherical_features": 2, "norm_smoothing": 0.1, "long_range": {"kind": "coulomb_charges"}}
    schedule = {"epochs": options.epochs, "batch_size": 10, "learning_rate": 1e-2, "constant_epochs": 10}
    settings = {
        "output": str(options.output),
        "datasets": {"hcl": {"structures": str(options.output / "hcl.xyz")}},
        "models": {"charged": size},
        "training": {"quick": schedule | {"dipole_weight": 100.0, "net_charge_weight": 0.1}},
        "runs": {"hcl": {"datasets": ["hcl"], "model": "charged", "training": "quick"}},
    }
    configuration = options.output / "hcl.yaml"
    configuration.write_text(yaml.safe_dump(settings))
    for command in ("prepare", "train", "export"):
        if failed := cli.main([command, "hcl", "--config", str(configuration)]):
            raise SystemExit(failed)

    model = options.output / "models" / "hcl.safetensors"
    length = relaxed_length(model=model)
    atoms = stretched(length, model=model)
    print(f"dipole: {atoms.get_dipole_moment()[0]:.4f} e A, of the data {CHARGE * length:.4f} e A")
    tensors = atoms.calc.get_property("born_effective_charges", atoms)
    print("polar tensor of H, xx yy zz:", *(f"{value:.4f}" for value in np.diag(tensors[0])))
    print("sum over the atoms, xx:", f"{tensors[:, 0, 0].sum():.4f}")
    longer = relaxed_length(model=model, electric_field=(0.5, 0.0, 0.0)) - length
    stiffness = 2 * DEPTH * STEEPNESS**2
    print(f"bond in a field of 0.5 V/A: {longer:.4f} A longer, expected about {0.5 * CHARGE / stiffness:.4f} A")

    # Vibration with the energy kT at 300 K, along the bond.
    masses = atoms.get_masses()
    reduced, speed = masses.prod() / masses.sum(), np.sqrt(2 * units.kB * 300 / masses[0])
    speed *= np.sqrt(reduced / masses[0])
    atoms.set_velocities([[speed, 0, 0], [-speed * masses[0] / masses[1], 0, 0]])
    dynamics, dipoles = VelocityVerlet(atoms, 0.5 * units.fs), []
    dynamics.attach(lambda: dipoles.append(atoms.get_dipole_moment()))
    dynamics.run(options.steps)
    spectrum = infrared_spectrum(np.array(dipoles), 0.5, 300.0, resolution=40.0)
    write_infrared(spectrum, options.output)
    forces = [stretched(length + step, model=model).get_forces()[0, 0] for step in (-0.005, 0.005)]
    frequency = np.sqrt((forces[0] - forces[1]) / 0.01 / reduced) * units.fs / (2 * np.pi * CENTIMETER_PER_FEMTOSECOND)
    wavenumber, absorption = (spectrum[name] for name in spectrum.columns)
    print(f"absorption at {wavenumber[absorption.idxmax()]:.1f} cm^-1, harmonic frequency {frequency:.1f} cm^-1")
    intensity = np.trapezoid(absorption, wavenumber)
    slope = tensors[0, 0, 0]
    print(f"intensity {intensity:.2f} km/mol, harmonic {974.88 * slope**2 / reduced:.2f} km/mol")


if __name__ == "__main__":
    main()
