"""A reproduction as one HTML page: verdict, lineage, differences and findings, for a browser or a printer.

The page asks nothing of the network and has no script; its policy forbids both, whatever stands in it.
Names and messages come from whoever wrote the branch: each is made visible, shortened and escaped, and stands in text
content alone. However many runs and outputs there are, the page stays small: the worst are shown, the rest counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from mlvc.cli.change_tables import change_tables
from mlvc.cli.drawing import Bar, Node, draw_bars, draw_graph
from mlvc.cli.page import code, figure, page, table, text
from mlvc.cli.render import command_line, plural
from mlvc.cli.reproduced import by_gravity, headline, short_id, title_of, tone_of, unproven_text

__all__ = ["as_html"]

_SAME = "identical"
_LONGEST_LINE = 1000
_MOST_RUNS = 20
_MOST_ROWS = 60
_MOST_FINDINGS = 12
_MOST_DRAWN_RUNS = 16
_MOST_DRAWN = 8
"""Boxes of one kind at one run."""
_MOST_PLOTTED_OUTPUTS = 12
"""On the whole page."""
_MOST_PLACES = 24
_DECADES = 16
"""How far the scale of relative errors reaches down: that of float64 is 2e-16."""

_STATUSES = {
    "confirmed": "What explains it, confirmed by an experiment",
    "likely": "What may explain it",
    "untested": "What was not tested",
}


def as_html(answer: Mapping[str, Any]) -> bytes:
    """Returns the answer of `mlvc repro` or `mlvc ci` as a page of bounded length."""
    return ("\n".join(_page(answer)) + "\n").encode()


def _page(answer: Mapping[str, Any]) -> Iterator[str]:
    whose, word, tone = headline(answer)
    runs = by_gravity(answer["runs"])
    heading = f'{whose}: <span class="{tone}">{escape(word)}</span>'
    yield from page(f"{whose}: {escape(word)}", heading, _body(answer, runs))


def _body(answer: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    same = sum(run["verdict"] == _SAME for run in runs)
    yield f"<p>{same} of {plural(len(runs), 'run')} gave identical outputs.</p>"
    yield from _checks(answer.get("checks", ()))
    yield from _not_executed(answer["not_executed"])
    yield from _changes(answer.get("changes"))
    yield from _summary(runs)
    if runs:
        yield from _lineage(answer["runs"])
    plots = _Plots()
    for number, run in enumerate(runs[:_MOST_RUNS]):
        yield from _run(run, number, plots)
    if len(runs) > _MOST_RUNS:
        yield _rest(len(runs) - _MOST_RUNS, "run")


class _Plots:
    """Counts the outputs whose differences are drawn, over all runs."""

    def __init__(self) -> None:
        self.left = _MOST_PLOTTED_OUTPUTS

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def _checks(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not checks:
        return
    rows = [
        (
            text(check["name"]),
            "ok" if check["ok"] else f'<span class="bad">{plural(len(check["problems"]), "problem")}</span>',
            text(check["detail"]),
        )
        for check in checks
    ]
    yield table("Checks, in order", ("check", "answer", "of"), rows)
    found = [(check["name"], problem) for check in checks for problem in check["problems"]]
    if found:
        lines = [
            (
                text(name),
                text(problem["kind"]),
                text(problem["message"], _LONGEST_LINE),
                code(problem["fix"] or ""),
            )
            for name, problem in found[:_MOST_ROWS]
        ]
        yield table("Problems", ("check", "kind", "what", "fix"), lines)
        if len(found) > _MOST_ROWS:
            yield _rest(len(found) - _MOST_ROWS, "problem")


def _not_executed(missed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not missed:
        return
    rows = [
        (
            code(title_of(item)),
            text(item["error"]["message"], _LONGEST_LINE),
            text(item["error"]["hint"] or ""),
        )
        for item in missed[:_MOST_ROWS]
    ]
    yield table("Runs that could not be executed", ("run", "error", "hint"), rows)
    if len(missed) > _MOST_ROWS:
        yield _rest(len(missed) - _MOST_ROWS, "run")


def _changes(changes: Mapping[str, Any] | None) -> Iterator[str]:
    """Yields what a pull request changed, each table in its own frame, because a name may be long."""
    tables = list(change_tables(changes))
    if tables:
        yield "<h2>What the change did</h2>"
    for told in tables:
        rows = [
            (*map(code, row[: told.foreign]), *map(text, row[told.foreign :]))
            for row in told.rows[:_MOST_ROWS]
        ]
        yield f'<div class="scroll">{table(told.title, told.headings, rows)}</div>'
        if len(told.rows) > _MOST_ROWS:
            yield _rest(len(told.rows) - _MOST_ROWS, "line")


def _summary(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(runs) < 2:
        return
    rows = [
        (
            code(title_of(run)),
            _verdict(run["verdict"]),
            f"{sum(item['verdict'] == _SAME for item in run['outputs']):,} of {len(run['outputs']):,}",
            text(run["engine"]),
        )
        for run in runs[:_MOST_ROWS]
    ]
    yield table("Runs, the worst first", ("run", "verdict", "identical outputs", "engine"), rows)
    if len(runs) > _MOST_ROWS:
        yield _rest(len(runs) - _MOST_ROWS, "run")


# -------------------------------------------------------------------------------------------------- lineage


def _lineage(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields how the outputs came from code, data and environment; a repetition of a run is drawn once."""
    unique: dict[str, Mapping[str, Any]] = {}
    for run in by_gravity(runs):
        unique.setdefault(run["id"], run)
    order = {run_id: number for number, run_id in enumerate(dict.fromkeys(run["id"] for run in runs))}
    drawn = sorted(list(unique.values())[:_MOST_DRAWN_RUNS], key=lambda run: order[run["id"]])
    nodes: dict[str, Node] = {}
    edges: list[tuple[str, str]] = []
    for run in drawn:
        for node, edge in _tied(run):
            # Data that one run makes and another reads is one box, and its verdict is what there is to say.
            if node.key not in nodes or not nodes[node.key].tone:
                nodes[node.key] = node
            edges += edge
    names = {key: f"{node.kind} {node.label}" for key, node in nodes.items()}
    rows = [(code(names[cause]), code(names[effect])) for cause, effect in dict.fromkeys(edges)]
    yield "<h2>From code, data and environment to outputs</h2>"
    described = "; ".join(
        f"run {title_of(run)}: {run['verdict']}, {plural(len(run['record']['inputs']), 'input')},"
        f" {plural(len(run['outputs']), 'output')}"
        for run in drawn
    )
    picture = draw_graph(
        list(nodes.values()), edges, key="lineage", title="Lineage of the outputs", description=described
    )
    yield figure(picture, "Thick red: not reproduced. Dashed: other bytes, the same content or close to it.")
    yield table("The same as a table", ("from", "to"), rows[: 2 * _MOST_ROWS])
    if len(unique) > len(drawn):
        yield _rest(len(unique) - len(drawn), "run")


