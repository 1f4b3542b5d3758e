"""`mlvc repro --diagnose full` and `--vary` on small real scripts: the cause is named, and an experiment showed it."""

import contextlib
import http.server
import os
import shutil
import subprocess
import threading

import pytest

from tests.support.command import Mlvc
from tests.support.environments import find_system_python, install

ENGINES = [
    pytest.param("bubblewrap", marks=pytest.mark.sandbox),
    pytest.param("docker", marks=pytest.mark.docker),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An initialised repository with a virtual environment of the system's own Python."""
    folder = tmp_path_factory.mktemp("made") / "project"
    folder.mkdir()
    for command in (
        ["git", "init", "--quiet", "--initial-branch=main"],
        ["git", "config", "user.name", "Test User"],
        ["git", "config", "user.email", "test@example.org"],
        [find_system_python(), "-m", "venv", "--without-pip", ".venv"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    (folder / ".gitignore").write_text(".venv/\n")
    Mlvc(cwd=folder)("init")
    return folder


class Project:
    """Records one script, and asks why it does not reproduce."""

    def __init__(self, folder, base):
        self.folder = folder
        self.run = Mlvc(cwd=folder)
        self.engine = "bubblewrap" if base is None else "docker"
        if base is not None:
            with (folder / "mlvc.toml").open("a") as settings:
                settings.write(f'\n[image]\nbase = "{base}"\n')

    def record(self, script, *options, output="out.txt", env=None):
        (self.folder / "train.py").write_text(script)
        return self.run("run", "-o", output, *options, "--", ".venv/bin/python", "train.py", env=env or {})

    def why(self, *options, output="out.txt", check=1, env=None):
        command = ("repro", output, "--engine", self.engine, "--json", *options)
        (found,) = self.run(*command, check=check, env=env or {}).json()["runs"]
        return found


@pytest.fixture(params=ENGINES)
def project(request, made, tmp_path):
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    base = request.getfixturevalue("docker_engine").base_image if request.param == "docker" else None
    return Project(tmp_path / "project", base)


@pytest.fixture
def boxed(made, tmp_path, bubblewrap):
    """The project where the engine does not matter."""
    shutil.copytree(made, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project", None)


@contextlib.contextmanager
def one_cpu():
    """Lets what is started meanwhile use a single CPU, as `taskset` does."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def confirmed(found):
    return [item["cause"] for item in found["diagnosis"] if item["status"] == "confirmed"]


def test_an_unseeded_generator_is_confirmed(project):
    """Seeded, three re-runs agree; the fix is the command with `--seed`."""
    project.record("import random\nopen('out.txt', 'w').write(str(random.random()))\n")

    found = project.why("--diagnose", "full")

    assert ("different", ["unseeded-random"]) == (found["verdict"], confirmed(found))
    assert found["diagnosis"][0]["fix"].startswith("mlvc run -o out.txt --seed 0 --")
    assert found["diagnosis"][0]["rerun"] == 1 + found["reruns"]
    assert "3 re-runs with the generators seeded" in found["diagnosis"][0]["experiment"]
    assert "Python's global generator" in found["diagnosis"][0]["detail"]


def test_the_fix_of_an_unseeded_generator_works(boxed):
    """As it is told, typed into a shell."""
    boxed.record("import random\nopen('out.txt', 'w').write(str(random.random()))\n")
    fix = boxed.why("--diagnose", "full")["diagnosis"][0]["fix"]
    boxed.run(*fix.split()[1:])

    assert "identical" == boxed.why(check=0)["verdict"]


def test_the_layer_that_computes_differently_is_named(boxed):
    """The C library without fused multiplication: the small operations of the record say so, and which they are."""
    script = "import math\nopen('out.txt', 'w').write(repr([math.sin(n * 0.37) for n in range(5000)]))\n"
    boxed.record(script)
    without_fma = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA_Usable,-AVX2,-AVX2_Usable,-FMA4"}

    found = boxed.why("--against", "work", "--diagnose", "full", env=without_fma)

    (layer,) = [item for item in found["diagnosis"] if item["cause"] == "numeric-layer"]
    assert ("likely", True) == (layer["status"], "the C library's functions (math." in layer["detail"])
    assert ["numeric-libraries"] == confirmed(found)


def test_the_systems_randomness_is_confirmed(boxed):
    """`--seed` does not reach it, and the advice says so."""
    boxed.record("import secrets\nopen('out.txt', 'w').write(secrets.token_hex(8))\n", "--seed", "3")

    found = boxed.why("--diagnose", "full")

    assert ["unseeded-random"] == confirmed(found)
    assert "pass a seed where the generator is made" in found["diagnosis"][0]["fix"]


def test_the_order_of_a_set_is_confirmed(boxed):
    """The hash seed is random where nothing pins it."""
    script = "words = {w for w in 'the quick brown fox jumps over'.split()}\n"
    boxed.record(script + "open('out.txt', 'w').write(' '.join(words))\n", "--profile", "none")

    assert ["hash-seed"] == confirmed(boxed.why("--diagnose", "full"))


def test_the_date_in_an_output_is_confirmed(boxed):
    """With the clock set to when it was recorded, the recorded bytes come back: drift, not chance."""
    script = "import datetime\nnow = datetime.datetime.now()\nopen('out.txt', 'w').write(str(now)[:{}])\n"
    boxed.record(script.format(26))

    assert ["clock"] == confirmed(boxed.why("--diagnose", "full"))


def test_addresses_in_an_output_are_confirmed(boxed):
    """Without randomised addresses they are the same each time."""
    boxed.record("open('out.txt', 'w').write(repr(object()))\n")

    assert ["memory-address"] == confirmed(boxed.why("--diagnose", "full"))


def test_an_undeclared_file_of_the_project_is_confirmed(project):
    """Brought from the work tree, it gives the recorded bytes; the failure is explained with its path."""
    (project.folder / ".gitignore").write_text(".venv/\nside.csv\n")
    (project.folder / "side.csv").write_text("1\n")
    project.record("open('out.txt', 'w').write(open('side.csv').read())\n")

    found = project.why("--diagnose", "full")

    assert ("failed", ["undeclared-input"]) == (found["verdict"], confirmed(found))
    assert "mlvc run -i side.csv" == found["diagnosis"][0]["fix"]


def test_an_undeclared_file_that_changes_nothing_but_numbers_is_confirmed(boxed):
    """A script that falls back to a default does not fail; it drifts."""
    (boxed.folder / ".gitignore").write_text(".venv/\nrate.txt\n")
    (boxed.folder / "rate.txt").write_text("0.5")
    script = "import os\nrate = open('rate.txt').read() if os.path.exists('rate.txt') else '0.1'\n"
    boxed.record(script + "open('out.txt', 'w').write(rate)\n")

    found = boxed.why("--diagnose", "full")

    assert ("different", ["undeclared-input"]) == (found["verdict"], confirmed(found))


def test_a_number_of_cpus_that_was_recorded_is_confirmed(boxed):
    """Recorded on one CPU and without pins; here there are more."""
    (boxed.folder / "train.py").write_text(
        "import os\nopen('out.txt', 'w').write(str(len(os.sched_getaffinity(0))))\n"
    )
    with one_cpu():
        boxed.run("run", "--profile", "none", "-o", "out.txt", "--", ".venv/bin/python", "train.py")

    assert ["threads"] == confirmed(boxed.why("--diagnose", "full"))


def test_one_thread_is_no_finding_about_cpus(boxed):
    """Recorded with `--threads 1` on a machine of two CPUs: libraries use one, then and now."""
    boxed.record("import random\nopen('out.txt', 'w').write(str(random.random()))\n", "--threads", "1")

    found = boxed.why()

    assert "threads" not in [item["cause"] for item in found["diagnosis"]]
    assert "nondeterminism" in [item["cause"] for item in found["diagnosis"]]


def test_several_re_runs_say_whether_they_agree(boxed):
    """`--times` answers without an experiment."""
    boxed.record("import random\nopen('out.txt', 'w').write(str(random.random()))\n")
    first, second = boxed.run("repro", "--times", "2", "--json", "out.txt", check=1).json()["runs"]

    assert ("different", "different") == (first["verdict"], second["verdict"])
    assert "re-runs of the same closure differ from each other" in [
        item["detail"] for item in first["diagnosis"]
    ]


@pytest.fixture
def recorded(boxed):
    """A run of code, data and a variable, each of which the output depends on."""
    (boxed.folder / "data").mkdir()
    for name in ("a.csv", "b.csv", "c.csv"):
        (boxed.folder / "data" / name).write_text(f"{name}\n1\n")
    (boxed.folder / "rate.py").write_text("RATE = 0.5\n")
    boxed.run("add", "data")
    subprocess.run(["git", "add", "-A"], cwd=boxed.folder, check=True)
    script = (
        "import glob, os, rate\n"
        "text = ''.join(open(name).read() for name in sorted(glob.glob('data/*')))\n"
        "open('out.txt', 'w').write(f\"{text} {rate.RATE} {os.environ.get('OMP_SCHEDULE')}\")\n"
    )
    boxed.record(script, "-i", "data", env={"OMP_SCHEDULE": "static"})
    boxed.run("commit", "-m", "recorded")
    return boxed


AGAINST = ("--against", "work", "--diagnose", "full")
AS_IT_WAS = {"OMP_SCHEDULE": "static"}


def test_the_work_tree_as_it_was_is_identical(recorded):
    """And proves nothing about the record, so no verdict is stored."""
    found = recorded.why(*AGAINST, check=0, env=AS_IT_WAS)

    assert ("identical", None) == (found["verdict"], found["verdict_id"])


def test_one_byte_of_data_is_named(recorded):
    """The file of a directory of data, confirmed by putting it back."""
    (recorded.folder / "data" / "b.csv").write_text("b.csv\n2\n")
    (recorded.folder / "train.py").write_text("# edited\n" + (recorded.folder / "train.py").read_text())

    found = recorded.why(*AGAINST, env=AS_IT_WAS)

    assert ("different", ["input"]) == (found["verdict"], confirmed(found))
    assert "data/b.csv" in found["diagnosis"][0]["detail"]


def test_one_line_of_code_is_named(recorded):
    """Among other edits that change nothing."""
    (recorded.folder / "rate.py").write_text("RATE = 0.6\n")
    (recorded.folder / "other.py").write_text("OTHER = 1\n")
    (recorded.folder / "data" / "d.txt").write_text("")

    found = recorded.why(*AGAINST, env=AS_IT_WAS)

    assert ("different", ["code"]) == (found["verdict"], confirmed(found))
    assert "rate.py" in found["diagnosis"][0]["detail"]


def test_a_variable_of_the_shell_is_named(recorded):
    """It was set when the run was recorded, and is not now."""
    found = recorded.why(*AGAINST)

    assert ("different", ["variable"]) == (found["verdict"], confirmed(found))
    assert "OMP_SCHEDULE was static, and is not set" == found["diagnosis"][0]["detail"]
    assert "mlvc run --env OMP_SCHEDULE=static" == found["diagnosis"][0]["fix"]


def test_data_and_code_that_both_changed_are_both_named(recorded):
    """Neither alone gives the recorded bytes."""
    (recorded.folder / "data" / "c.csv").unlink()
    (recorded.folder / "rate.py").write_text("RATE = 0.6\n")

    found = recorded.why(*AGAINST, env=AS_IT_WAS)

    assert ["code", "input"] == sorted(confirmed(found))


def test_cheap_findings_name_what_changed_without_a_run(recorded):
    """They are likely, and nothing is confirmed."""
    (recorded.folder / "rate.py").write_text("RATE = 0.6\n")

    found = recorded.why("--against", "work", env=AS_IT_WAS)

    assert ([], 0) == (confirmed(found), found["reruns"])
    assert ("code", "likely") in [(item["cause"], item["status"]) for item in found["diagnosis"]]


def test_two_recorded_runs_are_told_apart(recorded):
    """`--against` takes another run as well."""
    (before,) = recorded.run("runs", "--json").json()["runs"]
    (recorded.folder / "rate.py").write_text("RATE = 0.6\n")
    recorded.run(*("run", "-i", "data", "-o", "out.txt", "--", ".venv/bin/python", "train.py"), env=AS_IT_WAS)

    found = recorded.why("--against", "out.txt", "--diagnose", "full", output=before["id"])

    assert ["code"] == confirmed(found)
    assert "rate.py" in found["diagnosis"][0]["detail"]


def test_each_variation_is_answered(project):
    """The order of a set depends on the hash seed alone, and the exit status says that something does."""
    script = "words = {w for w in 'the quick brown fox jumps over'.split()}\n"
    project.record(script + "open('out.txt', 'w').write(' '.join(words))\n")

    found = project.why("--vary", "all")

    assert "identical" == found["verdict"]
    assert ["hash-seed", "threads", "cpu", "order", "time", "harmless"] == [
        item["factor"] for item in found["variations"]
    ]
    assert ["hash-seed"] == [item["factor"] for item in found["variations"] if item["verdict"] != "identical"]


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("order", "os.listdir('data')"),
        ("order", "[e.name for e in os.scandir('data')]"),
        ("order", "[p.name for p in pathlib.Path('data').iterdir()]"),
        ("order", "glob.glob('data/*')"),
        ("time", "(datetime.datetime.now().year, datetime.date.today().year)"),
        ("time", "(time.strftime('%Y'), time.localtime().tm_year, int(time.time() / 3e7))"),
        ("harmless", "os.environ['HOME']"),
    ],
)
def test_what_is_varied_reaches_the_script(boxed, kind, expression):
    """Every usual way of asking for it."""
    (boxed.folder / "data").mkdir()
    for name in "abcde":
        (boxed.folder / "data" / name).write_text(name)
    script = f"import datetime, glob, os, pathlib, time\nopen('out.txt', 'w').write(str({expression}))\n"
    boxed.record(script, "-i", "data")

    found = boxed.why("--vary", kind)

    assert [(kind, "different")] == [(item["factor"], item["verdict"]) for item in found["variations"]]


@pytest.mark.parametrize(
    "options",
    [
        ("--vary", "moon"),
        ("--budget", "soon"),
        ("--budget", "9" * 5000),
        ("--times", "0"),
        ("--against", "nowhere"),
        ("--tolerance", "nan"),
        ("--tolerance", "2"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(boxed, options):
    """Exit 2, with a hint."""
    boxed.record("open('out.txt', 'w').write('x')\n")
    refused = boxed.run("repro", "out.txt", *options, check=2)

    assert "hint: " in refused.stderr


def test_a_budget_of_seconds_and_of_runs_is_kept(boxed):
    """What was not tried is called untested."""
    boxed.record("import secrets\nopen('out.txt', 'w').write(secrets.token_hex(8))\n")

    found = boxed.why("--diagnose", "full", "--budget", "1")

    assert ([], 1) == (confirmed(found), found["reruns"])
    assert 0 == boxed.why("--diagnose", "full", "--budget", "0s")["reruns"]


def test_the_causes_are_told_to_a_person(boxed):
    """Status, experiment and fix on lines of their own."""
    boxed.record("import random\nopen('out.txt', 'w').write(str(random.random()))\n")

    told = boxed.run("repro", "out.txt", "--diagnose", "full", "--engine", "bubblewrap", check=1)

    assert "  confirmed cause: unseeded-random: " in told.stdout
    assert "\n    3 re-runs with the generators seeded" in told.stdout
    assert "\n    fix: mlvc run -o out.txt --seed 0" in told.stdout
    assert "re-run 2: with nothing changed" in told.stderr


def site_of(project):
    (site,) = (project.folder / ".venv").glob("lib/python3*/site-packages")
    return site


def test_one_bumped_dependency_among_many_is_named(boxed):
    """Put back one half after the other; the fix is the line that installs what was recorded."""
    for number in range(12):
        install(site_of(boxed), f"part{number}", "1.0", {f"part{number}.py": "RATE = 1\n"})
    boxed.record("import part7\nopen('out.txt', 'w').write(str(part7.RATE))\n")
    for number in (2, 5, 7, 11):
        shutil.rmtree(site_of(boxed) / f"part{number}-1.0.dist-info")
        install(site_of(boxed), f"part{number}", "1.1", {f"part{number}.py": "RATE = 2\n"})

    found = boxed.why(*AGAINST)

    assert ("different", ["package"]) == (found["verdict"], confirmed(found))
    assert "part7 was 1.0, and is 1.1" == found["diagnosis"][0]["detail"]
    assert "uv pip install part7==1.0" == found["diagnosis"][0]["fix"]
    assert found["reruns"] <= 6
    built = boxed.folder / ".git" / "mlvc" / "environments"
    assert 1 == len([path for path in built.iterdir() if (path / "env").is_dir()])


def test_a_file_of_the_home_directory_is_named(project, home):
    """`failed`, with its path: it is no part of the project, and can be no input."""
    (home / "settings.csv").write_text("1")
    path = str(home / "settings.csv")
    project.record(f"open('out.txt', 'w').write(open({path!r}).read())\n")

    found = project.why("--diagnose", "full")

    assert "failed" == found["verdict"]
    assert "undeclared-input" == found["diagnosis"][0]["cause"]
    assert path in found["diagnosis"][0]["detail"]


def test_a_download_during_training_is_named(project):
    """`failed`, with the host that the record saw."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        project.record(
            f"import urllib.request as u\nopen('out.txt', 'wb').write(u.urlopen('http://{host}/').read())\n"
        )
        found = project.why("--diagnose", "full")
        server.shutdown()

    assert "failed" == found["verdict"]
    assert "network" == found["diagnosis"][0]["cause"]
    assert host in found["diagnosis"][0]["detail"]


class Answer(http.server.BaseHTTPRequestHandler):
    """Serves a number."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"42")

    def log_message(self, *_):
        """Says nothing."""


def test_a_malicious_pickle_is_compared_and_never_executed(boxed, tmp_path):
    """Whatever it says."""
    marker = tmp_path / "executed"
    boxed.record(
        "import os, pickle, random\n"
        "class Evil:\n"
        f"    def __reduce__(self): return os.system, ('touch {marker}',)\n"
        "open('model.pkl', 'wb').write(pickle.dumps([Evil(), random.random()]))\n",
        output="model.pkl",
    )

    found = boxed.why("--diagnose", "full", output="model.pkl")

    assert ["unseeded-random"] == confirmed(found)
    assert not marker.exists()


def test_a_program_that_cannot_be_loaded_is_no_verdict(boxed):
    """Exit 2 and the library's name, as for everything that could not even be started."""
    elf = boxed.folder / "tool"
    shutil.copy("/bin/true", elf)
    data = elf.read_bytes().replace(b"libc.so.6\0", b"libc.so.9\0")
    assert b"libc.so.9" in data
    elf.write_bytes(data)
    elf.chmod(0o755)
    subprocess.run(["git", "add", "tool"], cwd=boxed.folder, check=True)
    boxed.run("run", "--", "./tool", check=127)
    (failed,) = boxed.run("runs", "--json").json()["runs"]

    refused = boxed.run("repro", failed["id"], "--engine", "bubblewrap", "--json", check=2).json()

    assert "system-library-missing" == refused["error"]["code"]
    assert "libc.so.9" in refused["error"]["message"]


def test_the_note_about_the_engine_is_short(boxed):
    """Docker's own words are long, and not about the run."""
    boxed.record("open('out.txt', 'w').write('x')\n")

    told = boxed.run("repro", "out.txt", env={"DOCKER_HOST": "tcp://127.0.0.1:9"})

    assert "engine: bubblewrap, on this system's own files (no Docker engine answers)\n" in told.stderr
