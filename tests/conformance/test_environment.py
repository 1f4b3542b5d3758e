"""Real virtual environments: captured, captured again, rebuilt on this machine and in a sandbox."""

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlvc.engines.bubblewrap import BubblewrapEngine
from mlvc.engines.docker import DockerEngine
from mlvc.engines.host import HostEngine
from mlvc.env.capture import capture
from mlvc.env.drift import compare, read_present
from mlvc.env.probe import describe
from mlvc.env.rebuild import (
    InterpreterMismatchError,
    build,
    environment_key,
    missing_system_libraries,
    sync,
)
from mlvc.env.wheelhouse import WheelMissingError
from mlvc.errors import UsageError
from mlvc.ports import Execution, Mount
from mlvc.store.local import LocalStore
from tests.support.environments import find_system_python, install, make_venv
from tests.support.reporter import RecordingReporter


class Place:
    """A project with a virtual environment, a store, and what capture and rebuild need."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        self.store = LocalStore.create(folder / "store")
        self.reporter = RecordingReporter()
        self.venv = folder / "venv"
        self.site = make_venv(self.venv, python)

    def capture(self, cache="cache", python=None):
        with self.store.writer() as writer:
            return capture(
                python or self.venv / "bin" / "python",
                project=self.project,
                reader=self.store,
                writer=writer,
                cache_dir=self.folder / cache,
                reporter=self.reporter,
            )

    def build(self, environment, engine, base=None, **options):
        return build(
            environment,
            reader=self.store,
            engine=engine,
            base=base,
            directory=self.folder / "built",
            project=str(self.project),
            reporter=self.reporter,
            **options,
        )

    def execute(self, engine, built, code, base=None, mounts=()):
        output = bytearray()

        def log(data, *, is_error):
            output.extend(data)

        execution = Execution(
            (built.python.encode(), b"-c", code.encode()),
            "/",
            {"PATH": "/usr/bin:/bin"},
            (*built.mounts, *mounts),
            base=base,
        )
        status = engine.run(execution, log).exit_code
        return status, output.decode()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, find_system_python())


def test_the_same_environment_has_the_same_id_however_often_it_is_captured(place):
    """With and without the cache, by any of the interpreter's names, and with byte code or without."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 1\n"})

    first = place.capture()

    assert place.capture() == first
    assert place.capture("another-cache") == first
    assert place.capture("a-third", place.venv / "bin" / "python3") == first
    subprocess.run([place.venv / "bin" / "python", "-c", "import demo"], check=True)
    assert place.capture() == first


def test_an_unchanged_environment_is_captured_again_without_running_or_reading_it(place, monkeypatch):
    """The stat data tells that nothing changed, so no capture even begins."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 1\n"})
    time.sleep(0.1)  # Files that were written just now are not trusted to stay.
    first = place.capture()
    captures = len(place.reporter.tasks)

    with monkeypatch.context() as without:
        without.setattr(subprocess, "Popen", None)
        again = place.capture()

    assert again == first
    assert len(place.reporter.tasks) == captures


def test_an_edited_file_is_found_and_only_its_distribution_packed_again(place):
    """Same version, other bytes: the wheel is another, and the file is named."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 1\n"})
    install(place.site, "other", "1.0", {"other.py": "y = 1\n"})
    time.sleep(0.1)
    before = place.capture()
    (place.site / "demo.py").write_text("x = 2\n")

    after = place.capture()

    demo, other = after.distributions
    assert demo.modified == ("demo.py",)
    assert other == before.distributions[1]
    assert [change.name for change in compare(before, after).changed] == ["demo"]


def test_files_without_an_owner_are_captured_and_no_others(place):
    """A module that was copied in belongs to the environment; what RECORD names is in the wheels."""
    install(place.site, "demo", "1.0", {"demo/__init__.py": "", "demo/a.py": ""})
    (place.site / "loose.py").write_text("z = 3\n")
    (place.site / "demo" / "extra.txt").write_text("extra")

    environment = place.capture()

    entries = {entry.name: entry for entry in place.store.read_tree(environment.unowned)}
    assert entries.keys() == {b"demo", b"loose.py"}
    assert [entry.name for entry in place.store.read_tree(entries[b"demo"].id)] == [b"extra.txt"]


