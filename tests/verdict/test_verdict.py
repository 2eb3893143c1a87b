import csv
import json
import re

import numpy as np
import pytest
from made_results import PNG, errors, profile, rows, settings, summary, write_results
from matplotlib import image

from lorem_openmm.cli import main
from lorem_openmm.data.store import Store
from lorem_openmm.errors import DataError
from lorem_openmm.files import write_json, write_text
from lorem_openmm.layout import Layout
from lorem_openmm.verdict.accuracy import error_lines
from lorem_openmm.verdict.judge import judge
from lorem_openmm.verdict.lines import SECTIONS, Line, number
from lorem_openmm.verdict.reactions import path_errors, path_lines
from lorem_openmm.verdict.simulation_lines import simulation_lines, umbrella_lines
from lorem_openmm.verdict.trained import for_comparison
from lorem_openmm.verdict.verdict_figures import draw_paths


@pytest.fixture
def made(tmp_path):
    """Settings and layout of good results."""
    layout = Layout(tmp_path)
    write_results(layout)
    return settings(tmp_path), layout


def by_check(lines):
    return {line.check: line for line in lines}


def test_good_results_are_green_and_waiting_for_a_model(made):
    verdict = judge(*made)
    assert verdict["headline"] == "10 of 10 checks pass, 1 not made yet"
    assert not verdict["all_pass"]  # its tails are missing
    assert {line["status"] for line in verdict["lines"] if line["counts"]} == {"pass", "missing"}


@pytest.mark.parametrize(
    ("changes", "check", "value"),
    [
        ({"energy": 2.4}, "energies", "test 2.4, validation 1 meV/atom"),
        ({"forces": 101.0}, "forces", "test 101, validation 40 meV/Å"),
        ({"interaction": 6.1}, "force between molecules, charged–charged", "test 6.1 meV/Å"),
        ({"forces": 151.0, "r2": 0.999}, "forces", "test 151, validation 40 meV/Å"),
        ({"forces": None}, "forces", None),
        ({"energy": float("nan")}, "energies", "test not a number, validation 1 meV/atom"),
    ],
)
def test_errors_are_red_beyond_what_is_needed(made, changes, check, value):
    chosen, layout = made
    write_json(layout.evaluation("dimers") / "metrics.json", {"rows": rows(**changes)})
    lines = by_check(error_lines(chosen, "dimers", layout))
    line = lines.pop(check)
    assert {other.status for other in lines.values()} == {"pass"}
    if value is None:  # not labelled in the test set: the validation set is left
        assert (line.status, line.value) == ("pass", "validation 40 meV/Å")
    else:
        assert (line.status, line.value) == ("fail", value)
    assert line.figure == (None if "molecules" in check else "evaluation/dimers/parity_pairs.png")


@pytest.mark.parametrize(
    ("r2", "bound"), [(0.99, 102.0), (0.98, 100.0), (0.9999, 150.0), (1.0, 100.0), (float("nan"), 100.0), (None, 100.0)]
)
def test_the_force_limit_grows_with_the_forces_within_a_range(made, r2, bound):
    chosen, layout = made
    write_json(layout.evaluation("dimers") / "metrics.json", {"rows": rows(forces=102.0, r2=r2)})
    line = by_check(error_lines(chosen, "dimers", layout))["forces"]
    assert line.bound == pytest.approx(bound)


def test_the_energy_limit_is_a_kilocalorie_per_structure_but_not_below_2_mev_per_atom(made):
    chosen, layout = made
    limits = {}
    for size in (6.0, 19.0, 192.0):
        write_json(layout.root / "data" / "pairs.json", {"counts": {}, "atoms_per_structure": {"mean": size}})
        limits[size] = by_check(error_lines(chosen, "dimers", layout))["energies"].bound
    assert limits == {6.0: pytest.approx(7.23, abs=0.01), 19.0: pytest.approx(2.28, abs=0.01), 192.0: 2.0}


def test_what_has_no_answer_is_not_checked_and_says_why(made):
    chosen, layout = made
    write_json(layout.evaluation("dimers") / "metrics.json", {"rows": [errors("train", energy_mae=1.0)]})
    lines = by_check(error_lines(chosen, "dimers", layout))
    assert lines["energies"].reason == "no structure was kept from the training"
    assert lines["forces"].reason == "no forces are labelled"
    assert {line.status for line in lines.values()} == {"not checked"}


