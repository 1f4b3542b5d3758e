"""Reports of a whole job: checks, problems and changes, whatever the names in them hold."""

import io
import re
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options

from mlvc.cli.github import tell_github
from mlvc.cli.markdown import as_markdown
from mlvc.cli.report import write_report
from tests.support.answers import HOSTILE, answer, missed, output, run
from tests.support.junit import read_junit

WRITTEN = ("c.html", "c.json", "c.md", "c.xml")


def check(name, *problems, detail="3 tracked"):
    return {"name": name, "ok": not problems, "detail": detail, "problems": list(problems)}


def problem(message="one.sh is not what HEAD has", fix="git add one.sh"):
    return {"kind": "uncommitted", "message": message, "fix": fix}


def ci_answer(*checks, runs=(), status="failed", changes=None, not_executed=()):
    told = answer(*runs, verdict=None, missed=not_executed)
    return {**told, "status": status, "checks": list(checks), "changes": changes}


def metric(before, after, path="m.bin", name="f1"):
    return {"path": path, "name": name, "before": before, "after": after}


def data(path="data", **counts):
    whole = {
        "files_added": 1,
        "files_changed": 2,
        "files_removed": 3,
        "bytes_before": 1000,
        "bytes_after": 2500,
    }
    return {"path": path, **whole, **counts}


def change(name="pandas", before="1.0", after="1.1"):
    return {"name": name, "before": before, "after": after}


def drift(**fields):
    return {"added": [], "removed": [], "changed": [], "interpreter": None, **fields}


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))


def rendered(document):
    html = cmarkgfm.markdown_to_html_with_extensions(
        document.decode(),
        Options.CMARK_OPT_UNSAFE,
        extensions=["table", "autolink", "strikethrough", "tasklist"],
    )
    return Tags(html).found


def test_every_report_has_the_checks_and_the_problems_with_their_fixes(tmp_path):
    """Before any run, because no run was begun."""
    told = ci_answer(check("lock", problem()), check("remote"), not_executed=[missed("an earlier check")])
    for name in WRITTEN:
        write_report(tmp_path / name, told)

    for name in WRITTEN:
        text = (tmp_path / name).read_text()
        for fact in ("one.sh is not what HEAD has", "git add one.sh", "an earlier check"):
            assert fact in text, (name, fact)
    suite = read_junit(tmp_path / "c.xml")[0]
    assert ("mlvc ci", "2", "1") == tuple(suite.get(key) for key in ("name", "tests", "failures"))
    assert [("lock", ["failure"]), ("remote", [])] == [
        (case.get("name"), [item.tag for item in case]) for case in suite
    ]


def test_job_of_which_nothing_was_asked_passes(tmp_path):
    """No run, no verdict, and every report can be written."""
    for name in WRITTEN:
        write_report(tmp_path / name, ci_answer(check("lock"), check("runs"), status="passed"))

    assert "<title>mlvc ci: passed</title>" in (tmp_path / "c.html").read_text()
    assert (tmp_path / "c.md").read_text().startswith("## mlvc ci: passed\n")


def test_comment_tells_metrics_data_and_packages():
    """Numbers with their step, files with their count, packages with both versions."""
    changes = {
        "metrics": [metric(0.5, 0.75), metric(None, "good", name="note"), metric(10**400, 1, name="huge")],
        "data": [data(), data("gone", files_added=None, files_changed=None, files_removed=None)],
        "environment": drift(
            changed=[change()], added=["polars==1.9"], removed=["dask==2025.3"], interpreter=change("python")
        ),
    }

    text = as_markdown(ci_answer(check("lock"), changes=changes)).decode()

    for line in (
        "| `m.bin` | `f1` | `0.5` | `0.75` | +0.25 |",
        "| `m.bin` | `note` |  | `good` |  |",
        "| `data` | 1 | 2 | 3 | 1.0 kB | 2.5 kB |",
        "| `gone` | ? | ? | ? | 1.0 kB | 2.5 kB |",
        "| `pandas` | `1.0` | `1.1` |",
        "| `polars` |  | `1.9` |",
        "| `dask` | `2025.3` |  |",
        "| `python` | `1.0` | `1.1` |",
    ):
        assert f"\n{line}\n" in text, text
    assert "| `huge` |" in text