def test_freeze_is_what_pip_says_and_holds_no_secret(place):
    """The origin of a distribution is kept, its credentials are not."""
    url = '{"url": "https://me:hunter2@host/demo.whl?token=hunter3", "archive_info": {}}'
    install(place.site, "demo", "1.0", {"demo.py": ""}, metadata={"direct_url.json": url})

    environment = place.capture()

    assert environment.freeze == "demo @ https://host/demo.whl\n"
    assert environment.distributions[0].origin == '{"archive_info": {}, "url": "https://host/demo.whl"}'
    assert b"hunter" not in environment.encode()


def files_of(site):
    return {
        str(path.relative_to(site)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mode & 0o111,
        )
        for path in sorted(site.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name not in {"INSTALLER", "RECORD", "REQUESTED", "uv_cache.json"}
    }


def test_a_rebuilt_environment_has_the_recorded_files(place):
    """`env sync` makes the same site-packages from the store alone, and removes what was not recorded."""
    install(
        place.site,
        "demo",
        "1.0",
        {"demo/__init__.py": "def main(): print('main')\n", "demo/tool": "#!/bin/sh\n"},
        metadata={"entry_points.txt": "[console_scripts]\nrun-demo = demo:main\n"},
        executable=("demo/tool",),
    )
    (place.site / "loose.py").write_text("z = 3\n")
    environment = place.capture()
    target = place.folder / "again"
    extra = make_venv(target, find_system_python())
    install(extra, "stranger", "9", {"stranger.py": ""})

    sync(environment, target, reader=place.store, project=place.project, reporter=place.reporter)

    (site,) = target.glob("lib/python3*/site-packages")
    for name in ("_virtualenv.py", "_virtualenv.pth"):
        (place.site / name).unlink(missing_ok=True)
    assert files_of(site) == files_of(place.site)
    assert subprocess.check_output([target / "bin" / "run-demo"], text=True) == "main\n"
    present = read_present(target / "bin" / "python", project=place.project, cache_dir=place.folder / "no")
    assert not compare(environment, present)


def test_sync_refuses_a_directory_that_is_no_environment(place):
    """Nothing of the user's is overwritten."""
    environment = place.capture()
    (place.project / "train.py").write_text("")

    with pytest.raises(UsageError, match="is no virtual environment"):
        sync(environment, place.project, reader=place.store, project=place.project, reporter=place.reporter)
    assert os.listdir(place.project) == ["train.py"]


def test_a_missing_wheel_is_named_before_anything_is_started(place):
    """An environment whose wheels were never fetched cannot be rebuilt, and a registry is no substitute."""
    install(place.site, "demo", "1.0", {"demo.py": ""})
    environment = place.capture()
    empty = LocalStore.create(place.folder / "empty")

    with pytest.raises(WheelMissingError, match=r"demo 1\.0"):
        sync(environment, place.folder / "x", reader=empty, project=place.project, reporter=place.reporter)
    assert not (place.folder / "x").exists()


@pytest.mark.sandbox
def test_an_environment_is_rebuilt_inside_the_sandbox_once(place):
    """At /env, read-only, with the user's own environment deleted; a second call finds it."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 41\n"})
    (place.site / "loose.py").write_text("z = 1\n")
    environment = place.capture()
    shutil.rmtree(place.venv)
    engine = BubblewrapEngine()

    built = place.build(environment, engine)
    code = "import demo, loose, sys; print(demo.x + loose.z, sys.prefix, demo.__file__)"
    status, output = place.execute(engine, built, code)

    version = ".".join(environment.interpreter.version.split(".")[:2])
    assert (status, output) == (0, f"42 /env /env/lib/python{version}/site-packages/demo.py\n")
    before = os.stat(built.path).st_ino
    assert os.stat(place.build(environment, engine).path).st_ino == before
    assert {path.name for path in (place.folder / "built").iterdir() if path.name.startswith(".")} == set()


@pytest.mark.sandbox
@pytest.mark.parametrize("is_compiled", [True, False])
def test_the_modules_of_a_rebuilt_environment_are_compiled_once(place, is_compiled):
    """So that no execution compiles them; a module that cannot be compiled is no reason to fail."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 1\n", "broken.py": "this is no Python\n"})
    environment = place.capture()

    built = place.build(environment, BubblewrapEngine(), is_compiled=is_compiled)

    (site,) = built.path.glob("lib/python3*/site-packages")
    assert is_compiled == bool(list(site.glob("__pycache__/demo.*.pyc")))
    code = "import demo, os, sys; print(os.path.exists(demo.__cached__))"
    assert (0, f"{is_compiled}\n") == place.execute(BubblewrapEngine(), built, code)


