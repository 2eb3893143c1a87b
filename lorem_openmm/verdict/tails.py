"""How the interaction of two molecules ends: neutral ones at zero, ions at Coulomb's law.

E(d) − E(∞) of relaxed fragments whose centres of mass are d apart, in orientations drawn at random but always the same;
E(∞) is the energy of one alone plus that of the other. A model whose latent charges of a neutral molecule have a net
sum makes it attract or repel others as 1/d; ions that were never shown apart need not follow Coulomb's law.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lorem_openmm import config
from lorem_openmm.errors import ModelFileError
from lorem_openmm.export import load
from lorem_openmm.layout import Layout
from lorem_openmm.potential import Potential
from lorem_openmm.units import COULOMB_EV_ANGSTROM, MEV_PER_EV
from lorem_openmm.verdict.accuracy import FAMILIES
from lorem_openmm.verdict.lines import Line, at_most, number
from lorem_openmm.verdict.pairs import Pair, all_pairs, energies
from lorem_openmm.verdict.trained import for_comparison

DISTANCES = (10.0, 12.0, 14.0, 15.0, 16.0, 18.0, 20.0, 25.0, 30.0)  # Å
ORIENTATIONS = 3


class Rule(NamedTuple):
    """What is asked of pairs of one kind.

    Attributes:
        quantity: What it is.
        nearest: Å, from where it is judged.
        farthest: Å, up to where.
        bound: Largest value.
        unit: Unit of the quantity.
    """

    quantity: str
    nearest: float
    farthest: float
    bound: float
    unit: str


# By number of ions. Neutral: a fifth of kT at 300 K; labels reach 2 meV at 15 Å. One ion: the same share of Coulomb's
# law as two, as if the neutral molecule had a charge of 0.05 e. Two: Coulomb's law is 1 eV at 15 Å.
RULES = (
    Rule("interaction", 15.0, 30.0, 5.0, "meV"),
    Rule("deviation from charge and multipoles, in % of k·e²/R", 12.0, 20.0, 5.0, "%"),
    Rule("ratio to Coulomb's law", 12.0, 20.0, 5.0, "%"),
)


class Group(NamedTuple):
    """Pairs of one class.

    Attributes:
        n_ions: How many of the two are ions.
        label: AA, CA, CC, CP, PA or PP.
        members: Indices of the pairs.
    """

    n_ions: int
    label: str
    members: list[int]

    @property
    def name(self) -> str:
        """The class in words."""
        return "–".join(FAMILIES[letter] for letter in self.label)


@dataclass(frozen=True, eq=False)
class Tails:
    """Interactions of many pairs along their distance.

    Attributes:
        pairs: [n_pairs].
        distances: [n_distances] Å.
        interaction: [n_pairs, n_distances] E(d) − E(∞) in eV.
        reference: [n_pairs, n_distances] in eV, of charges, dipoles and quadrupoles.
    """

    pairs: list[Pair]
    distances: np.ndarray
    interaction: np.ndarray
    reference: np.ndarray

    def deviation(self) -> np.ndarray:
        """Returns what the rules are about, with sign: [n_pairs, n_distances], in the unit of each pair's rule."""
        ions = np.array([pair.n_ions for pair in self.pairs])[:, None]
        neutral = MEV_PER_EV * self.interaction
        one_ion = 100 * (self.interaction - self.reference) * self.distances / COULOMB_EV_ANGSTROM
        with np.errstate(divide="ignore", invalid="ignore"):
            two_ions = 100 * (self.interaction / self.reference - 1)
        return np.where(ions == 0, neutral, np.where(ions == 1, one_ion, two_ions))

    def groups(self) -> list[Group]:
        """Returns the classes of pairs, by the number of ions."""
        members: dict[tuple[int, str], list[int]] = {}
        for index, pair in enumerate(self.pairs):
            members.setdefault((pair.n_ions, pair.label), []).append(index)
        return [Group(*key, members[key]) for key in sorted(members)]

    def worst(self, group: Group) -> tuple[int, int]:
        """Returns the pair, and the place among the distances that are judged, of the largest deviation."""
        sizes, rule = np.abs(self.deviation()[group.members]), RULES[group.n_ions]
        sizes[~np.isfinite(sizes)] = np.inf
        sizes[:, (self.distances < rule.nearest) | (self.distances > rule.farthest)] = -1.0
        row, place = np.unravel_index(int(np.argmax(sizes)), sizes.shape)
        return group.members[int(row)], int(place)


