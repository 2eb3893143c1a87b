"""What the numbers are held against: a goal that must be met, and one to aim at."""

from statistics import median
from typing import Any, NamedTuple

RATIOS = {"sn2": (3.0, 6.0), "dimer13": (4.0, 8.0), "water192": (60.0, 120.0)}  # lorem-jax's ASE time over ours
MS_PER_ATOM = {"water1536": (0.10, 0.05)}
STEP_OVER_CALL = 1.05  # OpenMM step over the bare model call
STEP_FROM = 192  # atoms
GROWTH = (1.15, 1.05)  # time per atom of 12,288 atoms over that of 1,536
KB_PER_ATOM = (100.0, 50.0)  # above the base, 12,288 atoms
SMALL, LARGE = 1536, 12288


class Goal(NamedTuple):
    """A number and its bounds, lower ones if ``at_least``."""

    what: str
    value: float
    must: float
    aim: float | None = None
    at_least: bool = False
    unit: str = ""

    def verdict(self) -> str:
        """``aim met``, ``must met`` or ``missed``."""

        def meets(bound: float) -> bool:
            return self.value >= bound if self.at_least else self.value <= bound

        if self.aim is not None and meets(self.aim):
            return "aim met"
        return "met" if meets(self.must) else "MISSED"


def of_structure(name: str, n_atoms: int, found: dict[str, dict[str, Any]]) -> list[Goal]:
    """Returns the goals of one structure of the table, as far as those concerned took part."""
    medians = {who: median(result["seconds"]) for who, result in found.items() if result.get("seconds")}
    goals = []
    for who in ("ASE", "ASE, compiled", "OpenMM PythonForce, compiled"):
        if name in RATIOS and {"lorem-jax, ASE", who} <= medians.keys():
            ratio = paired_ratio(found["lorem-jax, ASE"], found[who])
            goals.append(Goal(f"lorem-jax's ASE over {who}", ratio, *RATIOS[name], at_least=True, unit="×"))
    if name in MS_PER_ATOM and "ASE" in medians:
        per_atom = 1e3 * medians["ASE"] / n_atoms
        goals.append(Goal("ASE, per atom", per_atom, *MS_PER_ATOM[name], unit=" ms"))
    for who in ("OpenMM PythonForce", "OpenMM TorchForce"):
        if n_atoms >= STEP_FROM and {who, "model call"} <= medians.keys():
            ratio = paired_ratio(found[who], found["model call"])
            goals.append(Goal(f"{who} over model call", ratio, STEP_OVER_CALL, unit="×"))
    return goals


def of_sizes(sizes: list[dict[str, float]]) -> list[Goal]:
    """Returns the goals of the scaling run, as far as their sizes were run."""
    by_size = {row["n_atoms"]: row for row in sizes}
    goals = []
    if SMALL in by_size:
        goals.append(
            Goal("1,536 atoms, per atom", by_size[SMALL]["ms_per_atom"], *MS_PER_ATOM["water1536"], unit=" ms")
        )
    if SMALL in by_size and LARGE in by_size:
        growth = by_size[LARGE]["ms_per_atom"] / by_size[SMALL]["ms_per_atom"]
        goals.append(Goal("time per atom, 12,288 atoms over 1,536", growth, *GROWTH, unit="×"))
    if LARGE in by_size:
        memory = by_size[LARGE]["kb_per_atom"]
        goals.append(Goal("12,288 atoms, memory per atom above the base", memory, *KB_PER_ATOM, unit=" kB"))
    return goals


def paired_ratio(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Median of the ratios of bursts that computed the same positions one after the other."""
    return median(a / b for a, b in zip(first["seconds"], second["seconds"], strict=True))


def rows(goals: list[Goal]) -> list[str]:
    """Markdown rows; none for no goals."""
    if not goals:
        return []
    lines = ["| goal | must | aim | found | |", "|---|---|---|---|---|"]
    for g in goals:
        sign = "≥" if g.at_least else "≤"
        aim = "–" if g.aim is None else f"{sign} {g.aim:g}{g.unit}"
        lines.append(f"| {g.what} | {sign} {g.must:g}{g.unit} | {aim} | {g.value:.3g}{g.unit} | {g.verdict()} |")
    return lines