def _tied(run: Mapping[str, Any]) -> Iterator[tuple[Node, list[tuple[str, str]]]]:
    record, key = run["record"], f"run {run['id']}"
    code, environment = record["code"], record["environment"]
    edited = "with uncommitted changes" if code["dirty"] else f"tree {short_id(code['tree'])}"
    yield Node(f"code {code['tree']}", "code", short_id(code["sha"]) or "no commit yet", edited), []
    sources = [f"code {code['tree']}"]
    if environment is not None:
        sources.append(f"environment {environment}")
        yield Node(sources[-1], "environment", short_id(environment)), []
    for entry in record["inputs"][:_MOST_DRAWN]:
        sources.append(f"data {entry['path']} {entry['id']}")
        yield Node(sources[-1], "data", entry["path"], short_id(entry["id"])), []
    if len(record["inputs"]) > _MOST_DRAWN:
        sources.append(f"more inputs {run['id']}")
        yield Node(sources[-1], "data", _more(len(record["inputs"]) - _MOST_DRAWN, "input")), []
    node = Node(key, "run", title_of(run), run["verdict"], tone_of(run["verdict"]))
    yield node, [(source, key) for source in sources]
    outputs = by_gravity(run["outputs"])
    for item in outputs[:_MOST_DRAWN]:
        made = f"data {item['path']} {item['recorded']}"
        yield Node(made, "output", item["path"], item["verdict"], tone_of(item["verdict"])), [(key, made)]
    if len(outputs) > _MOST_DRAWN:
        made, worst = f"more outputs {run['id']}", outputs[_MOST_DRAWN]["verdict"]
        label = _more(len(outputs) - _MOST_DRAWN, "output")
        detail = worst if worst == _SAME else f"{worst} at worst"
        yield Node(made, "output", label, detail, tone_of(worst)), [(key, made)]


