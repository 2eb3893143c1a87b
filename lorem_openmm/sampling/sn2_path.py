"""The reference path of an S_N2 reaction X⁻ + CH₃Y → CH₃X + Y⁻, in closed form.

With the reaction coordinate ξ = r(C–X) − r(C–Y), the bond lengths R of the free methyl halides and
u = ξ − (R_X − R_Y):

    r(C–X) + r(C–Y) = R_X + R_Y + (u⁶ + (δ_X + δ_Y)⁶)^(1/6)
    height of the H atoms = −0.36 Å · tanh(u / 0.7 Å), away from the bound halogen

It is smooth, needs no engine, and follows the relaxed GFN2-xTB paths of F, Cl, Br and I within about 0.02 Å.
"""

import numpy as np
from ase import Atoms

from lorem_openmm.errors import ConfigError

# C–Y bond of CH3Y and its stretch δ at the barrier of X = Y, in Å (GFN2-xTB).
BONDS = {"F": 1.372, "Cl": 1.762, "Br": 1.917, "I": 2.135}
STRETCHES = {"F": 0.454, "Cl": 0.450, "Br": 0.505, "I": 0.482}
UMBRELLA_HEIGHT, UMBRELLA_WIDTH = 0.36, 0.7
CH_PLANAR, CH_PYRAMIDAL = 1.068, 1.085

X, C, Y = 0, 1, 2  # order of the atoms; the hydrogens follow


def sn2_path_point(x: str, y: str, coordinate: float) -> Atoms:
    """Returns the collinear complex [X–CH₃–Y]⁻ at a reaction coordinate.

    Args:
        x: Symbol of the halogen X, on −z.
        y: Symbol of the halogen Y, on +z; for large positive coordinates it is the bound one.
        coordinate: ξ = r(C–X) − r(C–Y) in Å.

    Returns:
        Atoms in the order X, C, Y, H, H, H with C at the origin.

    Raises:
        ConfigError: If a symbol is not one of F, Cl, Br, I.
    """
    _check(x, y)
    shifted = coordinate - (BONDS[x] - BONDS[y])
    barrier = STRETCHES[x] + STRETCHES[y]
    total = BONDS[x] + BONDS[y] + (shifted**6 + barrier**6) ** (1 / 6)
    pyramidal = np.tanh(shifted / UMBRELLA_WIDTH)
    height = -UMBRELLA_HEIGHT * pyramidal  # H atoms lean away from the bound halogen
    bond = CH_PLANAR + (CH_PYRAMIDAL - CH_PLANAR) * pyramidal**2
    radius = np.sqrt(bond**2 - height**2)
    angles = 2 * np.pi * np.arange(3) / 3
    hydrogens = np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(3, height)], axis=1)
    axis = np.array([[0, 0, -(total + coordinate) / 2], [0, 0, 0], [0, 0, (total - coordinate) / 2]])
    return Atoms(symbols=[x, "C", y, "H", "H", "H"], positions=np.vstack([axis, hydrogens]))


def sn2_complex(x: str, y: str, separation: float) -> Atoms:
    """Returns X⁻ on the backside of CH₃Y at a given C–X distance, relaxed along the analytic path.

    Args:
        x: Symbol of the incoming halogen.
        y: Symbol of the bound halogen.
        separation: C–X distance in Å, at least that of the barrier.

    Raises:
        ConfigError: If a symbol is unknown or the separation lies on the other side of the barrier.
    """
    return sn2_path_point(x, y, coordinate_at(x, y, separation))


def methyl_halide(y: str) -> Atoms:
    """Returns the free CH₃Y: atoms C, Y, H, H, H."""
    return sn2_path_point(y, y, 50.0)[[C, Y, 3, 4, 5]]


def coordinate_at(x: str, y: str, separation: float) -> float:
    """Returns the reaction coordinate ξ in Å at which r(C–X) = separation, on the reactants' side.

    Raises:
        ConfigError: If the separation is shorter than at the barrier.
    """
    _check(x, y)
    low, high = BONDS[x] - BONDS[y], 2 * separation + 10
    nearest = barrier_distance(x, y)
    if separation < nearest - 1e-9:
        raise ConfigError(
            f"sn2: the C-{x} distance must be at least that of the barrier, {nearest:.2f} Å; received {separation} Å"
        )
    for _ in range(60):  # r(C–X) grows with ξ
        middle = 0.5 * (low + high)
        if sn2_path_point(x, y, middle).get_distance(X, C) < separation:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def barrier_distance(x: str, y: str, forward: bool = True) -> float:
    """Returns r(C–X) in Å at u = 0, where both bonds are stretched most; r(C–Y) there if not ``forward``."""
    return sn2_path_point(x, y, BONDS[x] - BONDS[y]).get_distance(X if forward else Y, C)


def profile_coordinates(x: str, y: str, max_separation: float, count: int) -> np.ndarray:
    """Returns reaction coordinates [count] in Å from the products to the reactants, densest at the barrier."""
    ends = -coordinate_at(y, x, max_separation), coordinate_at(x, y, max_separation)
    middle = BONDS[x] - BONDS[y]
    steps = np.linspace(-1, 1, count)
    spread = 0.35 * steps + 0.65 * steps**3
    return np.where(steps < 0, middle - spread * (ends[0] - middle), middle + spread * (ends[1] - middle))


def _check(*symbols: str) -> None:
    for symbol in symbols:
        if symbol not in BONDS:
            raise ConfigError(f"reactions: the halogens are {', '.join(BONDS)}; received '{symbol}'")