def follow_tails(potential: Potential, fragments: Sequence[str]) -> Tails:
    """Computes the interactions of all pairs of fragments.

    Args:
        potential: The model.
        fragments: Names.

    Raises:
        ConfigError: If a name is unknown.
    """
    pairs = list(all_pairs(fragments, ORIENTATIONS))
    alone = {item.name: item for pair in pairs for item in (pair.first, pair.second)}
    free = dict(zip(alone, energies(potential, [item.atoms() for item in alone.values()]), strict=True))
    together = energies(potential, [pair.structure(distance) for pair in pairs for distance in DISTANCES])
    apart = np.array([free[pair.first.name] + free[pair.second.name] for pair in pairs])
    interaction = together.reshape(len(pairs), -1) - apart[:, None]
    reference = np.array([[pair.electrostatics(distance) for distance in DISTANCES] for pair in pairs])
    return Tails(pairs, np.array(DISTANCES), interaction, reference)


def run_tails(settings: config.Config, run_name: str, layout: Layout) -> Tails | Line:
    """Returns the tails of a run, or why there are none.

    Args:
        settings: The whole configuration.
        run_name: Name of an entry of ``runs``.
        layout: Where its model file is.

    Raises:
        ConfigError: If the data set names an unknown fragment.
        ModelFileError: If the model file is damaged.
    """
    labels = [settings.datasets[name].label for name in settings.runs[run_name].datasets]
    fragments = [name for label in labels if isinstance(label, config.DimersLabel) for name in label.fragments]
    counts = not for_comparison(settings, run_name)
    if not fragments:
        reason = "needs molecules whose charges are known: a data set of the label kind `dimers`"
        return Line("Beyond the cutoff", run_name, "tails", "not checked", reason=reason, counts=counts)
    path = layout.model(run_name)
    if not path.is_file():
        reason = f"no model file yet: `lorem-openmm export {run_name}`"
        return Line("Beyond the cutoff", run_name, "tails", "missing", reason=reason, counts=counts)
    try:
        return follow_tails(load(path, dtype="float64"), fragments)
    except ModelFileError as error:
        raise ModelFileError(f"{error}; write it again: `lorem-openmm export {run_name}`") from None


def tail_lines(tails: Tails, run_name: str, figure: str | None, counts: bool) -> list[Line]:
    """Returns a line per class of pairs: the worst of them.

    Args:
        tails: Tails of the run.
        run_name: Its name.
        figure: Path of their figure.
        counts: Whether the lines count.
    """
    return [_line(tails, group, run_name)._replace(figure=figure, counts=counts) for group in tails.groups()]


def _line(tails: Tails, group: Group, run_name: str) -> Line:
    rule = RULES[group.n_ions]
    pair, place = tails.worst(group)
    signed = float(tails.deviation()[pair, place])
    value, limit = (f"{number(signed)} {rule.unit}", f"within ±{number(rule.bound)} {rule.unit}")
    if group.n_ions == 2:
        value, limit = (
            f"{round(1 + signed / 100, 3) + 0.0:.3f}",
            f"{1 - rule.bound / 100:.2f} to {1 + rule.bound / 100:.2f}",
        )
    return Line(
        "Beyond the cutoff",
        run_name,
        f"{group.name}: {rule.quantity}, {rule.nearest:g} to {rule.farthest:g} Å",
        at_most(abs(signed), rule.bound),
        value,
        limit,
        abs(signed),
        rule.bound,
        rule.unit,
        f"the worst: {tails.pairs[pair].name} at {tails.distances[place]:g} Å",
    )
