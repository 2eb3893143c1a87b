"""Where the pipeline puts what it makes; the workflow and the command line agree because both ask here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths below the output folder of a configuration.

    Attributes:
        root: The output folder.
        downloads: Folder of published data sets; it does not belong to one configuration.
    """

    root: Path
    downloads: Path = Path("downloads")

    @property
    def config(self) -> Path:
        """The configuration in force, as the workflow writes it."""
        return self.root / "config.json"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.root / "report.html"

    @property
    def verdict(self) -> Path:
        """Folder of the verdict on everything that was made."""
        return self.root / "verdict"

    @property
    def comparison(self) -> Path:
        """Folder of the figures and tables that compare runs."""
        return self.root / "comparison"

    def labels(self, dataset: str) -> Path:
        """Labelled structures of a data set (extended XYZ); a summary (.json) is beside it."""
        return self.root / "labels" / f"{dataset}.xyz"

    def fetched(self, registry: str) -> Path:
        """A published data set as extended XYZ; what it was made from (.json) is beside it."""
        return self.downloads / f"{registry}.xyz"

    def store(self, dataset: str) -> Path:
        """Prepared data set; a report (.json) is beside it."""
        return self.root / "data" / f"{dataset}.safetensors"

    def run(self, run: str) -> Path:
        """Folder of a training: checkpoints, metrics, logs."""
        return self.root / "runs" / run

    def model(self, run: str, suffix: str = ".safetensors") -> Path:
        """Exported model file of a run."""
        return self.root / "models" / f"{run}{suffix}"

    def evaluation(self, run: str) -> Path:
        """Folder of the errors and figures of a run."""
        return self.root / "evaluation" / run

    def study(self, study: str) -> Path:
        """Folder of the tables and figures of a study."""
        return self.root / "studies" / study

    def simulation(self, simulation: str) -> Path:
        """Folder of a molecular-dynamics run."""
        return self.root / "simulations" / simulation

    def analysis(self, simulation: str) -> Path:
        """Folder of the analysis of a molecular-dynamics run."""
        return self.root / "analysis" / simulation

    def umbrella(self, umbrella: str) -> Path:
        """Folder of the windows of an umbrella sampling."""
        return self.root / "umbrellas" / umbrella

    def window(self, umbrella: str, index: int | str) -> Path:
        """Folder of the simulation of one window."""
        return self.umbrella(umbrella) / f"window-{index}"

    def free_energy(self, umbrella: str) -> Path:
        """Folder of the free-energy profile of an umbrella sampling."""
        return self.root / "free_energy" / umbrella

    def makes(self, path: str | Path) -> bool:
        """Whether a file lies where the pipeline puts results, so that it may be one of them."""
        one = (self.labels, self.store, self.run, self.model, self.evaluation, self.study, self.simulation)
        folders = [place("-").parent for place in (*one, self.analysis, self.umbrella, self.free_energy, self.fetched)]
        return any(Path(path).resolve().is_relative_to(folder.resolve()) for folder in folders)
