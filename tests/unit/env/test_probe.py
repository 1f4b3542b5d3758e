import pytest

from mlvc.env.credentials import strip_credentials
from mlvc.env.probe import find_interpreter, find_python


@pytest.fixture
def folder(tmp_path):
    def make(path, text=""):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755)
        return target

    return make


def test_the_interpreter_of_a_project_is_the_first_that_exists(tmp_path, folder):
    """The setting, then $VIRTUAL_ENV, then .venv, then the search path."""
    on_path = folder("bin/python")
    project = tmp_path / "project"
    project.mkdir()
    arguments = {"project": project, "path": str(tmp_path / "bin")}

    assert find_interpreter(configured=None, virtual_env=None, **arguments) == on_path
    own = folder("project/.venv/bin/python")
    assert find_interpreter(configured=None, virtual_env=str(tmp_path / "gone"), **arguments) == own
    active = folder("active/bin/python")
    assert find_interpreter(configured=None, virtual_env=str(tmp_path / "active"), **arguments) == active
    configured = folder("project/other/python")
    assert (
        find_interpreter(configured="other/python", virtual_env=str(tmp_path / "active"), **arguments)
        == configured
    )


def test_a_configured_interpreter_that_is_missing_is_not_replaced_by_another(tmp_path, folder):
    """Whoever names an interpreter does not want a different one."""
    folder("bin/python")

    assert (
        find_interpreter(
            configured="no/python", virtual_env=None, project=tmp_path, path=str(tmp_path / "bin")
        )
        is None
    )


def test_no_interpreter_anywhere_is_none(tmp_path):
    """The caller words the error."""
    assert find_interpreter(configured=None, virtual_env=None, project=tmp_path, path=str(tmp_path)) is None


@pytest.mark.parametrize("name", ["python", "python3", "python3.12", "python3.13t", "pypy3", "pypy3.10"])
def test_a_command_with_the_name_of_a_python_is_one(tmp_path, folder, name):
    """By its name, on the path or by its path."""
    python = folder(f"bin/{name}")

    assert find_python(name, path=str(tmp_path / "bin"), directory=tmp_path) == python
    assert find_python(f"bin/{name}", path="", directory=tmp_path) == python


@pytest.mark.parametrize(
    "first",
    [
        "#!{python}\n",
        "#! {python} -I\n",
        "#!/usr/bin/env python3\n",
        "#!/usr/bin/env -S A=1 python3 -X dev\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_a_script_runs_on_the_interpreter_of_its_first_line(tmp_path, folder, first):
    """Console scripts and hand-written ones, in every form that installers write."""
    python = folder("bin/python3")
    folder("bin/train", first.format(python=python))

    assert find_python("train", path=str(tmp_path / "bin"), directory=tmp_path) == python


@pytest.mark.parametrize(
    "text", ["", "#!/bin/sh\n", "#!\n", "#!/usr/bin/env\n", "\x7fELF", "#!/nowhere/python\n"]
)
def test_other_commands_have_no_interpreter(tmp_path, folder, text):
    """A shell script or a program has no environment of its own."""
    folder("bin/tool", text)

    assert find_python("tool", path=str(tmp_path / "bin"), directory=tmp_path) is None
    assert find_python("missing", path=str(tmp_path / "bin"), directory=tmp_path) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a @ https://user:pass@host/x.whl", "a @ https://host/x.whl"),
        ("a @ https://user:p@ss@host/x.whl#sha256=1", "a @ https://host/x.whl#sha256=1"),
        ("a @ https://token@host/x?sig=SECRET#egg=a", "a @ https://host/x#egg=a"),
        ("-e git+ssh://git@host/x@v1#egg=a", "-e git+ssh://git@host/x@v1#egg=a"),
        ('{"url": "https://u:p@h/x", "b": "me@home"}', '{"url": "https://h/x", "b": "me@home"}'),
        ("numpy==1.0\n", "numpy==1.0\n"),
    ],
)
def test_credentials_are_taken_out_of_urls(text, expected):
    """No password, token or signed query is ever stored; the rest of the text stays."""
    assert strip_credentials(text) == expected
