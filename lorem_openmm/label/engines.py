"""Quantum-chemistry engines behind one interface: tblite (xTB) and PySCF (Hartree-Fock and DFT).

An engine labels one structure in one way, or says why it could not. Which settings to try in which order is part
of the engine (`Engine.attempts`); whether a result is a state worth keeping is decided in `acceptance`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from lorem_openmm import config
from lorem_openmm.errors import ConfigError, did_you_mean
from lorem_openmm.extras import import_optional
from lorem_openmm.units import ANGSTROM_PER_BOHR, EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR, EV_PER_HARTREE


class Label(NamedTuple):
    """What an engine says about one structure.

    Attributes:
        energy: Total energy in eV.
        forces: [n_atoms, 3] forces in eV/Å.
        charges: [n_atoms] atomic partial charges in e; tblite: Mulliken, PySCF: meta-Löwdin.
        stress: [3, 3] (1/Ω) ∂E/∂ε in eV/Å³, of periodic structures.
    """

    energy: float
    forces: np.ndarray
    charges: np.ndarray
    stress: np.ndarray | None = None


class EngineFailure(Exception):  # noqa: N818 (an outcome to count, not an error to report)
    """The self-consistent field did not converge, or the engine refused the structure.

    Attributes:
        reason: One word for the counts of rejected frames.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Attempt(NamedTuple):
    """Settings of the self-consistent field to try, safest last.

    Attributes:
        name: Word written into the frames labelled this way.
        settings: The engine's own options.
    """

    name: str
    settings: Mapping[str, Any]


class Engine(ABC):
    """Labels structures: total energy, forces and partial charges of a closed-shell molecule.

    Attributes:
        name: Package that does the work.
        method: Its method, as written into the frames.
        version: Version of the package.
        attempts: Settings to try, in this order, until a result passes the checks.
        contact_charge: Charge in e that molecules whose van der Waals surfaces just touch may share for chemical
            reasons, in this engine's partial charges.
        contact_length: Length in Å over which that dies out as the surfaces part.
    """

    name: str
    method: str
    version: str
    attempts: tuple[Attempt, ...]
    contact_charge: float
    contact_length: float

    @abstractmethod
    def calculate(self, atoms: Atoms, charge: int, attempt: Attempt) -> Label:
        """Labels one structure.

        Args:
            atoms: The structure; positions in Å; a cell only if periodic in all directions (tblite).
            charge: Total charge in e; the number of electrons must be even.
            attempt: One of `attempts`.

        Raises:
            EngineFailure: If there is no converged result.
        """


class TbliteEngine(Engine):
    """Extended tight binding (GFN1-xTB, GFN2-xTB, IPEA1-xTB): milliseconds per structure.

    In a periodic cell the Brillouin zone is sampled at Γ alone, so the energy depends on how often a crystal's cell is
    repeated: choose cells in which that is small (16 waters: 0.1 meV per atom). GFN2-xTB is 6 to 11 times as slow there
    as GFN1-xTB.

    References:
        GFN2-xTB: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
        GFN1-xTB: Grimme, Bannwarth, Shushkov, J. Chem. Theory Comput. 13, 1989 (2017).
        IPEA1-xTB: Ásgeirsson, Bauer, Grimme, Chem. Sci. 8, 4879 (2017).
    """

    name = "tblite"
    # About three times what hydrogen bonds and ion-dipole complexes share whose levels cannot leak (measured).
    contact_charge, contact_length = 0.02, 0.35
    methods = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")
    # Energies converge to about 1e-8 eV, forces agree with differences of energies to 1e-4 eV/Å. The history of
    # the Broyden mixer is short because its cost grows with the square of the history: a run that does not
    # converge takes 0.05 s instead of 0.4 s. The cold attempt comes second because at 300 K electrons leak
    # between fragments whose frontier levels lie within a few tenths of an eV, which 30 K undoes.
    attempts = (
        Attempt("default", {}),
        Attempt("cold", {"temperature": 1e-4}),
        Attempt("damped", {"mixer-damping": 0.1, "max-iter": 500}),
        Attempt("cold-damped", {"temperature": 1e-4, "mixer-damping": 0.1, "max-iter": 500}),
    )
    common: Mapping[str, Any] = {"verbosity": 0, "accuracy": 0.01, "mixer-memory": 30}

    def __init__(self, method: str) -> None:
        if method not in self.methods:
            raise ConfigError(
                f"engine.method: tblite knows {', '.join(self.methods)}; received '{method}'."
                f"{did_you_mean(method, self.methods)}"
            )
        self._interface = import_optional("tblite.interface", "labelling with tblite", "label")
        self._exceptions = import_module("tblite.exceptions")
        self.method = method
        self.version = version("tblite")

    def calculate(self, atoms: Atoms, charge: int, attempt: Attempt) -> Label:
        """Labels one structure, starting from the superposition of atoms each time (no memory of earlier ones)."""
        failures = (self._exceptions.TBLiteRuntimeError, self._exceptions.TBLiteValueError)
        box = {}
        if atoms.pbc.all():
            box = {"lattice": atoms.cell[:] / ANGSTROM_PER_BOHR, "periodic": np.array([True] * 3)}
        try:
            calculator = self._interface.Calculator(
                self.method, atoms.numbers, atoms.positions / ANGSTROM_PER_BOHR, charge=float(charge), **box
            )
            for key, value in {**self.common, **attempt.settings}.items():
                calculator.set(key, value)
            result = calculator.singlepoint()
        except failures as error:
            reason = "not_converged" if "not converged" in str(error) else "engine_error"
            raise EngineFailure(reason, str(error).strip()) from None
        return Label(
            float(result.get("energy")) * EV_PER_HARTREE,
            -np.asarray(result.get("gradient")) * EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR,
            np.asarray(result.get("charges")),
            np.asarray(result.get("virial")) * EV_PER_HARTREE / atoms.get_volume() if box else None,
        )


