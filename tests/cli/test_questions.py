"""Lineage, impact, comparison, blame and names, as a user asks for them."""

import dataclasses
import json
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId, PlanId, RunId, TreeId
from mlvc.model.objects import Code, Run
from mlvc.repo import Repo
from mlvc.verbs.blame import blame
from mlvc.verbs.compare import compare
from mlvc.verbs.impact import impact
from mlvc.verbs.lineage import lineage
from mlvc.verbs.log import log
from mlvc.verbs.runs import list_runs, whole_record
from mlvc.verbs.tag import models, tag
from tests.support.command import Mlvc
from tests.support.index_project import data
from tests.support.reporter import RecordingReporter

TRAIN = (
    "import sys, mlvc; mlvc.log_metric('mae', float(sys.argv[1])); open('model', 'w').write(sys.argv[1])\n"
)


@pytest.fixture(scope="module")
def first_trained(first_project, tmp_path_factory):
    """What `trained` starts from: made once, because it takes many processes of mlvc."""
    folder = tmp_path_factory.mktemp("trained") / "repo"
    shutil.copytree(first_project, folder, symlinks=True)
    run = Mlvc(cwd=folder)
    (folder / "train.py").write_text(TRAIN)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    for number in ("10", "9"):
        run("run", "-n", f"train{number}", "-i", "data", "-o", "model", "--", "python", "train.py", number)
        run("commit", "-m", f"model {number}")
    run(
        "run",
        "-n",
        "report",
        "-i",
        "model",
        "-o",
        "report <1>",
        "--",
        "sh",
        "-c",
        "cat model model > 'report <1>'",
    )
    return folder


@pytest.fixture
def trained(first_trained, git_repo):
    """A first model, a second one, and a report on the second; everything but that committed."""
    shutil.rmtree(git_repo)
    shutil.copytree(first_trained, git_repo, symlinks=True)
    return git_repo


def test_impact_of_a_file_in_a_directory(trained, run_mlvc):
    """Every run that read it or something made of it, what commits track, and the names of that."""
    run_mlvc("tag", "churn@1.0", "HEAD", "--path", "model")
    run_mlvc("tag", "churn#production", "churn@1.0")

    answer = run_mlvc("impact", "data/table.csv", "--json").json()

    assert ["train10", "train9", "report"] == [run["name"] for run in answer["runs"]]
    assert {"data": 3, "model": 2} == {
        path: sum(item["path"] == path for item in answer["paths"]) for path in ("data", "model")
    }
    assert ["churn@1.0", "churn#production"] == [item["name"] for item in answer["names"]]
    by_id = run_mlvc("impact", BlobId.of(b"a,b\n1,2\n").hex[:12], "--json").json()
    assert answer == by_id
    text = run_mlvc("impact", "data/table.csv").stdout
    assert "alias   churn#production  model" in text
    for rev in ("HEAD~2", "main~2"):
        assert (
            run_mlvc("show", rev, "--json").json()["id"]
            == run_mlvc("impact", rev, "--json").json()["target"][0]
        )


def test_impact_of_a_package(trained, run_mlvc):
    """Runs of environments with one of the versions; a version that nobody had is no answer."""
    first = run_mlvc("env", "lock", "--json").json()["distributions"][0]

    found = run_mlvc("impact", f"{first['name']}=={first['version']}", "--json").json()

    assert {"train10", "train9"} <= {run["name"] for run in found["runs"]}
    done = run_mlvc("impact", f"{first['name']}<0.0.0.dev0", check=2)
    assert "no recorded environment has" in done.stderr


@pytest.mark.parametrize(
    "what",
    [
        "nothing/here",
        "0123456789abcdef",
        "pandas<about 1",
        "%'\"; DROP TABLE runs",
        "\n",
        "x" * 100_000,
        "HEAD~9",
    ],
)
def test_impact_of_nothing(trained, run_mlvc, what):
    """One error."""
    done = run_mlvc("impact", what, check=2)

    assert 1 == done.stderr.count("error:")
    assert 500 > len(done.stderr)