def test_of_many_classes_all_together_stand_for_the_interaction(made):
    chosen, layout = made
    many = [errors("test", "beyond cutoff, by class", f"c{k}", fragment_force_rmse=1.0) for k in range(20)]
    found = [*rows()[:3], errors("test", "beyond cutoff", fragment_force_rmse=7.0), *many]
    write_json(layout.evaluation("dimers") / "metrics.json", {"rows": found})
    lines = by_check(error_lines(chosen, "dimers", layout))
    assert [line.status for check, line in lines.items() if "molecules" in check] == ["fail"]


def test_a_short_range_model_is_a_comparison_only_beside_a_long_range_one_and_unused(tmp_path):
    chosen = settings(tmp_path)
    assert [for_comparison(chosen, run) for run in chosen.runs] == [False, True]
    used = settings(tmp_path, simulations={"s": {"run": "dimers_short", "start": "water:64"}})
    assert not for_comparison(used, "dimers_short")
    alone = settings(
        tmp_path, runs={"dimers_short": chosen.runs["dimers_short"].model_dump()}, simulations={}, umbrellas={}
    )
    assert not for_comparison(alone, "dimers_short")


def test_runs_with_a_block_of_any_kind_have_a_verdict(tmp_path):
    chosen = settings(tmp_path, models={"long": {"long_range": {"kind": "scalar_charges"}}, "short": {}})
    judge(chosen, Layout(tmp_path))
    stored = json.loads((Layout(tmp_path).verdict / "verdict.json").read_text())
    assert [run["long_range"] for run in stored["trained"]] == [True, True]


def test_comparisons_are_judged_and_do_not_count(made):
    chosen, layout = made
    write_json(layout.evaluation("dimers_short") / "metrics.json", {"rows": rows(forces=500.0, interaction=80.0)})
    verdict = judge(chosen, layout)
    red = [line for line in verdict["lines"] if line["status"] == "fail"]
    assert {line["subject"] for line in red} == {"dimers_short"}
    assert verdict["headline"].startswith("10 of 10 checks pass")


BROKEN = {"stable": False, "reason": "H12 left N3", "time_ps": 0.42, "step": 840, "watched": ["bonds"]}


@pytest.mark.parametrize(
    ("content", "statuses", "words"),
    [
        (summary(), ("pass", "pass"), "2 ps"),
        (summary(BROKEN, temperature_mean=None), ("fail",), "broke at 0.42 ps"),
        (summary(temperature_mean=900.0), ("pass", "fail"), "mean 900 K"),
        (summary(degrees_of_freedom=6, temperature_mean=200.0), ("pass", "not checked"), "mean 200 K"),
        (summary(degrees_of_freedom=6, temperature_mean=1800.0), ("pass", "fail"), "mean 1800 K"),
        (summary(steps=3000), ("missing",), ""),
        ({"settings": {}}, ("not checked", "not checked"), ""),
        (None, ("missing",), ""),
    ],
    ids=["good", "broken", "hot", "few atoms", "hot, few atoms", "shorter", "no verdict", "not run"],
)
def test_simulations(made, content, statuses, words):
    chosen, layout = made
    path = layout.simulation("bridge") / "summary.json"
    path.unlink() if content is None else write_json(path, content)
    lines = list(simulation_lines(chosen, layout))
    assert tuple(line.status for line in lines) == statuses
    assert words in " ".join(line.value for line in lines)
    if "broke" in words:
        assert lines[0].reason == "H12 left N3"


@pytest.mark.parametrize(("drift", "status"), [(0.2, "pass"), (-5.0, "fail")])
def test_without_a_thermostat_the_energy_is_judged(made, drift, status):
    chosen, layout = made
    content = summary(
        settings={"friction_per_ps": 0.0, "temperature": 300.0},
        energy_conservation={"drift": drift, "drift_error": 0.1, "fluctuation": 1e-3},
    )
    write_json(layout.simulation("bridge") / "summary.json", content)
    assert [line.status for line in simulation_lines(chosen, layout)] == ["pass", status]


