"""The verdict as a page: a fragment that opens the workflow's report, and a page of its own with the figures in it."""

import base64
import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lorem_openmm.verdict.lines import SECTIONS, Line

# Told apart by word and mark, not by colour alone; all text has a contrast of at least 4.5 to 1.
MARKS = {
    "pass": ("✓ pass", "pass"),
    "fail": ("✗ FAIL", "fail"),
    "not checked": ("– not checked", "unchecked"),
    "missing": ("… not made yet", "unchecked"),
}
STYLE = """
.lorem-verdict { font: 14px/1.4 system-ui, sans-serif; color: #222; max-width: 90rem; }
.lorem-verdict h1 { font-size: 1.5rem; margin: 0 0 .4rem; padding: .5rem .8rem; border-left: .5rem solid; }
.lorem-verdict h1.pass { color: #135c2c; background: #e6f4ea; }
.lorem-verdict h1.fail { color: #9a1b13; background: #fdecea; }
.lorem-verdict h2 { font-size: 1.1rem; margin: 1.2rem 0 .2rem; }
.lorem-verdict p { margin: .3rem 0; }
.lorem-verdict table { border-collapse: collapse; width: 100%; margin: 0 0 1rem; font-size: 13px; }
.lorem-verdict th, .lorem-verdict td { text-align: left; vertical-align: top; padding: .18rem .6rem .18rem .3rem;
  border-bottom: 1px solid #ddd; }
.lorem-verdict th { color: #555; font-weight: 600; }
.lorem-verdict tr.section th { font-size: 1.1rem; color: #222; padding-top: 1.2rem; border-bottom: 2px solid #999; }
.lorem-verdict td.mark, .lorem-verdict td.number { white-space: nowrap; width: 1%; }
.lorem-verdict td.mark { font-weight: 700; }
.lorem-verdict td.asked { width: 30%; }
.lorem-verdict tr.pass td.mark { color: #135c2c; background: #e6f4ea; }
.lorem-verdict tr.fail td.mark { color: #9a1b13; background: #fdecea; }
.lorem-verdict tr.unchecked td { color: #5f5f5f; }
.lorem-verdict tr.baseline td { color: #5f5f5f; }
.lorem-verdict td.note { color: #5f5f5f; }
.lorem-verdict a { color: #0b57a4; text-decoration: underline; }
.lorem-verdict img { max-width: 100%; }
"""
# In the report the description shares a row with the graph of the rules: give it the whole width, from the top.
REPORT_STYLE = """
div:has(> .prose .lorem-verdict) { flex: 1 1 100%; }
.prose:has(.lorem-verdict) { max-width: none; }
div:has(> div > .prose .lorem-verdict) { flex-wrap: wrap; }
div:has(> div > div > .prose .lorem-verdict) { align-items: flex-start; justify-content: flex-start; }
"""
LIMITS = "What is asked, how it is measured and why these limits: docs/verdict.md."
WAY_BACK = "The name of a figure shows it; Workflow in the menu leads back to this page."
HEADS = ("", "of", "what is asked", "found", "needed", "", "figure")
BASELINES = "Without long range, for comparison (does not count)"


def report_fragment(verdict: dict[str, Any], lines: Sequence[Line], root: Path) -> str:
    """Returns the part of a page that the workflow's report opens with; its links show figures of that report.

    Args:
        verdict: What ``verdict.json`` holds.
        lines: All of them.
        root: Output folder, as the workflow names its results.
    """

    def link(figure: str) -> str:
        result = json.dumps(str(root / figure))
        show = f"var r=results[{result}];if(r)app.setView({{content:'img',contentPath:r.data_uri}});return false"
        return f'<a href="#" onclick="{escape(show)}" title="{escape(figure)}">{escape(Path(figure).stem)}</a>'

    return f"<style>{STYLE}{REPORT_STYLE}</style>\n{_body(verdict, lines, link, WAY_BACK)}"


def whole_page(verdict: dict[str, Any], lines: Sequence[Line], figures: Sequence[Path]) -> str:
    """Returns the page; figures of the verdict are in it, to the others it links.

    Args:
        verdict: What ``verdict.json`` holds.
        lines: All of them.
        figures: PNG files of the verdict.
    """

    def link(figure: str) -> str:
        return f'<a href="../{escape(quote(figure))}" title="{escape(figure)}">{escape(Path(figure).stem)}</a>'

    pictures = [
        f'<h2>{escape(path.stem)}</h2>\n<img alt="{escape(path.stem)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}">'
        for path in figures
    ]
    # Inside the workflow's report, where it has no folder, its links lead nowhere.
    script = (
        "<script>if (location.protocol === 'data:')"
        " document.querySelectorAll('a').forEach(a => a.replaceWith(a.textContent));</script>"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Verdict: '
        f"{escape(verdict['headline'])}</title><style>body {{ margin: 1.5rem; }}{STYLE}</style></head>\n<body>\n"
        f"{_body(verdict, lines, link, '', *pictures)}\n{script}\n</body>\n</html>\n"
    )


def _body(verdict: dict[str, Any], lines: Sequence[Line], link: Callable[[str], str], hint: str, *pictures: str) -> str:
    good = "pass" if verdict["all_pass"] else "fail"
    groups = {name: [line for line in lines if line.section == name and line.counts] for name in SECTIONS}
    groups[BASELINES] = [line for line in lines if not line.counts]
    rows = []
    for name, group in groups.items():
        if group:
            rows.append(f'<tr class="section"><th colspan="{len(HEADS)}">{escape(name)}</th></tr>')
            rows += [_row(line, link) for line in group]
    parts = (
        '<div class="lorem-verdict">',
        f'<h1 class="{good}">{escape(verdict["headline"])}</h1>',
        f"<p>{escape(LIMITS)} {escape(hint)}</p>",
        _trained(verdict["trained"]),
        _table(HEADS, rows),
        *pictures,
        "</div>",
    )
    return "\n".join(parts)


def _trained(records: Sequence[dict[str, Any]]) -> str:
    heads = ("run", "data", "train / validation / test", "model", "epochs (best)", "time")
    rows = []
    for record in records:
        sizes = " / ".join("?" if n is None else str(n) for n in record["structures"].values())
        reach = "long range" if record["long_range"] else "short range"
        model = f"{reach}, {record['cutoff']:g} Å, {record['num_features']} features, degree {record['max_degree']}"
        epochs = f"{record['epochs']} ({record['best_epoch']})" if record["epochs"] else "not trained yet"
        minutes = "" if record["minutes"] is None else f"{record['minutes']:.1f} min"
        cells = (record["run"], ", ".join(record["datasets"]), sizes, model, epochs, minutes)
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    return f"<h2>What was trained</h2>\n{_table(heads, rows)}"


def _row(line: Line, link: Callable[[str], str]) -> str:
    mark, kind = MARKS[line.status]
    kinds = kind if line.counts else "baseline"
    words = f'<td class="number">{escape(line.subject)}</td><td class="asked">{_text(line.check)}</td>'
    numbers = "".join(f'<td class="number">{escape(text)}</td>' for text in (line.value, line.limit))
    figure = link(line.figure) if line.figure else ""
    return (
        f'<tr class="{kinds}"><td class="mark">{mark}</td>{words}{numbers}<td class="note">{escape(line.reason)}</td>'
        f"<td>{figure}</td></tr>"
    )


def _text(words: str) -> str:
    """Returns escaped text in which units stay with their numbers."""
    for unit in ("Å", "meV", "eV", "atoms"):
        words = words.replace(f" {unit}", f"\N{NO-BREAK SPACE}{unit}")
    return escape(words)


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