@pytest.mark.parametrize("text", ["x" * 10_000_000, "a\udcffb", "a\0b"], ids=["large", "bytes", "nul"])
def test_questions_about_any_text(trained, text):
    """In Python, where an argument may be longer than a command's: one error, and a short one."""
    repo = Repo.open(trained, reporter=RecordingReporter(), environment={"HOME": str(trained)})
    for ask in (
        lambda: impact(repo, text),
        lambda: lineage(repo, text),
        lambda: compare(repo, ["train9", text]),
        lambda: log(repo, text),
        lambda: tag(repo, "x@1", text),
        lambda: tag(repo, f"x@{text}"),
        lambda: blame(repo, text),
    ):
        with pytest.raises(MlvcError) as caught:
            ask()
        assert 500 > len(caught.value.message)
    assert () == models(repo, text)


def test_lineage_as_graphs(trained, run_mlvc):
    """Text, JSON, DOT and SVG name the same runs."""
    answer = run_mlvc("lineage", "model", "--json").json()
    dot = run_mlvc("lineage", "model", "--format", "dot").stdout
    picture = ElementTree.fromstring(run_mlvc("lineage", "model", "--format", "svg").stdout)
    titles = [item.text for item in picture.iter("{http://www.w3.org/2000/svg}title")]

    assert ["train9", "report"] == [run["name"] for run in answer["runs"]]
    assert {("data", False), ("model", True), ("model", False), ("report <1>", True)} == {
        (edge["path"], edge["made"]) for edge in answer["edges"]
    }
    for name in ("train9", "report", "data", "report <1>"):
        assert any(title.startswith(name) for title in titles)
        assert f'label="{name} ' in dot
    assert 4 == dot.count(" -> ")
    assert {"model"} == {item["path"] for item in answer["tracked"]}
    page = run_mlvc("lineage", "model", "--format", "html").stdout
    drawn = ElementTree.fromstring(page[page.index("<svg ") : page.index("</svg>") + 6])
    assert 5 == sum(item.get("class") == "box" for item in drawn.iter("{http://www.w3.org/2000/svg}rect"))
    assert 4 == sum(item.get("class") == "edge" for item in drawn.iter("{http://www.w3.org/2000/svg}path"))
    for run in answer["runs"]:
        assert f"<td>{run['name']}</td>" in page
    assert "<code>report &lt;1&gt;</code>" in page
    assert "<script" not in page


def test_lineage_without_the_records(trained, run_mlvc, git, tmp_path):
    """In a clone that has not fetched them, data that a run made is not said to be added as it is."""
    run_id = run_mlvc("show", "train9", "--json").json()["id"]
    git("clone", "-q", str(trained), str(tmp_path / "clone"))

    told = run_mlvc("lineage", "model", cwd=tmp_path / "clone")
    (target,) = run_mlvc("lineage", "model", "--json", cwd=tmp_path / "clone").json()["targets"]

    assert f"made by run {RunId.parse(run_id).short}, whose record is not here" in told.stdout
    assert "added as it is" not in told.stdout
    assert "mlvc fetch" in told.stderr
    assert (None, run_id) == (target["run"], target["missing_run"])


def test_lineage_of_a_long_chain(project, run_mlvc):
    """A thousand runs, each from the one before: all are told, the nearest of them one inside the other."""
    repo = Repo.open(project, reporter=RecordingReporter(), environment={"HOME": str(project)})
    before = data("m", "0")
    with repo.store.writer() as writer:
        for number in range(1, 1_001):
            after = data("m", str(number))
            run = Run(
                PlanId.of(b""),
                ("tune",),
                "",
                "/p",
                Code(None, dirty=False, tree=TreeId.of(b"")),
                inputs=(before,),
                outputs=(after,),
            )
            last, before = writer.add_object(run), after

    text = run_mlvc("lineage", str(last)).stdout
    answer = run_mlvc("lineage", str(last), "--json").json()
    picture = run_mlvc("lineage", str(last), "--format", "svg").stdout
    page = run_mlvc("lineage", str(last), "--format", "html").stdout

    assert (1_000, 2_000) == (len(answer["runs"]), len(answer["edges"]))
    assert 51 == text.count("made by run")
    assert 1 == text.count("(and so on: mlvc lineage ")
    assert 2_001 == picture.count("<rect ")
    assert 40 == page.count('<g class="run"')
    assert "960 runs farther away not drawn" in page
    assert "And 500 more" in page
    assert 1_000_000 > len(page)