@pytest.mark.parametrize(
    ("changes", "red"),
    [
        ({}, set()),
        ({"smallest_overlap": {"value": 0.01, "windows": [0, 1]}, "warnings": ["overlap"]}, {"overlap of neighbours"}),
        ({"windows": [{"n_samples": 3}], "warnings": ["few"]}, {"fewest independent samples"}),
        ({"free_energy": {"well_depth": {"ev": 0.4, "error_ev": 0.05}}}, {"well depth"}),
        ({"free_energy": {"well_depth": {"ev": 0.4, "error_ev": float("nan")}}}, {"well depth"}),
        ({"free_energy": {}}, {"barrier"}),
        ({"warnings": ["no samples in 3 of 10 bins"]}, {"well depth"}),
    ],
)
def test_free_energies(made, changes, red):
    chosen, layout = made
    write_json(layout.free_energy("pull") / "summary.json", profile(**changes))
    assert {line.check for line in umbrella_lines(chosen, layout) if line.status != "pass"} == red


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (summary(BROKEN, steps=840), "fail", "window 1 broke at 0.42 ps: H12 left N3"),
        (None, "missing", "not finished: windows 1"),
        ({}, "not checked", "no verdict"),
    ],
)
def test_windows(made, content, status, reason):
    chosen, layout = made
    path = layout.window("pull", 1) / "summary.json"
    path.unlink() if content is None else write_json(path, content)
    line = next(umbrella_lines(chosen, layout))
    assert (line.check, line.status, line.value) == ("all windows alive", status, "1 of 2")
    assert reason in line.reason


def reaction(bend: float = 0.0, lift: float = 0.0):
    """Errors of a path with wells of −0.4 eV on both sides of a barrier, beyond the cutoff from ±3.3 Å on."""
    x = np.linspace(-6.0, 6.0, 121)
    energy = 0.2 * np.exp(-(x**2) / 0.5) - 0.4 * np.exp(-((np.abs(x) - 1.5) ** 2))
    predicted = energy + bend * (np.abs(x) > 3.3) + lift * (np.abs(x) < 0.5)
    arrays = {
        "energy": energy,
        "separation": np.abs(x) + 1.9,
        "info.profile": np.ones(121),
        "info.reaction": np.zeros(121, dtype=np.int32),
        "info.reaction_coordinate": x,
    }
    store = Store(None, arrays, {"info_text": {"reaction": ["Cl-Br"]}})
    (found,) = path_errors(store, predicted, 5.0)
    return found


def test_reaction_paths_are_measured_from_the_top():
    assert (reaction().barrier, reaction().beyond) == (pytest.approx(0.0, abs=1e-9), pytest.approx(0.0, abs=1e-9))
    assert reaction(bend=0.035).beyond == pytest.approx(35.0)
    assert reaction(bend=0.035).barrier == pytest.approx(0.0, abs=1e-9)
    assert reaction(lift=0.05).barrier == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("changes", "statuses"),
    [({}, ["pass", "pass"]), ({"bend": 0.035}, ["pass", "fail"]), ({"lift": -0.05}, ["fail", "fail"])],
)
def test_reaction_paths_are_red_where_barriers_or_tails_are_wrong(tmp_path, changes, statuses):
    paths = [reaction(), reaction(**changes)]
    lines = list(path_lines(paths, "sn2", "verdict/paths_sn2.png", True))
    assert [line.status for line in lines] == statuses
    draw_paths(tmp_path / "paths", paths, "sn2")
    assert image.imread(tmp_path / "paths.png").shape[0] > 300


def test_the_page_has_words_marks_numbers_and_links(made):
    chosen, layout = made
    write_json(layout.evaluation("dimers") / "metrics.json", {"rows": rows(forces=140.0)})
    verdict = judge(chosen, layout)
    page, opening = ((layout.verdict / name).read_text() for name in ("verdict.html", "opening.html"))
    for text in (page, opening):
        assert "9 of 10 checks pass" in text
        assert "✗ FAIL" in text
        assert "✓ pass" in text
        assert "≤ 100 meV/Å" in text
        assert text.count("<tr") == text.count("</tr>") >= len(verdict["lines"])
    assert 'href="../evaluation/dimers/parity_pairs.png"' in page
    assert f"{layout.root}/evaluation/dimers/parity_pairs.png" in opening
    assert "app.setView" in opening
    assert "<script" not in opening  # it goes into a page that was written before


