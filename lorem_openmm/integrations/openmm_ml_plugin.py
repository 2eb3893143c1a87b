"""What openmm-ml's entry point loads: a factory that imports the rest when the first potential is made."""

from typing import Any

from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory


class LoremPotentialImplFactory(MLPotentialImplFactory):
    """Makes ``MLPotential("lorem", modelPath=...)``."""

    def createImpl(  # noqa: N802 (openmm-ml's name)
        self,
        name: str,
        modelPath: Any = None,
        boundary: str = "box",
        **args: Any,
    ) -> MLPotentialImpl:
        """Returns the implementation.

        Args:
            name: ``lorem``.
            modelPath: model file (.safetensors or .pt), or a potential in memory; None: the model that is shipped.
            boundary: ``box`` or ``vacuum``, see :class:`~lorem_openmm.integrations.openmm_ml.LoremPotentialImpl`.
            **args: none are known.

        Raises:
            ConfigError: If there is another argument, or ``boundary`` is neither.
            ModelFileError: If the file is missing or damaged.
        """
        # openmm-ml loads this module while it is itself being imported, also from openmm_ml.
        from lorem_openmm.integrations.force_options import refuse_unknown  # noqa: PLC0415
        from lorem_openmm.integrations.openmm_ml import LoremPotentialImpl  # noqa: PLC0415

        refuse_unknown(args, ("modelPath", "boundary"), "MLPotential")
        return LoremPotentialImpl(modelPath, boundary)
