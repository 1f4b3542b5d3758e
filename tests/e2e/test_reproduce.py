"""A recorded run is repeated by a real engine from its closure alone, and the verdict says how it compares."""

import dataclasses
import datetime
import os
import shutil
import subprocess
import textwrap
from types import SimpleNamespace

import pytest

from mlvc.engines.bubblewrap import BubblewrapEngine
from mlvc.engines.docker import DockerEngine
from mlvc.engines.host import HostEngine
from mlvc.model.ids import PlanId, TreeId
from mlvc.model.names import encode_name
from mlvc.model.objects import Code, Environment, Interpreter, Observed, Run, Verdict
from mlvc.ports import Mount
from mlvc.repro.execute import Workshop
from mlvc.repro.plan import ClosureIncompleteError
from mlvc.repro.profile import pins
from mlvc.repro.reproduce import Inquiry, reproduce
from mlvc.repro.rerun import Conditions
from mlvc.repro.runtime_files import lay_runtime
from mlvc.worktree.worktree import Worktree
from tests.support.memory_store import MemoryStore
from tests.support.reporter import RecordingReporter

PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")

pytestmark = pytest.mark.skipif(PYTHON is None, reason="NOT TESTED: the system has no python3 of its own")


class Clock:
    """Stands still."""

    def now(self):
        return datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


