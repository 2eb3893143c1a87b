"""Which block belongs to which ``kind`` of the configuration."""

from collections.abc import Callable
from typing import TypeVar

from lorem_openmm.config import Model
from lorem_openmm.config.long_range import LongRange, register_kind
from lorem_openmm.errors import ConfigError
from lorem_openmm.nn.blocks.block import LongRangeBlock

BlockT = TypeVar("BlockT", bound=type[LongRangeBlock])
_blocks: dict[type[LongRange], Callable[[Model], LongRangeBlock]] = {}


def long_range_block(settings: type[LongRange]) -> Callable[[BlockT], BlockT]:
    """Declares the block of a kind; decorates a class that is made from the hyper-parameters of a model.

    Args:
        settings: section of the configuration with a ``kind`` of its own.

    Raises:
        ConfigError: If the kind has another section already.
    """
    register_kind(settings)

    def declare(block: BlockT) -> BlockT:
        _blocks[settings] = block
        return block

    return declare


def make_block(hyperparameters: Model) -> LongRangeBlock | None:
    """Returns the block of a model, or None for a model of short range.

    Raises:
        ConfigError: If nothing declares a block for the kind.
    """
    settings = hyperparameters.long_range_block
    if settings is None:
        return None
    block = _blocks.get(type(settings))
    if block is None:
        raise ConfigError(
            f"long_range: no block is declared for kind '{settings.kind}'; import the module that declares it with "
            "lorem_openmm.nn.blocks.long_range_block"
        )
    return block(hyperparameters)