class PyscfEngine(Engine):
    """Hartree-Fock or Kohn-Sham DFT in a Gaussian basis with density fitting: seconds per structure.

    References:
        Sun et al., J. Chem. Phys. 153, 024109 (2020).
    """

    name = "pyscf"
    # Basis functions reach farther than xTB's minimal ones: X- + CH3Y shares 0.04 e at a gap of 0.5 Å in PBE0.
    contact_charge, contact_length = 0.15, 0.5
    attempts = (
        Attempt("default", {}),
        Attempt("level-shift", {"level_shift": 0.3, "max_cycle": 200}),
        Attempt("second-order", {"newton": True, "max_cycle": 100}),
    )

    def __init__(self, functional: str, basis: str) -> None:
        self._pyscf = import_optional("pyscf", "labelling with PySCF", "pyscf")
        for module in ("gto", "scf", "dft", "df", "grad", "lo", "lib"):
            import_module(f"pyscf.{module}")
        self._functional = functional
        self._basis = basis
        self.method = f"{functional}/{basis}"
        self.version = version("pyscf")
        self._check_names()

    def calculate(self, atoms: Atoms, charge: int, attempt: Attempt) -> Label:
        """Labels one structure, starting from PySCF's own guess each time."""
        pyscf = self._pyscf
        pyscf.lib.num_threads(1)
        geometry = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True))
        try:
            molecule = pyscf.gto.M(atom=geometry, basis=self._basis, charge=int(charge), unit="Angstrom", verbose=0)
            field = self._field(molecule, attempt.settings)
            field.kernel()
            if not field.converged:
                raise EngineFailure("not_converged", f"no self-consistency after {field.max_cycle} cycles")
            gradient = field.nuc_grad_method().kernel()
            charges = field.mulliken_meta(verbose=0)[1]
        except (ArithmeticError, RuntimeError, ValueError) as error:
            raise EngineFailure("engine_error", str(error)) from None
        return Label(
            float(field.e_tot) * EV_PER_HARTREE,
            -np.asarray(gradient) * EV_PER_ANGSTROM_PER_HARTREE_PER_BOHR,
            np.asarray(charges),
        )

    def _field(self, molecule: Any, settings: Mapping[str, Any]) -> Any:
        if self._functional.upper() == "HF":
            field = self._pyscf.scf.RHF(molecule).density_fit()
        else:
            field = self._pyscf.dft.RKS(molecule, xc=self._functional).density_fit()
        field.conv_tol = 1e-9
        field.level_shift = settings.get("level_shift", 0.0)
        field.max_cycle = settings.get("max_cycle", 50)
        return field.newton() if settings.get("newton") else field

    def _check_names(self) -> None:
        pyscf = self._pyscf
        try:
            if self._functional.upper() != "HF":
                pyscf.dft.libxc.parse_xc(self._functional)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"engine.method: must be HF or a functional PySCF knows; received '{self._functional}' ({error})"
            ) from None
        try:
            pyscf.gto.M(atom="H 0 0 0; H 0 0 0.74", basis=self._basis, verbose=0)
        except (KeyError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"engine.basis: must be a basis set PySCF knows; received '{self._basis}' ({error})"
            ) from None


def create_engine(section: config.Engine) -> Engine:
    """Builds the engine that the configuration names.

    Raises:
        ConfigError: If the method or the basis set is unknown to the engine.
        MissingExtraError: If the engine's package is missing; the message says what to install.
    """
    if section.name == "tblite":
        return TbliteEngine(section.method)
    return PyscfEngine(section.method, section.basis)