class Laboratory:
    """A project on disk, a store in memory, and an engine: records runs and repeats them."""

    def __init__(self, tmp_path, engine, base):
        self.engine, self.base = engine, base
        self.tmp_path = tmp_path
        # The path of the recorded project must mean nothing to this machine, so it is gone when the run is repeated.
        self.project = tmp_path / "home" / "u" / "project with space"
        self.project.mkdir(parents=True)
        (tmp_path / "state").mkdir()
        self.store = MemoryStore()
        self.reporter = RecordingReporter()
        self.runtime = lay_runtime(tmp_path / "runtime")
        self.environment = None
        self.venv = None

    def capture(self, root, path, writer):
        state = self.tmp_path / "state"
        return Worktree(root, state, self.store, self.reporter).capture(path, writer)

    def code_tree(self, data):
        """Stores the project without what is named in `data`."""
        copy = self.tmp_path / "code"
        shutil.copytree(
            self.project, copy / "top", symlinks=True, ignore=lambda *_: {*data, ".venv", "__pycache__"}
        )
        with self.store.writer() as writer:
            tree = self.capture(copy, b"top", writer).id
        shutil.rmtree(copy)
        return tree

    def record(
        self, script, *, argv=None, inputs=(), outputs=("out.txt",), profile="strict", directory="", **fields
    ):
        """Runs a script for real, as `mlvc run` does, and returns its record; then removes the project."""
        if script is not None:
            (self.project / "train.py").write_text(textwrap.dedent(script))
        tree = self.code_tree([*(name.partition("/")[0] for name in (*inputs, *outputs))])
        with self.store.writer() as writer:
            before = tuple(self.capture(self.project, os.fsencode(name), writer) for name in inputs)
        argv = argv or [PYTHON, "train.py"]
        pinned = pins(profile, threads=1)
        for name in outputs:
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            argv,
            cwd=self.project / directory,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.tmp_path), **pinned},
            capture_output=True,
            check=False,
        )
        with self.store.writer() as writer:
            made = tuple(
                self.capture(self.project, os.fsencode(name), writer)
                for name in outputs
                if os.path.lexists(self.project / name)
            )
            if self.environment is not None:
                writer.add_object(self.environment)
        run = Run(
            plan=PlanId(bytes(32)),
            argv=tuple(encode_name(os.fsencode(item)) for item in argv),
            directory=directory,
            project=encode_name(os.fsencode(self.project)),
            code=Code(None, dirty=True, tree=tree),
            inputs=before,
            outputs=made,
            environment=None if self.environment is None else self.environment.id,
            profile=profile,
            pins=pinned,
            threads=0 if profile == "none" else 1,
            exit_code=done.returncode,
            **fields,
        ).with_plan()
        shutil.rmtree(self.project)
        return run

    def repeat(self, run, **changes):
        self.printed = b""

        def log(data, *, is_error):
            self.printed += data

        def build(environment, engine, base, project):
            return SimpleNamespace(path=self.venv, python="/env/bin/python", mounts=self.mounts)

        with self.store.writer() as writer:
            shop = Workshop(
                reader=self.store,
                writer=writer,
                export=Worktree(self.tmp_path, self.tmp_path / "state", self.store, self.reporter).export,
                capture_output=self.capture,
                build_environment=build,
                missing_libraries=lambda environment, engine, base: (),
                work_dir=self.tmp_path / "work",
                runtime=self.runtime,
                clock=Clock(),
                reporter=self.reporter,
            )
            (verdict,) = reproduce(
                run,
                dataclasses.replace(shop, **changes),
                Conditions(self.engine, self.base, log),
                Inquiry(),
            )
            writer.add_object(verdict)
        assert list((self.tmp_path / "work").iterdir()) == []
        assert verdict == Verdict.decode(verdict.encode())
        return verdict

    def make_venv(self, directory):
        """Makes a virtual environment of the system's Python with one package, and the record of it."""
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", directory], check=True)
        (site,) = directory.glob("lib/python3*/site-packages")
        (site / "weights.py").write_text("NUMBER = 42\n")
        self.venv = self.tmp_path / "built"
        shutil.copytree(directory, self.venv, symlinks=True)
        self.mounts = (Mount(self.venv, "/env"),)
        told = subprocess.run(
            [PYTHON, "-c", "import sys; print(sys.base_prefix); print(sys.version.split()[0])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        self.environment = Environment(
            Interpreter(
                executable=encode_name(os.fsencode(directory / "bin" / "python")),
                real_executable=os.path.realpath(PYTHON),
                version=told[1],
                implementation="cpython",
                build=told[1],
                prefix=encode_name(os.fsencode(directory)),
                base_prefix=told[0],
            ),
            {},
            "",
        )


@pytest.fixture(
    params=[
        pytest.param("bubblewrap", marks=pytest.mark.sandbox),
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
def laboratory(request, tmp_path):
    if request.param == "bubblewrap":
        return Laboratory(tmp_path, BubblewrapEngine(), None)
    engine = DockerEngine(os.environ.get("DOCKER_HOST"))
    return Laboratory(
        tmp_path, engine, engine.resolve_base(request.getfixturevalue("docker_engine").base_image)
    )


def causes(verdict):
    return [item.cause for item in verdict.diagnosis]


def test_a_deterministic_script_is_identical(laboratory):
    """Code, a directory of data and a nested output give the same bytes, and the verdict says where it was."""
    (laboratory.project / "data").mkdir()
    (laboratory.project / "data" / "a.csv").write_text("1\n2\n")
    run = laboratory.record(
        """
        import json, os, pathlib
        total = sum(float(line) for line in open("data/a.csv"))
        pathlib.Path("models/deep/model.json").write_text(json.dumps({"total": total, "hash": hash("x")}))
        print("trained")
        """,
        inputs=["data"],
        outputs=["models/deep/model.json"],
    )

    verdict = laboratory.repeat(run)

    assert (verdict.verdict, verdict.exit_code) == ("identical", 0)
    assert [(item.path, item.verdict) for item in verdict.outputs] == [
        ("models/deep/model.json", "identical")
    ]
    assert verdict.outputs[0].recorded == verdict.outputs[0].reproduced
    assert (verdict.engine, verdict.isolated, verdict.base) == (laboratory.engine.name, True, laboratory.base)
    assert (verdict.started, verdict.diagnosis, verdict.extra_files) == (
        "2026-01-02T03:04:05.000000+00:00",
        (),
        (),
    )
    assert laboratory.store.read_blob(verdict.log) == b"trained\n" == laboratory.printed


def test_an_unseeded_script_is_different(laboratory):
    """Nothing seeds behind the user's back, and the finding says what is likely."""
    verdict = laboratory.repeat(
        laboratory.record("import random; open('out.txt', 'w').write(str(random.random()))")
    )

    assert verdict.verdict == "different"
    assert "nondeterminism" in causes(verdict)
    assert "line 1" in verdict.outputs[0].detail


def test_an_undeclared_file_is_named(laboratory):
    """A file that was there and not declared is not there now: failed, with its path."""
    (laboratory.project / "extra.csv").write_text("1")
    run = laboratory.record(
        "open('out.txt', 'w').write(open('extra.csv').read())",
        outputs=["out.txt", "extra.csv"],
    )
    run = dataclasses.replace(
        run, outputs=run.outputs[:1], observed=Observed("audit-hook", reads=("extra.csv",))
    )
    verdict = laboratory.repeat(run)

    assert verdict.verdict == "failed"
    assert causes(verdict)[0] == "undeclared-input"
    assert "extra.csv" in verdict.diagnosis[0].detail
    assert "mlvc run -i extra.csv" in verdict.diagnosis[0].detail
    assert b"FileNotFoundError" in laboratory.store.read_blob(verdict.log)


def test_a_file_of_the_home_directory_is_named(laboratory, tmp_path):
    """The caller's home is not there."""
    secret = tmp_path / "settings.json"
    secret.write_text("{}")
    verdict = laboratory.repeat(
        laboratory.record(f"open('out.txt', 'w').write(open({str(secret)!r}).read())")
    )

    assert verdict.verdict == "failed"
    assert str(secret) in verdict.diagnosis[0].detail


def test_an_output_that_is_not_written_is_missing(laboratory):
    """A script that skips its output in the empty place is found out."""
    (laboratory.project / "flag.txt").write_text("go")
    run = laboratory.record(
        "import os\nif os.path.exists('flag.txt'): open('out.txt', 'w').write('made')",
        outputs=["out.txt", "flag.txt"],
    )
    verdict = laboratory.repeat(dataclasses.replace(run, outputs=run.outputs[:1]))

    assert (verdict.verdict, verdict.exit_code) == ("missing", 0)
    assert verdict.outputs[0].reproduced is None


def test_temporary_files_renames_and_logs_are_fine(laboratory):
    """The project's copy is writable; what was written besides the outputs is listed."""
    run = laboratory.record(
        """
        import os, pathlib
        os.makedirs("logs", exist_ok=True)
        pathlib.Path("logs/train.log").write_text("x")
        pathlib.Path("train.py").touch()
        pathlib.Path("models/model.tmp").write_text("model")
        os.replace("models/model.tmp", "models/model.bin")
        """,
        outputs=["models"],
    )
    verdict = laboratory.repeat(run)

    assert verdict.verdict == "identical"
    assert verdict.extra_files == ("logs/train.log", "train.py")


def test_inputs_are_read_only(laboratory):
    """An input cannot be changed by the command that reads it."""
    (laboratory.project / "data.csv").write_text("1")
    run = laboratory.record("open('data.csv').read(); open('out.txt', 'w').write('x')", inputs=["data.csv"])
    tree = run.code.tree
    laboratory.project.mkdir(parents=True)
    (laboratory.project / "train.py").write_text("open('data.csv', 'a').write('2')")
    run = dataclasses.replace(run, code=dataclasses.replace(run.code, tree=laboratory.code_tree([])))

    verdict = laboratory.repeat(run)

    assert tree != run.code.tree
    assert verdict.verdict == "failed"
    assert "write-outside" in causes(verdict)


def test_the_network_is_named(laboratory):
    """A download fails, and the finding names the host that the record saw."""
    run = laboratory.record(
        "import os, urllib.request as u\n"
        "if 'MLVC_TRACE' in os.environ: u.urlopen('http://data.example.com/x')\n"
        "open('out.txt', 'w').write('x')",
        observed=Observed("audit-hook", connections=("data.example.com:80",)),
    )
    verdict = laboratory.repeat(run)

    assert verdict.verdict == "failed"
    assert causes(verdict)[0] == "network"
    assert "data.example.com:80" in verdict.diagnosis[0].detail


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_an_absolute_path_of_the_virtual_environment_works(laboratory, where):
    """The user's environment is gone; its path leads to the rebuilt one."""
    directory = (laboratory.project if where == "inside" else laboratory.tmp_path / "venvs") / ".venv"
    directory.parent.mkdir(exist_ok=True)
    laboratory.make_venv(directory)
    run = laboratory.record(
        "import weights; open('out.txt', 'w').write(str(weights.NUMBER))",
        argv=[str(directory / "bin" / "python"), "train.py"],
    )
    shutil.rmtree(directory, ignore_errors=True)

    assert laboratory.repeat(run).verdict == "identical"


def test_the_working_directory_and_absolute_paths_mean_the_same(laboratory):
    """A script in a subdirectory that names its project by its absolute path finds it."""
    (laboratory.project / "src").mkdir()
    (laboratory.project / "src" / "go.py").write_text(
        f"import os; open({str(laboratory.project / 'out.txt')!r}, 'w').write(os.getcwd())"
    )
    run = laboratory.record(None, argv=[PYTHON, "go.py"], directory="src")

    assert laboratory.repeat(run).verdict == "identical"


def test_hostile_outputs_are_not_followed(laboratory, tmp_path):
    """Where a file was recorded, a link out of the project or a pipe is different, and is never opened."""
    secret = tmp_path / "secret"
    secret.write_text("recorded")
    script = "import os\nif 'MLVC_TRACE' in os.environ:\n    {}\nelse: open('out.txt', 'w').write('recorded')"
    for hostile in (
        f"os.symlink({str(secret)!r}, 'out.txt')",
        "os.mkfifo('out.txt')",
        "os.mkfifo('out.txt'); t = os.environ['MLVC_TRACE']; os.remove(t); os.mkfifo(t); os._exit(0)",
        "os.mkfifo('out.txt'); t = os.environ['MLVC_TRACE']; os.remove(t); os.mkfifo(t); open('other', 'w')",
    ):
        laboratory.project.mkdir(parents=True, exist_ok=True)
        verdict = laboratory.repeat(laboratory.record(script.format(hostile)))

        assert verdict.verdict == "different"


def test_a_code_link_out_of_the_project_makes_nothing_there(laboratory, tmp_path):
    """The directory of an output is not made through a link that the code brings."""
    (laboratory.project / "models").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    run = laboratory.record("open('out.txt', 'w').write('x')", outputs=["out.txt"])
    run = dataclasses.replace(run, missing_outputs=("models/deep/x",))
    with pytest.raises(Exception, match="models/deep"):
        laboratory.repeat(run)

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_missing_input_is_an_error_before_anything_runs(laboratory):
    """It is no verdict, and the input is named."""
    (laboratory.project / "data.csv").write_text("1")
    run = laboratory.record("open('out.txt', 'w').write('x')", inputs=["data.csv"])
    del laboratory.store.objects[run.inputs[0].id]
    with pytest.raises(ClosureIncompleteError, match=r"data\.csv"):
        laboratory.repeat(run)


def test_a_missing_code_file_is_an_error_before_anything_runs(laboratory):
    """It is no verdict, and the file is named."""
    run = laboratory.record("open('out.txt', 'w').write('x')")
    for entry in laboratory.store.read_tree(run.code.tree):
        if not isinstance(entry.id, TreeId):
            del laboratory.store.objects[entry.id]
    with pytest.raises(ClosureIncompleteError, match=r"train\.py"):
        laboratory.repeat(run)


def test_a_run_that_failed_when_recorded_may_fail_the_same(laboratory):
    """The recorded exit status is what counts."""
    run = laboratory.record("open('out.txt', 'w').write('x'); raise SystemExit(3)")

    verdict = laboratory.repeat(run)

    assert (verdict.verdict, verdict.exit_code) == ("identical", 3)


def test_parameters_can_be_logged(laboratory):
    """`import mlvc` works inside without mlvc in the environment."""
    run = laboratory.record(
        """
        import os
        if "MLVC_LOG" in os.environ:
            import mlvc
            mlvc.log_param("a", 1)
            assert os.path.getsize(os.environ["MLVC_LOG"]) > 0
        open("out.txt", "w").write("x")
        """
    )

    assert laboratory.repeat(run).verdict == "identical"


def test_without_isolation_the_copy_stands_elsewhere(tmp_path):
    """The engine `none` runs in a copy: argv's paths are moved there, and the verdict admits it."""
    laboratory = Laboratory(tmp_path, HostEngine(), None)
    (laboratory.project / "go.py").write_text(
        "import sys; open(sys.argv[1], 'w').write('x'); open(sys.argv[2].partition('=')[2], 'a').close()"
    )
    project = str(laboratory.project)
    run = laboratory.record(
        None, argv=[PYTHON, f"{project}/go.py", f"{project}/out.txt", f"--other={project}/out.txt"]
    )
    verdict = laboratory.repeat(run)

    assert (verdict.verdict, verdict.isolated) == ("identical", False)
    assert not laboratory.project.exists()


def test_the_systems_python_by_its_path_works_without_isolation(run_mlvc, git_repo):
    """An interpreter without a virtual environment becomes the rebuilt one, which stands below the project itself."""
    run_mlvc("init")
    run_mlvc("run", "-o", "out.txt", "--", PYTHON, "-c", "open('out.txt', 'w').write('made')")

    done = run_mlvc("repro", "--engine", "none", "--json")

    assert "identical" == done.json()["verdict"]
