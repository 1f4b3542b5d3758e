"""A trace is what processes told of themselves; a line that lies or breaks off costs only itself."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc.repro.profile import pins
from mlvc.repro.runtime_files import lay_runtime
from mlvc.repro.trace import read_trace


@pytest.fixture
def watch(tmp_path):
    """Runs a script under the watcher, in an empty directory, and returns what it was seen to do."""
    runtime = lay_runtime(tmp_path / "runtime")
    place = tmp_path / "place"
    place.mkdir()

    def run(script, *, check=True, **variables):
        (place / "script.py").write_text(script)
        trace = tmp_path / "trace"
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(runtime), "MLVC_TRACE": str(trace)}
        subprocess.run(
            [sys.executable, "script.py"], cwd=place, env={**environment, **variables}, check=check
        )
        return read_trace(trace)

    run.place = os.fsencode(place)
    return run


def test_files_are_seen_by_what_happens_to_them(watch):
    """Read, written, not there, listed; also in a child of a fork that never says goodbye."""
    trace = watch(
        """
import os
open("a", "w").close()
os.rename("a", "b")
open("script.py").close()
os.listdir("..")
try:
    open("absent")
except OSError:
    pass
if os.fork() == 0:
    open("b").close()
    os._exit(0)
os.wait()
"""
    )

    def names(found):
        return {name[len(watch.place) + 1 :] for name in found if name.startswith(watch.place + b"/")}

    assert {b"script.py", b"b"} == names(trace.reads)
    assert {b"a", b"b"} == names(trace.writes)
    assert {b"absent"} == names(trace.absent)
    assert os.path.dirname(watch.place) in trace.listed


def test_a_path_that_only_begins_as_the_interpreter_s_is_seen(watch):
    trace = watch("import os, sys\nopen(sys.prefix + '/..' * 20 + os.path.abspath('script.py')).close()")

    assert watch.place + b"/script.py" in trace.reads


def test_what_was_seen_survives_a_kill(watch):
    """Each line is written at once; only what is in force at the end is lost."""
    trace = watch("import os, signal\nopen('x', 'w')\nos.kill(os.getpid(), signal.SIGKILL)", check=False)

    assert watch.place + b"/x" in trace.writes
    assert {} == trace.effective


def test_programs_and_hosts_are_seen(watch):
    """With the path at which the program was found."""
    trace = watch(
        "import socket, subprocess\n"
        "subprocess.run(['true'])\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9))\nexcept OSError:\n    pass\n"
    )

    assert {b"true"} == {os.path.basename(name) for name in trace.executed}
    assert {"127.0.0.1:9"} == trace.connections


def test_threads_are_all_seen(watch):
    """None of them hides another one's files."""
    trace = watch(
        "import threading\n"
        "def work(n):\n"
        "    for i in range(50):\n"
        "        open(f'{n}-{i}', 'w').close()\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
        "[t.start() for t in threads], [t.join() for t in threads]\n"
    )

    assert 400 == len([name for name in trace.writes if name.startswith(watch.place)])


def test_the_main_process_is_the_outermost(watch):
    """A child that it started and that ended first does not speak for it, nor does one that it left behind."""
    trace = watch("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])")

    assert 2 == trace.processes
    assert "script.py" == json.loads(trace.effective["program"])


def test_generators_tell_whether_they_were_seeded_in_time(watch):
    """Seeded before the first draw, after it, or never; drawing changes the state at the end."""
    seeded = watch("import random\nrandom.seed(1)\nrandom.random()")
    late = watch("import random\nrandom.random()\nrandom.seed(1)")
    never = watch("import random\nrandom.random()")

    facts = [json.loads(trace.effective["random"])["random"] for trace in (seeded, late, never)]
    assert [(True, False), (True, True), (False, True)] == [
        (item["seeded"], item["drawn_unseeded"]) for item in facts
    ]