def test_compare(trained, run_mlvc):
    """What differs comes first; the picture has a panel for each metric."""
    answer = run_mlvc("compare", "train10", "train9", "--json", "--plot", "m.svg").json()
    differing = {
        (line["section"], line["name"]): line["values"] for line in answer["lines"] if line["differs"]
    }

    assert ["10.0", "9.0"] == differing["metrics", "mae"]
    assert ("data", "output model") in differing
    assert ("data", "input data") not in differing
    for section in ("code", "data", "environment", "run"):
        told = [line["differs"] for line in answer["lines"] if line["section"] == section]
        assert sorted(told, reverse=True) == told
    picture = ElementTree.parse(trained / "m.svg").getroot()
    assert ["10.0", "9.0"] == [item.text for item in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert "the picture is SVG" in run_mlvc("compare", "train9", "train10", "--plot", "m.gif", check=2).stderr
    assert "two runs" in run_mlvc("compare", "train9", check=2).stderr


_STEPS = (
    "import sys, mlvc\n"
    "rate = int(sys.argv[1])\n"
    "for step in range(3): mlvc.log_metric('loss', 10 - rate * step, step)\n"
    "rows = ''.join(f'{epoch},0.{rate}{epoch},\\n' for epoch in range(4))\n"
    "open('m.csv', 'w').write('epoch,accuracy,lr\\n' + rows)\n"
)


def test_compare_over_steps(project, run_mlvc, git, tmp_path):
    """What was logged and what a file has, with its extremes; the pictures have a line for each run.

    It travels with the record: a clone draws the same. Without its bytes there is a warning, and the last values.
    """
    (project / "steps.py").write_text(_STEPS)
    for rate in ("1", "2"):
        run_mlvc(
            "run", "-n", f"r{rate}", "-o", "m.csv", "--metrics", "m.csv", "--", "python", "steps.py", rate
        )
    run_mlvc("run", "-n", "plain", "--", "python", "-c", "import mlvc; mlvc.log_metric('loss', 5)")
    run_mlvc("commit", "-m", "steps")

    answer = run_mlvc("compare", "r1", "r2", "plain", "--json", "--plot", "m.svg").json()

    assert [{"accuracy", "loss"}, {"accuracy", "loss"}, set()] == [set(each) for each in answer["series"]]
    assert {"steps": ["0", "1", "2"], "values": ["10", "8", "6"]} == answer["series"][1]["loss"]
    assert ["0.10", "0.11", "0.12", "0.13"] == answer["series"][0]["accuracy"]["values"]
    lines = {(line["section"], line["name"]): line["values"] for line in answer["lines"]}
    assert ["8", "6", "5"] == lines["metrics", "loss"]
    assert ["8 at 2", "6 at 2", None] == lines["steps", "loss: lowest"]
    assert ["4", "4", None] == lines["steps", "accuracy: steps"]
    drawn = (project / "m.svg").read_bytes()
    assert 5 == drawn.count(b"<polyline")
    assert 1 == drawn.count(b"stroke-dasharray")
    run_mlvc("compare", "r1", "r2", "--plot", "m.PNG")
    assert (project / "m.PNG").read_bytes().startswith(b"\x89PNG")
    before = run_mlvc("runs", "--json").json()
    run_mlvc("index", "rebuild")
    assert before == run_mlvc("runs", "--json").json()
    assert [("5", None), ("6", "0.23"), ("8", "0.13")] == [
        tuple(
            json.dumps(run["metrics"][name]) if name in run["metrics"] else None
            for name in ("loss", "accuracy")
        )
        for run in before["runs"]
    ]
    run_mlvc("remote", "add", "origin", f"file://{tmp_path / 'remote'}")
    run_mlvc("push")
    clone = tmp_path / "clone"
    git("clone", "-q", str(project), str(clone))
    run_mlvc("remote", "add", "origin", f"file://{tmp_path / 'remote'}", cwd=clone)
    run_mlvc("fetch", cwd=clone)
    assert "mlvc fetch --data" in run_mlvc("compare", "r1", "r2", cwd=clone).stderr
    run_mlvc("fetch", "--data", cwd=clone)
    run_mlvc("compare", "r1", "r2", "plain", "--plot", "m.svg", cwd=clone)
    assert drawn == (clone / "m.svg").read_bytes()


def test_compare_without_the_steps(trained, run_mlvc):
    """What is in no store here is a warning; what is damaged there is an error."""
    repo = Repo.open(trained, reporter=RecordingReporter(), environment={"HOME": str(trained)})
    run = dataclasses.replace(
        whole_record(repo, list_runs(repo).runs[-1]), name="lost", series=BlobId.of(b"gone")
    )
    with repo.store.writer() as writer:
        writer.add_object(run)
        writer.add_object(dataclasses.replace(run, name="broken", series=writer.add_blob(b"{}")))

    done = run_mlvc("compare", "train9", "lost", "--json")

    assert "over steps are not here" in done.stderr
    assert [{}, {}] == done.json()["series"]
    assert "error:" in run_mlvc("compare", "train9", "broken", check=2).stderr


def test_blame(trained, run_mlvc, git):
    """The commit and run of each path's content, through a merge to the side that brought it."""
    first, second, third = git("log", "--format=%H", "--reverse").split()
    run_mlvc("commit", "-m", "report")
    git("checkout", "-q", "-b", "side", third)
    run_mlvc("checkout")
    (trained / "side").write_text("side")
    run_mlvc("add", "side")
    side = run_mlvc("commit", "-m", "side", "--json").json()["code_sha"]
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-edit", "side", check=False)
    run_mlvc("checkout")
    run_mlvc("commit", "-m", "merge", check=False)

    found = {item["path"]: item for item in run_mlvc("blame", "--json").json()["paths"]}

    assert (first, third, side) == tuple(found[path]["code_sha"] for path in ("data", "model", "side"))
    assert run_mlvc("show", "train9", "--json").json()["id"] == found["model"]["run"]
    assert second not in {item["code_sha"] for item in found.values()}
    (trained / "data" / "table.csv").write_text("edited")
    run_mlvc("add", "data")
    assert [None] == [item["code_sha"] for item in run_mlvc("blame", "data", "--json").json()["paths"]]
    assert "is not tracked" in run_mlvc("blame", "nothing", check=2).stderr


STRANGE_TAGS = (
    ("99999999999999999 +0000", b"x\n\nMlvc-Path: model\n"),
    ("-5 +0000", b"x\n\nMlvc-Path: model\n"),
    ("5 +0000", b"x\n\nMlvc-Path: %ZZ\n"),
    ("5 +0000", b"x\0y\0z\n\nMlvc-Path: model\n"),
    ("5 +0000", b"x\n\nMlvc-Was: nothing\nMlvc-Path: ../../etc/passwd\n"),
)


def test_a_strangers_tags(trained, git):
    """Whatever git carries: the others are listed, and can be asked about."""
    repo = Repo.open(trained, reporter=RecordingReporter(), environment={"HOME": str(trained)})
    tag(repo, "churn@1.0", path="model")
    head = git("rev-parse", "HEAD").strip()
    for number, (when, body) in enumerate(STRANGE_TAGS):
        name = f"bad@{number}"
        text = f"object {head}\ntype commit\ntag {name}\ntagger S <s@e> {when}\n\n".encode() + body
        made = subprocess.run(
            ["git", "hash-object", "-t", "tag", "-w", "--stdin", "--literally"],
            cwd=trained,
            input=text,
            capture_output=True,
            check=True,
        )
        git("update-ref", f"refs/tags/{name}", made.stdout.decode().strip())

    found = {model.named.name: model for model in models(repo)}

    assert ("9.0", "model") == (found["churn@1.0"].metrics["mae"], found["churn@1.0"].named.path)
    assert {"bad@0", "bad@1", "bad@3", "bad@4", "churn@1.0"} == found.keys()
    assert "churn@1.0" in {named.name for named in impact(repo, "data").names}
    assert "1970" == found["bad@0"].named.tag.time[:4]


def test_names(trained, run_mlvc, git):
    """A version is given once; an alias moves and remembers; both are revisions, and travel with git."""
    run_mlvc("tag", "churn@1.0", "HEAD~1", "--path", "model")
    run_mlvc("tag", "churn@1.1", "--path", "model")
    run_mlvc("tag", "churn#production", "churn@1.0")
    moved = run_mlvc("tag", "churn#production", "churn@1.1", "-m", "better", "--json").json()

    old, new = git("rev-parse", "HEAD~1").strip(), git("rev-parse", "HEAD").strip()
    assert (new, old, "model") == (moved["code_sha"], moved["moved_from"], "model")
    models = {item["name"]: item for item in run_mlvc("models", "churn", "--json").json()["models"]}
    assert {"churn@1.0": 10, "churn@1.1": 9, "churn#production": 9} == {
        name: item["metrics"]["mae"] for name, item in models.items()
    }
    assert [old] == [item["code_sha"] for item in models["churn#production"]["history"]]
    for name, run in (("churn@1.0", "train10"), ("churn#production", "train9")):
        found = run_mlvc("lineage", name, "--json").json()["targets"]
        assert [("model", models[name]["id"], run)] == [
            (item["path"], item["id"], item["run"]["name"]) for item in found
        ]
        reached = run_mlvc("impact", name, "--json").json()
        assert [models[name]["id"]] == reached["target"]
        assert {"model"} <= {item["path"] for item in reached["paths"]} <= {"model", "report <1>"}
    beside = run_mlvc("compare", "churn@1.0", "churn#production", "--json").json()
    assert ["10.0", "9.0"] == [
        value for line in beside["lines"] if line["name"] == "mae" for value in line["values"]
    ]
    assert new == run_mlvc("show", "churn#production", "--json").json()["code_sha"]
    assert "10" == run_mlvc("cat", "churn@1.0:model").stdout
    assert "tag\n" == git("cat-file", "-t", "churn@1.0")
    assert "there is a tag" in run_mlvc("tag", "churn@1.0", check=2).stderr
    for name in ("churn", "a b@1", "@1", "x@y..z", "-x@1", "x@1\n", "x@" + "9" * 5000):
        assert 2 == run_mlvc("tag", "--", name, check=2).exit
    run_mlvc("tag", "churn#production", "churn@1.0")
    (back,) = (
        item for item in run_mlvc("models", "--json").json()["models"] if item["name"] == "churn#production"
    )
    assert (old, [new, old]) == (back["code_sha"], [item["code_sha"] for item in back["history"]])
    forged = run_mlvc("tag", "churn#production", "-m", f"x\nMlvc-Was: 2026-01-01 {old}", check=2)
    assert "a line of the message begins with" in forged.stderr
    assert "does not track" in run_mlvc("tag", "x@1", "--path", "nothing", check=2).stderr


# ------------------------------------------------------------------------------------- records that are not here


@pytest.fixture
def copy(trained, run_mlvc, git, tmp_path):
    """A plain git clone of `trained`, whose newest run is committed and whose records are on a remote."""
    run_mlvc("commit", "-m", "report")
    run_mlvc("tag", "churn@1.0", "HEAD", "--path", "model")
    run_mlvc("remote", "add", "team", tmp_path / "far")
    run_mlvc("push")
    subprocess.run(["git", "clone", "--quiet", trained, tmp_path / "copy"], check=True)
    return Mlvc(cwd=tmp_path / "copy")


def test_questions_say_that_records_are_not_here(copy, tmp_path):
    """In one note, with the command that brings them; afterwards there is nothing to say."""
    asked = [["runs"], ["models"], ["log"], ["impact", "model"]]
    told = {verb: copy(verb, *rest).stderr for verb, *rest in asked}

    for verb, text in told.items():
        assert ["`mlvc remote add NAME URL`, then `mlvc fetch`"] == [
            text.partition("be all: ")[2].partition(" brings")[0]
        ], verb
        assert 1 == text.count("\n"), text
    assert "2 runs" in told["runs"]
    assert {"runs": []} == copy("runs", "--json").json()
    copy("remote", "add", "team", tmp_path / "far")
    assert "this may not be all: `mlvc fetch`" in copy("runs").stderr
    copy("fetch")

    assert [""] * len(asked) == [copy(*arguments).stderr for arguments in asked]
    assert "mae=9" in copy("models").stdout


def test_questions_where_there_is_nothing_say_nothing(git_repo, run_mlvc):
    """Neither before anything was added, nor before the first commit."""
    run_mlvc("init")
    (git_repo / "data").mkdir()
    (git_repo / "data" / "one.csv").write_text("1\n")
    assert ["", ""] == [run_mlvc(verb).stderr for verb in ("runs", "models")]
    run_mlvc("add", "data")

    assert ["", ""] == [run_mlvc(verb).stderr for verb in ("runs", "models")]