# ---------------------------------------------------------------------------------------------------- a run


def _run(run: Mapping[str, Any], number: int, plots: _Plots) -> Iterator[str]:
    yield f"<section>\n<h2>Run {code(title_of(run))}: {_verdict(run['verdict'])}</h2>"
    yield from _unproven(run["unproven"])
    yield from _findings(run["diagnosis"])
    yield from _outputs(run, number, plots)
    yield from _variations(run["variations"])
    yield "<h3>How it was executed</h3>"
    yield _facts(_execution(run))
    extra = run["extra_files"]
    if extra:
        yield f"<h3>Written besides the outputs</h3>\n<ul>{_items(map(code, extra[:_MOST_ROWS]))}</ul>"
        if len(extra) > _MOST_ROWS:
            yield _rest(len(extra) - _MOST_ROWS, "file")
    yield "</section>"


def _unproven(inputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not inputs:
        return
    items = (
        f"{code(item['path'])}: {text(unproven_text(item['verdict']))}, run {code(short_id(item['run']))}"
        for item in inputs[:_MOST_ROWS]
    )
    yield "<h3>Stands on inputs that were not reproduced</h3>"
    yield f"<p>It was executed with the recorded ones.</p>\n<ul>{_items(items)}</ul>"
    if len(inputs) > _MOST_ROWS:
        yield _rest(len(inputs) - _MOST_ROWS, "input")


def _findings(diagnosis: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields what is confirmed, then what is likely, then what was not tested."""
    shown = diagnosis[:_MOST_FINDINGS]
    for status, heading in _STATUSES.items():
        items = [_finding(item) for item in shown if item["status"] == status]
        if items:
            yield f"<h3>{heading}</h3>\n<ul>{_items(items)}</ul>"
    if len(diagnosis) > _MOST_FINDINGS:
        yield _rest(len(diagnosis) - _MOST_FINDINGS, "finding")


def _finding(finding: Mapping[str, Any]) -> str:
    told = f"<strong>{text(finding['cause'])}</strong>: {text(finding['detail'], _LONGEST_LINE)}"
    if finding["experiment"]:
        told += f"<br>experiment: {text(finding['experiment'], _LONGEST_LINE)}"
    if finding["fix"] is not None:
        told += f"<br>fix: {code(finding['fix'], _LONGEST_LINE)}"
    return told


def _variations(variations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not variations:
        return
    rows = [
        (
            text(item["factor"]),
            _verdict(item["verdict"]) if item["verdict"] else "not tried",
            text(item["detail"], _LONGEST_LINE),
        )
        for item in variations[:_MOST_ROWS]
    ]
    yield "<h3>How it behaves elsewhere</h3>"
    yield table("One thing changed on purpose in each re-run", ("changed", "verdict", "detail"), rows)


def _outputs(run: Mapping[str, Any], number: int, plots: _Plots) -> Iterator[str]:
    outputs = by_gravity(run["outputs"])
    if not outputs:
        yield f"<p>The run has no outputs; its command ended with {run['exit_code']}.</p>"
        return
    rows = [
        (
            code(item["path"]),
            _verdict(item["verdict"]),
            code(short_id(item["recorded"])),
            code(short_id(item["reproduced"])),
            text(item["detail"]),
        )
        for item in outputs[:_MOST_ROWS]
    ]
    yield table(
        "Outputs, the worst first", ("output", "verdict", "recorded", "reproduced", "what differs"), rows
    )
    if len(outputs) > _MOST_ROWS:
        yield _rest(len(outputs) - _MOST_ROWS, "output")
    for place, item in enumerate(outputs):
        if item["differences"] and plots.take():
            yield from _differences(item, f"run{number}-output{place}")


def _differences(output: Mapping[str, Any], key: str) -> Iterator[str]:
    places = output["differences"][:_MOST_PLACES]
    yield f'<h3>Where {code(output["path"])} differs</h3>\n<div class="row">'
    errors = [item for item in places if item["norm"]]
    if errors:
        bars = [Bar(_place(item), _on_scale(item["norm"]), item["norm"], _tone(item)) for item in errors]
        ticks = [(1 - decade / _DECADES, f"1e-{decade}" if decade else "1") for decade in range(0, 17, 4)]
        yield figure(
            _bars(bars, f"{key}-errors", f"Relative error, norm-wise, in {output['path']}", ticks),
            "Norm-wise relative error of each place, on a logarithmic scale.",
        )
    counted = [item for item in places if item["total"]]
    if counted:
        bars = [
            Bar(
                _place(item),
                item["differing"] / item["total"],
                f"{item['differing']:,} of {item['total']:,}",
                _tone(item),
            )
            for item in counted
        ]
        ticks = [(0, "none"), (0.5, "half"), (1, "all")]
        yield figure(
            _bars(bars, f"{key}-shares", f"Share of elements that differ in {output['path']}", ticks),
            "Share of the elements that differ.",
        )
    yield "</div>"
    headings = (
        "place",
        "kind",
        "recorded",
        "reproduced",
        "type",
        "differing",
        "of",
        "norm-wise",
        "largest",
        "ulp",
        "ignored by",
    )
    rows = [
        (
            code(_place(item)),
            text(item["nature"]),
            code(item["recorded"]),
            code(item["reproduced"]),
            text(item["dtype"]),
            _count(item["differing"]),
            _count(item["total"]),
            text(item["norm"]),
            text(item["largest"]),
            _count(item["ulps"]),
            code(item["rule"]),
        )
        for item in places
    ]
    yield f'<div class="scroll">{table("Places that differ, the gravest first", headings, rows)}</div>'
    if len(output["differences"]) > _MOST_PLACES:
        yield _rest(len(output["differences"]) - _MOST_PLACES, "place")


def _bars(bars: Sequence[Bar], key: str, title: str, ticks: Sequence[tuple[float, str]]) -> str:
    described = "; ".join(f"{bar.label}: {bar.text}" for bar in bars)
    return draw_bars(bars, key=key, title=title, description=described, ticks=ticks)


def _place(difference: Mapping[str, Any]) -> str:
    return difference["where"] or "(the whole file)"


def _tone(difference: Mapping[str, Any]) -> str:
    if difference["rule"] or difference["nature"] == "container":
        return "good"
    return "fair" if difference["nature"] in {"order", "numeric"} else "bad"


def _on_scale(norm: str) -> float:
    """Returns where a relative error stands between 1e-16 and 1; what is no number is the worst."""
    try:
        error = float(norm)
    except ValueError:
        return 1.0
    if math.isnan(error):
        return 1.0
    return 0.0 if error <= 0 else 1 + min(math.log10(error), 0.0) / _DECADES


def _execution(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    record = run["record"]
    yield "run", code(run["id"])
    if run["verdict_id"] is not None:
        yield "verdict", code(run["verdict_id"])
    yield "command", code(command_line(record["argv"]), _LONGEST_LINE)
    yield "engine", text(run["engine"] + ("" if run["isolated"] else ", not isolated"))
    if run["base"] is not None:
        yield "base", code(run["base"]["reference"])
    seed = "" if record["seed"] is None else f", seed {record['seed']}"
    threads = f", {plural(record['threads'], 'thread')}" if record["threads"] else ""
    yield "profile", text(f"{record['profile']}{threads}{seed}")
    yield "recorded", text(f"{record['started']} on {_machine(record['host'])}")
    yield "reproduced", text(f"{run['started']} on {_machine(run['host'])}")
    yield "command ended with", f"{run['exit_code']} after {run['duration_ms'] / 1000:.1f} s"


def _machine(host: Mapping[str, str]) -> str:
    known = [host[name] for name in ("cpu_model", "os", "gpu_driver") if name in host]
    return ", ".join(known) or "a machine that is not known"


# ----------------------------------------------------------------------------------------------------- HTML


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _verdict(verdict: str) -> str:
    return f'<span class="{tone_of(verdict)}">{escape(verdict)}</span>'


def _items(items: Iterable[str]) -> str:
    return "".join(f"<li>{item}</li>" for item in items)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts)}</dl>"


def _more(count: int, noun: str) -> str:
    return f"{count:,} more {noun}{'' if count == 1 else 's'}"


def _rest(count: int, noun: str) -> str:
    return f'<p class="faint">And {_more(count, noun)}: the JSON report has {"it" if count == 1 else "them"}.</p>'