def test_names_with_odd_characters_are_escaped(tmp_path):
    name = "a <b> & 'c\"d"
    layout = Layout(tmp_path)
    chosen = settings(
        tmp_path, runs={name: settings(tmp_path).runs["dimers"].model_dump()}, simulations={}, umbrellas={}
    )
    write_json(layout.evaluation(name) / "metrics.json", {"rows": rows()})
    (layout.evaluation(name) / "parity_pairs.png").write_bytes(PNG)
    judge(chosen, layout)
    for file in ("verdict.html", "opening.html"):
        text = (layout.verdict / file).read_text()
        assert "<b>" not in text
        assert "a &lt;b&gt; &amp; &#x27;c&quot;d" in text
        assert all(len(re.findall('"', tag)) % 2 == 0 for tag in re.findall("<[^>]*>", text))


def test_json_and_table_hold_every_line(made):
    verdict = judge(*made)
    folder = made[1].verdict
    stored = json.loads((folder / "verdict.json").read_text())
    assert stored == verdict
    assert set(stored) == {
        *("format", "version", "headline", "all_pass", "n_checks", "n_pass", "n_missing", "trained", "lines"),
    }
    assert all(tuple(line) == Line._fields for line in stored["lines"])
    assert all(line["section"] in SECTIONS and line["subject"] and line["check"] for line in stored["lines"])
    assert all(line["reason"] for line in stored["lines"] if line["status"] in ("not checked", "missing"))
    with (folder / "verdict.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["check"] for row in table] == [line["check"] for line in stored["lines"]]
    first = stored["trained"][0]
    assert (first["run"], first["epochs"], first["best_epoch"], first["minutes"]) == ("dimers", 2, 2, 1.0)
    assert first["structures"] == {"train": 80, "validation": 20, "test": 40}


CUSTOM = """
output: {output}
datasets: {{mine: {{structures: mine.xyz}}}}
models: {{small: {{}}}}
training: {{quick: {{}}}}
runs: {{mine: {{datasets: [mine], model: small, training: quick}}}}
"""


def custom(folder, forces: float):
    """A user's own data, evaluated; no simulations."""
    layout = Layout(folder / "out")
    found = [{**row, "dataset": "mine"} for row in rows(forces=forces)[:3]]
    write_json(layout.evaluation("mine") / "metrics.json", {"rows": found})
    write_text(folder / "my.yaml", CUSTOM.format(output=folder / "out"))
    return str(folder / "my.yaml")


def test_the_command_prints_what_is_red_and_is_an_error_only_if_asked(tmp_path, capsys):
    config = custom(tmp_path, 300.0)
    assert main(["verdict", "--config", config]) == 0
    said = capsys.readouterr().out
    assert "FAIL: mine, forces, test 300, validation 40 meV/Å, needed: ≤ 100 meV/Å" in said
    assert "verdict.html: 1 of 2 checks pass" in said
    assert main(["verdict", "--strict", "--config", config]) == 1
    assert "with --strict every check must pass; 1 of 2 checks pass" in capsys.readouterr().err


def test_a_users_own_data_need_no_tails_and_no_simulation(tmp_path, capsys):
    assert main(["verdict", "--strict", "--config", custom(tmp_path, 50.0)]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    text = (tmp_path / "out" / "verdict" / "verdict.html").read_text()
    assert "2 of 2 checks pass" in text
    assert "– not checked" in text
    assert "needs molecules whose charges are known" in text


def test_before_anything_is_made_it_says_what_to_do(tmp_path, capsys):
    (tmp_path / "my.yaml").write_text(CUSTOM.format(output=tmp_path / "none"))
    assert main(["verdict", "--config", str(tmp_path / "my.yaml")]) == 0
    assert "not made yet: mine, energies and forces. not evaluated yet: `lorem-openmm evaluate mine`" in (
        capsys.readouterr().out
    )
    assert main(["verdict", "--strict", "--config", str(tmp_path / "my.yaml")]) == 1


@pytest.mark.parametrize("content", ["{", "[1, 2]", ""])
def test_a_damaged_summary_is_named(made, content):
    chosen, layout = made
    path = layout.simulation("bridge") / "summary.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"summary\.json: must .*make it again"):
        judge(chosen, layout)


@pytest.mark.parametrize(
    ("value", "text"), [(1.2345, "1.23"), (-1e-12, "0"), (1445.2, "1445"), (float("inf"), "infinite"), (3e7, "3e+07")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text
