"""The paper's numbers, for tables that put them beside ours.

References:
    E. Rumiantsev, M. F. Langer, T.-E. Sodjargal, M. Ceriotti, P. Loche, arXiv:2507.19382v2: table 1, the table of the
    ablations, the table of cumulenes with different cutoffs, and the appendix on invariance.
"""

from lorem_openmm.config import Model

# RMSE of energies in meV/atom and of forces in meV/Å, by data set and variant.
RMSE: dict[str, dict[str, tuple[float, float]]] = {
    "mgo_surface": {"short": (2.234, 61.487), "l=0": (0.063, 5.870), "l=1": (0.062, 5.284), "l=2": (0.064, 4.076)},
    "nacl_cluster": {"short": (1.582, 50.110), "l=0": (0.113, 1.243), "l=1": (0.111, 1.062), "l=2": (0.112, 1.155)},
    "biodimers": {"short": (8.259, 16.452), "l=0": (0.302, 1.677), "l=1": (0.329, 1.725), "l=2": (0.222, 1.646)},
    "cumulene": {"short": (16.203, 126.000), "l=0": (15.793, 133.092), "l=1": (5.576, 85.956), "l=2": (3.309, 50.084)},
}

# Is the dihedral of C9H4 resolved? By cutoff in Å, and (number of short-range layers, long range).
CUMULENE_RESOLVED: dict[float, dict[tuple[int, bool], bool]] = {
    2.5: {(1, True): True, (2, True): True, (1, False): False, (2, False): False, (3, False): False, (4, False): True},
    3.0: {(1, True): True, (2, True): True, (1, False): False, (2, False): False, (3, False): True, (4, False): True},
    3.5: {(1, True): True, (2, True): True, (1, False): False, (2, False): True, (3, False): True, (4, False): True},
}

# Mean absolute change of the energy over rotations and inversions of MgO surfaces, meV.
SYMMETRY_ERROR = {"float32": 1.031e-6, "float64": 5.913e-15}


def variant(model: Model) -> str:
    """Returns the name of a variant of the model in :data:`RMSE`, or of one that the paper does not have.

    Args:
        model: Hyper-parameters.
    """
    block = model.long_range_block
    if block is None:
        return "short"
    if model.long_range is True:
        return f"l={model.max_charge_degree}"
    changes = [f"1/r^{block.exponent}"] if block.exponent != 1 else []
    changes += [
        name for name in ("neutral", "smooth") if getattr(block, name) != type(block).model_fields[name].default
    ]
    return ", ".join([block.kind, *changes])


def published_rmse(dataset: str, model: Model) -> tuple[float, float] | None:
    """Returns the paper's RMSE of energies (meV/atom) and forces (meV/Å), if it has this data set and variant.

    The paper's models see 5 Å with one short-range layer; others are not compared with them.

    Args:
        dataset: Name of the data set, as in the paper's configuration.
        model: Hyper-parameters.
    """
    if model.cutoff != 5.0 or model.num_message_passing != 0:
        return None
    return RMSE.get(dataset, {}).get(variant(model))
