"""Seeds of random numbers."""


def openmm_seed(seed: int) -> int:
    """Returns a seed from 1 to 2³¹ − 1: OpenMM reads 0 as `take any`."""
    return seed % (2**31 - 1) + 1
