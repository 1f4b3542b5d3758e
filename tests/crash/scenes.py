"""Projects in the state before a command that writes: each is made once, and copied for every try."""

import os
import random
import shutil
import subprocess
from dataclasses import dataclass

from mlvc.store.raw import RAW_FROM_BYTES
from tests.support.command import child_environment
from tests.support.environments import find_system_python, install, make_venv
from tests.support.promises import Before


@dataclass(frozen=True)
class Scene:
    """A command, and what stands before it.

    Attributes:
        name: What to call it.
        argv: The command.
        prepare: Brings a project with tracked, committed data in `data` and `more/x.bin` to the state before it.
        forked: Whether it works in several processes.
        repeated: What the same command may say when it is given again after it had ended its work.
    """

    name: str
    argv: tuple[str, ...]
    prepare: object = None
    forked: bool = False
    repeated: str = ""


class Stage:
    """One directory in which every scene is played, so that paths that are written down stay right."""

    def __init__(self, folder, zygote):
        self.zygote = zygote
        self.work = folder / "work"
        self.project = self.work / "repo"
        self._kept = folder / "kept"
        self._before = {}

    def git(self, *arguments, cwd=None):
        subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.project,
            env=child_environment({}),
            check=True,
            capture_output=True,
        )

    def mlvc(self, *argv, cwd=None):
        outcome = self.zygote(cwd or self.project, *argv)
        assert outcome.status == 0, outcome
        return outcome

    def revisions(self):
        """Returns the name of every commit of the project."""
        done = subprocess.run(
            ["git", "rev-list", "--all"],
            cwd=self.project,
            env=child_environment({}),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    def write(self, path, data):
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def set(self, scene):
        """Puts the stage in the state before a scene; returns that."""
        if scene.name not in self._before:
            self._make(scene)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self._kept / scene.name, self.work, symlinks=True)
        return self._before[scene.name]

    def _make(self, scene):
        shutil.rmtree(self.work, ignore_errors=True)
        if (self._kept / "first").exists():
            shutil.copytree(self._kept / "first", self.work, symlinks=True)
        else:
            self._begin()
            shutil.copytree(self.work, self._kept / "first", symlinks=True)
        if scene.prepare is not None:
            scene.prepare(self)
        shutil.copytree(self.work, self._kept / scene.name, symlinks=True)
        self._before[scene.name] = Before.of(self.project)

    def _begin(self):
        self.project.mkdir(parents=True)
        self.git("init", "-q", "--initial-branch=main")
        for name, value in (
            ("user.name", "Test User"),
            ("user.email", "test@example.org"),
            ("commit.gpgsign", "false"),
            ("gc.auto", "0"),
        ):
            self.git("config", name, value)
        shutil.rmtree(self.project / ".git/hooks")
        (self.project / ".git/hooks").mkdir()
        self.mlvc("init")
        for number in range(4):
            self.write(f"data/{number}.txt", b"first %d\n" % number * 20)
        self.write("data/deep/er/large.bin", bytes(range(256)) * 1_200)
        (self.project / "data/link").symlink_to("0.txt")
        self.write("more/x.bin", b"x")
        self.write("train.py", b"print()\n")
        self.mlvc("add", "data", "more/x.bin")
        self.git("add", "train.py")
        self.mlvc("commit", "-m", "first")
        self.git("tag", "first")


def _edit(stage):
    """Files that changed, came, went and became something else, none of them stored."""
    stage.write("data/1.txt", b"edited\n")
    stage.write("data/deep/er/large.bin", bytes(range(1, 256)) * 1_200)
    for number in range(10, 16):
        stage.write(f"data/new/{number}.txt", b"new %d\n" % number * 20)
    (stage.project / "data/2.txt").unlink()
    (stage.project / "data/link").unlink()
    stage.write("data/link", b"no link any more")


def _inner(stage):
    stage.write("outer/in/x.bin", b"x of outer")
    stage.write("outer/y", b"y")
    stage.mlvc("add", "outer/in/x.bin")


def _added(stage):
    _edit(stage)
    stage.mlvc("add", "data")


def _second(stage):
    _added(stage)
    stage.mlvc("commit", "-m", "second")


def _deleted(stage):
    shutil.rmtree(stage.project / "data")


def _large(stage):
    stage.write("model.bin", random.Random(1).randbytes(RAW_FROM_BYTES + 12_345))


def _large_gone(stage):
    _large(stage)
    stage.mlvc("add", "model.bin")
    (stage.project / "model.bin").unlink()


def _output(stage):
    stage.write("model", b"an older model, stored nowhere")


def _remote(stage):
    _second(stage)
    stage.mlvc("remote", "add", "disk", f"file://{stage.work}/remote")


def _pushed(stage):
    """The project is a clone by git that has none of the data; the remote has it."""
    _remote(stage)
    stage.mlvc("push")
    stage.git("clone", "-q", str(stage.project), str(stage.work / "clone"))
    shutil.rmtree(stage.project)
    os.rename(stage.work / "clone", stage.project)
    stage.git("config", "user.name", "Test User")
    stage.git("config", "user.email", "test@example.org")
    stage.mlvc("remote", "add", "disk", f"file://{stage.work}/remote")


def _git_committed(stage):
    _added(stage)
    stage.git("commit", "-q", "-a", "-m", "by git alone")


def _indexed(stage):
    _second(stage)
    stage.mlvc("runs")


def _venv(stage):
    stage.write(".gitignore", (stage.project / ".gitignore").read_bytes() + b"/.venv\n")
    site = make_venv(stage.project / ".venv", find_system_python())
    install(site, "tiny", "1.0", {"tiny.py": "x = 1\n"})


_RUN = ("run", "-i", "data", "-o", "model", "--", "sh", "-c", "cat data/0.txt > model")

SCENES = [
    Scene("add", ("add", "data"), _edit),
    Scene("add-forked", ("add", "data"), _edit, forked=True),
    Scene("add-around", ("add", "outer"), _inner),
    Scene("add-large", ("add", "model.bin"), _large),
    Scene("checkout-large", ("checkout",), _large_gone),
    Scene("rm", ("rm", "data"), None, repeated="is not tracked"),
    Scene("rm-force", ("rm", "--force", "data"), _edit, repeated="is not tracked"),
    Scene("rm-cached", ("rm", "--cached", "data"), None, repeated="is not tracked"),
    Scene("commit", ("commit", "-m", "second"), _added, repeated="nothing to commit"),
    Scene("commit-a", ("commit", "-a", "-m", "second"), _edit, repeated="nothing to commit"),
    Scene("checkout", ("checkout",), _deleted),
    Scene("checkout-forked", ("checkout",), _deleted, forked=True),
    Scene("checkout-force", ("checkout", "--force"), _edit),
    Scene("checkout-rev", ("checkout", "first"), _second),
    Scene("checkout-path", ("checkout", "first", "--", "data"), _second),
    Scene("run", _RUN, _output),
    Scene("push", ("push",), _remote),
    Scene("fetch", ("fetch",), _pushed),
    Scene("pull", ("pull",), _pushed),
    Scene("env-lock", ("env", "lock"), _venv),
    Scene("post-commit", ("hook", "post-commit"), _git_committed),
    Scene("index-rebuild", ("index", "rebuild"), _indexed),
]
