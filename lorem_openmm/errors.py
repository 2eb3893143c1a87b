"""The package's exceptions: each message says what, the rule, what was found and what to do."""

import difflib
from collections.abc import Iterable


class LoremError(Exception):
    """Base class of every error this package raises on bad input."""


class ConfigError(LoremError, ValueError):
    """A configuration file or a model hyper-parameter breaks a rule."""


class DataError(LoremError, ValueError):
    """A structure or its labels break a rule; the message names file and frame."""


class FetchError(LoremError, RuntimeError):
    """A published file could not be fetched, or is not the published one; the message says what to do by hand."""


class ModelFileError(LoremError, ValueError):
    """A model file is missing, truncated, altered, or of a newer format."""


class UnknownElementError(LoremError, ValueError):
    """A structure holds an element the model was not trained on."""


class TrainingError(LoremError, RuntimeError):
    """A training cannot go on; the message says what to change."""


class InstallationError(LoremError, RuntimeError):
    """An optional part is missing or does not match the others; the message says what to install."""


class SimulationError(LoremError, RuntimeError):
    """A simulation became unstable; the message says when and what to change."""


class VerdictError(LoremError, RuntimeError):
    """What was made is not fit for use, and the caller asked for an error then; the message names what failed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the nearest known word, or an empty string.

    Args:
        word: What the user wrote.
        known: The words that would have been accepted.
    """
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