def test_page_has_the_tables_of_the_comment(tmp_path):
    """Metrics, data and packages with what they were before, between the checks and the runs."""
    changes = {
        "metrics": [metric(0.5, 0.75), metric(None, "good", name="note")],
        "data": [data(), data("gone", files_added=None, files_changed=None, files_removed=None)],
        "environment": drift(changed=[change()], added=["polars==1.9"], removed=["dask==2025.3"]),
    }

    write_report(tmp_path / "c.html", ci_answer(check("lock"), runs=[run(output("b"))], changes=changes))

    page = (tmp_path / "c.html").read_text()
    tables = dict(map(cells_of, page.split("<table>")[1:]))
    assert [
        ["m.bin", "f1", "0.5", "0.75", "+0.25"],
        ["m.bin", "note", "", "good", ""],
    ] == tables["Metrics"]
    assert [
        ["data", "1", "2", "3", "1.0 kB", "2.5 kB"],
        ["gone", "?", "?", "?", "1.0 kB", "2.5 kB"],
    ] == tables["Data"]
    assert [["pandas", "1.0", "1.1"], ["polars", "", "1.9"], ["dask", "2025.3", ""]] == tables["Environment"]
    assert ["Checks, in order", "Metrics", "Data", "Environment"] == list(tables)[:4]


def cells_of(table):
    """Returns the caption of a table, and its rows without the headings."""
    caption = re.search("<caption>(.*?)</caption>", table)[1]
    rows = re.findall("<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
    return caption, [
        [re.sub("<.*?>", "", cell) for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows
    ]


def test_more_changes_than_a_report_shows(tmp_path):
    """Both documents say how many were left out."""
    changes = {"metrics": [], "data": [data(f"d{number}") for number in range(100)], "environment": None}
    for name in ("c.html", "c.md"):
        write_report(tmp_path / name, ci_answer(check("lock"), changes=changes))

    assert "And 40 more lines: the JSON report has them." in (tmp_path / "c.html").read_text()
    assert "60 lines more: the JSON report has them." in (tmp_path / "c.md").read_text()


def test_report_without_changes_has_no_empty_section(tmp_path):
    """A reader sees only what there is to say."""
    told = ci_answer(changes={"metrics": [], "data": [], "environment": None})
    write_report(tmp_path / "c.html", told)

    assert "###" not in as_markdown(told).decode()
    assert "What the change did" not in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_or_message_leaves_its_place(tmp_path, text):
    """In a comment it brings no link, mention or markup, and an annotation stays one line."""
    changes = {
        "metrics": [metric(text, text, path=text, name=text)],
        "data": [data(text)],
        "environment": drift(changed=[change(text, text, text)], added=[text], removed=[text]),
    }
    told = ci_answer(check("lock", problem(text, text), detail=text), changes=changes)

    tags = rendered(as_markdown(told))

    ours = {"h2", "h3", "p", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert ours >= {name for name, _ in tags}, tags
    assert not [attributes for _, attributes in tags if attributes]
    assert [3, 5, 6, 3] == [len(row) for row in rows_of(tags)]
    write_report(tmp_path / "c.xml", told)
    assert 1 == len(read_junit(tmp_path / "c.xml"))
    write_report(tmp_path / "c.html", told)
    tags = Tags((tmp_path / "c.html").read_text()).found
    assert not {"a", "img", "script"} & {name for name, _ in tags}
    assert "What the change did" in (tmp_path / "c.html").read_text()
    stream = io.StringIO()
    tell_github({"GITHUB_ACTIONS": "true"}, told, stream)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("::error file=mlvc.lock,title=mlvc ci%3A lock::")


def rows_of(tags):
    """Returns the headings of each table."""
    tables = []
    for name, _ in tags:
        if name == "table":
            tables.append([])
        elif name == "th":
            tables[-1].append(name)
    return tables


def test_verdicts_of_runs_stand_below_the_checks():
    """The same table as that of a reproduction."""
    text = as_markdown(
        ci_answer(check("lock"), runs=[run(output("b", "different", "3 of 5 lines"))])
    ).decode()

    assert text.index("| lock | ok |") < text.index("| `train` | `b` | different |")