def test_the_modules_are_compiled_without_isolation_too(place):
    """Also where the project itself stands among tests, whose modules nobody imports."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 1\n", "demo_more/tests/deep.py": "x = 1\n"})
    environment = place.capture()

    built = build(
        environment,
        reader=place.store,
        engine=HostEngine(),
        base=None,
        directory=place.folder / "tests" / "built",
        project=str(place.project),
        reporter=place.reporter,
    )

    (site,) = built.path.glob("lib/python3*/site-packages")
    assert ["demo"] == [path.name.partition(".")[0] for path in site.rglob("*.pyc")]


@pytest.mark.sandbox
def test_the_umask_of_the_caller_does_not_reach_the_built_environment(place):
    """The sandbox runs as another user; a private umask must not lock it out."""
    install(place.site, "demo", "1.0", {"demo/__init__.py": "x = 1\n"})
    (place.site / "folder").mkdir()
    (place.site / "folder" / "loose.py").write_text("z = 1\n")
    environment = place.capture()
    engine = BubblewrapEngine()
    old = os.umask(0o077)
    try:
        built = place.build(environment, engine)
    finally:
        os.umask(old)

    modes = {path: path.stat().st_mode & 0o444 for path in built.path.rglob("*") if not path.is_symlink()}
    assert {path: mode for path, mode in modes.items() if mode != 0o444} == {}


@pytest.mark.sandbox
def test_editable_installs_are_importable_inside(place):
    """One of the project itself, by the code tree; one from elsewhere, from a tree of its own, without its secrets."""
    inner = place.project / "src" / "inner"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("name = 'inner'\n")
    outer = place.folder / "outer project"
    (outer / "outer").mkdir(parents=True)
    (outer / "outer" / "__init__.py").write_text("name = 'outer'\n")
    (outer / ".env").write_text("PASSWORD=1")
    for name, directory, path in (("inner", place.project, "src"), ("outer", outer, ".")):
        url = f'{{"url": "{directory.as_uri()}", "dir_info": {{"editable": true}}}}'
        install(
            place.site,
            name,
            "1.0",
            {f"_{name}.pth": f"{directory / path}\n"},
            metadata={
                "direct_url.json": url,
                "entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
            },
        )
    environment = place.capture()
    shutil.rmtree(outer)
    engine = BubblewrapEngine()

    built = place.build(environment, engine)
    code = "import inner, outer, importlib.metadata as m; print(inner.name, outer.name, m.version('inner'))"
    mounts = (Mount(place.project, str(place.project)),)
    status, output = place.execute(engine, built, code, mounts=mounts)

    assert (status, output) == (0, "inner outer 1.0\n")
    by_name = {item.name: item for item in environment.distributions}
    assert (by_name["inner"].editable, by_name["inner"].editable_tree) == (".", None)
    assert by_name["outer"].editable == str(outer)
    names = [entry.name for entry in place.store.read_tree(by_name["outer"].editable_tree)]
    assert names == [b"outer"]
    assert (built.path / "bin" / "inner").exists()


@pytest.mark.sandbox
def test_a_system_python_of_another_version_is_named(place):
    """Both versions are in the message, and nothing is built."""
    environment = place.capture()
    if environment.interpreter.tree is not None:
        pytest.skip("NOT TESTED: this machine has no Python below /usr")
    other = dataclasses.replace(
        environment, interpreter=dataclasses.replace(environment.interpreter, version="3.99.7")
    )

    with pytest.raises(InterpreterMismatchError, match=rf"3\.99\.7.*{environment.interpreter.version}"):
        place.build(other, BubblewrapEngine())


@pytest.mark.sandbox
def test_libraries_that_the_base_lacks_are_named(place):
    """What this machine has is not among them; what no machine has is; and so is a glibc from the future."""
    environment = dataclasses.replace(
        place.capture(), system_libraries=("libc.so.6", "libnowhere.so.1"), glibc="2.9999"
    )

    missing = missing_system_libraries(
        environment, BubblewrapEngine(), None, cache_dir=place.folder / "cache"
    )

    present = describe(place.venv / "bin" / "python").platform["libc"].removeprefix("glibc ")
    assert missing == ("libnowhere.so.1", f"glibc 2.9999 (there is {present})")


def test_the_key_of_a_built_environment_depends_on_what_is_in_it(place):
    """And on the project only where an editable install points there."""
    environment = place.capture()
    install(place.site, "demo", "1.0", {"demo.py": ""})
    other = place.capture()

    assert environment_key(environment, None, project="/a") == environment_key(
        environment, None, project="/b"
    )
    assert environment_key(environment, None, project="/a") != environment_key(other, None, project="/a")
    inner = dataclasses.replace(
        other, distributions=(dataclasses.replace(other.distributions[0], editable="."),)
    )
    assert environment_key(inner, None, project="/a") != environment_key(inner, None, project="/b")


@pytest.mark.docker
def test_an_environment_is_rebuilt_inside_a_container(place, docker_engine):
    """On the base image, as an ordinary user, without a network."""
    install(place.site, "demo", "1.0", {"demo.py": "x = 42\n"})
    environment = place.capture()
    engine = DockerEngine()
    base = engine.resolve_base(docker_engine.base_image)

    built = place.build(environment, engine, base)

    assert place.execute(engine, built, "import demo; print(demo.x)", base) == (0, "42\n")
    wanting = dataclasses.replace(environment, system_libraries=("libc.so.6", "libnowhere.so.1"))
    for asked in (engine, None):
        # An image is asked once: the second time no engine is at hand.
        missing = missing_system_libraries(wanting, asked, base, cache_dir=place.folder / "cache")
        assert ("libnowhere.so.1",) == missing


@pytest.mark.sandbox
@pytest.mark.slow
def test_an_interpreter_from_outside_usr_is_rebuilt_with_its_environment(tmp_path):
    """Its own files come from the store, so it need not exist where the run is reproduced."""
    source = Path(os.path.realpath(sys.base_prefix))
    if str(source).startswith("/usr"):
        source = tmp_path / "interpreter"
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (source / "bin").mkdir(parents=True)
        shutil.copy(os.path.realpath(sys.executable), source / "bin" / python)
        library = describe(Path(sys.executable)).stdlib
        ignore = shutil.ignore_patterns("test", "__pycache__", "*-packages", "config-*")
        shutil.copytree(library, source / "lib" / python, ignore=ignore, symlinks=True)
    else:
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    place = Place(tmp_path, source / "bin" / python)
    install(place.site, "demo", "1.0", {"demo.py": "x = 42\n"})
    environment = place.capture()
    engine = BubblewrapEngine()

    built = place.build(environment, engine)
    status, output = place.execute(engine, built, "import demo, sys, json; print(demo.x, sys.base_prefix)")

    assert (status, output) == (0, f"42 {source}\n")
    assert environment.interpreter.tree is not None
