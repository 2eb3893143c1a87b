"""Collects the verdict of a configuration and writes it: page, JSON, CSV and figures."""

from pathlib import Path
from typing import Any

from lorem_openmm import config
from lorem_openmm.files import write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.tables import as_csv
from lorem_openmm.training.evaluate import finite
from lorem_openmm.verdict.accuracy import error_lines
from lorem_openmm.verdict.lines import Line, summarize
from lorem_openmm.verdict.page import report_fragment, whole_page
from lorem_openmm.verdict.reactions import path_lines, run_paths
from lorem_openmm.verdict.simulation_lines import simulation_lines, umbrella_lines
from lorem_openmm.verdict.tails import Tails, run_tails, tail_lines
from lorem_openmm.verdict.trained import describe_runs, for_comparison
from lorem_openmm.verdict.verdict_figures import draw_paths, draw_tails

PAGE, OPENING, DATA, TABLE = "verdict.html", "opening.html", "verdict.json", "verdict.csv"


def judge(settings: config.Config, layout: Layout) -> dict[str, Any]:
    """Judges everything that is there, and writes the verdict.

    ``verdict.html`` is a page of its own, ``opening.html`` the part of it that opens the workflow's report,
    ``verdict.json`` and ``verdict.csv`` hold the same lines, ``tails_<run>.png/svg`` and
    ``paths_<run>.png/svg`` show how interactions end. What was not made yet is said to be missing; nothing is trained
    or simulated.

    Args:
        settings: The whole configuration.
        layout: Where everything is, and where to write.

    Returns:
        What ``verdict.json`` holds.

    Raises:
        DataError: If a file that should be JSON, or a data set, is damaged.
        ModelFileError: If a model file is damaged.
        OSError: If the folder cannot be written.
    """
    folder = layout.verdict
    lines: list[Line] = []
    figures: list[Path] = []
    for run_name in settings.runs:
        found, drawn = _judge_run(settings, run_name, layout)
        lines += found
        figures += drawn
    lines += [*simulation_lines(settings, layout), *umbrella_lines(settings, layout)]
    verdict = finite(summarize(lines, describe_runs(settings, layout)))
    write_text(folder / TABLE, as_csv([line._asdict() for line in lines]))
    write_json(folder / DATA, verdict)
    write_text(folder / OPENING, report_fragment(verdict, lines, layout.root))
    write_text(folder / PAGE, whole_page(verdict, lines, figures))
    return verdict


def _judge_run(settings: config.Config, run_name: str, layout: Layout) -> tuple[list[Line], list[Path]]:
    """Returns the lines on a run, and the figures that were drawn for them."""
    counts = not for_comparison(settings, run_name)
    lines, figures = error_lines(settings, run_name, layout), []
    paths, tails = run_paths(settings, run_name, layout), run_tails(settings, run_name, layout)
    folder = layout.verdict.relative_to(layout.root).as_posix()
    if paths:
        figures.append(layout.verdict / f"paths_{run_name}.png")
        draw_paths(figures[-1].with_suffix(""), paths, run_name)
        lines += path_lines(paths, run_name, f"{folder}/{figures[-1].name}", counts)
    if isinstance(tails, Tails):
        figures.append(layout.verdict / f"tails_{run_name}.png")
        draw_tails(figures[-1].with_suffix(""), tails, run_name)
        lines += tail_lines(tails, run_name, f"{folder}/{figures[-1].name}", counts)
    elif not paths:  # which say how that interaction ends
        lines.append(tails)
    return lines, figures
