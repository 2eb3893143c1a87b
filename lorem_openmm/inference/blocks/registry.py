"""Which blocks have gradients by hand; all others are differentiated by autograd."""

from collections.abc import Callable
from typing import TypeVar

import torch

from lorem_openmm.inference.blocks.bridge import AutogradBridge
from lorem_openmm.nn.blocks import LongRangeBlock

FormT = TypeVar("FormT", bound=type[torch.nn.Module])
_by_hand: dict[type[LongRangeBlock], Callable[..., torch.nn.Module]] = {}


def gradients_by_hand(block: type[LongRangeBlock]) -> Callable[[FormT], FormT]:
    """Declares the form of a block for dynamics; decorates a class with the methods of :class:`AutogradBridge`.

    It is made from the block and the class of the tensor product.
    """

    def declare(form: FormT) -> FormT:
        _by_hand[block] = form
        return form

    return declare


def block_for_dynamics(block: LongRangeBlock, product: type[torch.nn.Module], species: list[int]) -> torch.nn.Module:
    """Returns the form of a block that dynamics runs."""
    by_hand = _by_hand.get(type(block))
    return AutogradBridge(block, species) if by_hand is None else by_hand(block, product)