def test_a_seed_counts_as_seeded_in_time(watch):
    """`--seed` seeds right after the import, the same on each run; the wrapped function still pickles."""
    script = "import pickle, random\nassert pickle.loads(pickle.dumps(random.seed)) is random.seed\nrandom.random()"
    ends = [json.loads(watch(script, MLVC_SEED="7").effective["random"])["random"] for _ in range(2)]

    assert ends[0]["end"] == ends[1]["end"]
    assert [False, False] == [end["drawn_unseeded"] for end in ends]


def test_every_pin_that_can_be_changed_is_watched(watch):
    """The watcher reports the variables that a profile pins, so that a change of the program is seen."""
    pinned = {
        name: value for name, value in pins("portable", threads=1).items() if not name.startswith("MLVC_")
    }
    trace = watch("pass", **pinned, SOURCE_DATE_EPOCH="0")

    assert {**pinned, "SOURCE_DATE_EPOCH": "0"} == json.loads(trace.effective["variables"])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"pid": "x", "event": "exit", "facts": {}}',
        b'{"pid": 1, "event": "exit", "facts": []}',
        b'{"pid": 1, "event": "read", "path": "zz"}',
        b'{"pid": 1, "event": "read", "path": 3}',
        b'{"pid": 1, "event": "start", "parent": [], "locale": {}}',
        b'{"pid": 1, "event": "exit", "facts": {"mapped": [1, {}]}}',
        b'{"pid": 1, "event": "exit", "facts": {"mapped": 1}}',
        b"\xff\x00",
    ],
)
def test_a_line_that_lies_costs_only_itself(tmp_path, line):
    """What stands before and after it is read."""
    path = tmp_path / "trace"
    good = [b'{"pid": 1, "event": "read", "path": "%s"}' % name.hex().encode() for name in (b"/a", b"/b")]
    path.write_bytes(good[0] + b"\n" + line + b"\n" + good[1] + b"\n")

    assert {b"/a", b"/b"} == read_trace(path).reads


def test_no_trace_is_an_empty_one(tmp_path):
    """The command was no Python, or was told to ignore its environment."""
    assert 0 == read_trace(tmp_path / "absent").processes


def test_watching_loads_little_into_the_program(watch):
    """A program pays at every start for what the watcher imports."""
    watch("import sys\nopen('modules', 'w').write(' '.join(sys.modules))")

    loaded = set((Path(os.fsdecode(watch.place)) / "modules").read_text().split())
    assert "sitecustomize" in loaded
    assert set() == loaded & {
        "contextlib",
        "importlib.resources",
        "importlib.util",
        "json",
        "pathlib",
        "random",
        "re",
        "tempfile",
        "typing",
        "typing_extensions",
        "zipfile",
    }


def test_facts_of_any_kind_are_json(watch):
    """As a library's own numbers are, which write themselves otherwise."""
    watch(
        "import enum, json, sitecustomize\n"
        "class Number(float):\n    __repr__ = lambda self: 'Number'\n"
        "class Level(enum.IntEnum):\n    HIGH = 3\n"
        "facts = {'a': [Number(0.5), Level.HIGH, None, True, 'é\\n\"'], 'b': float('nan'), 'c': {}}\n"
        "assert {**facts, 'b': None} == json.loads(sitecustomize._json(facts))\n"
    )


def test_the_scripts_are_compiled_where_the_command_writes_no_byte_code(tmp_path):
    """As the profiles have it; otherwise each process would compile them."""
    runtime = lay_runtime(tmp_path)
    variables = {"PYTHONPATH": str(runtime), "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run([sys.executable, "-v", "-c", ""], env=variables, check=True, capture_output=True)

    compiled = importlib.util.cache_from_source(runtime / "sitecustomize.py")
    assert f"# code object from '{compiled}'" in done.stderr.decode()
    for script in runtime.rglob("*.py"):
        assert Path(importlib.util.cache_from_source(script)).exists()
