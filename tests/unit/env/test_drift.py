import pytest

from mlvc.env.distributions import read_files, read_installed, read_unrecorded_files
from mlvc.env.drift import Change, Drift, Present, compare, read_present
from mlvc.env.editable import find_editable
from mlvc.model.objects import Distribution, Environment, Interpreter
from tests.support.environments import install

PYTHON = Interpreter("/v/bin/python", "/usr/bin/python3.11", "3.11.2", "cpython", "3.11.2 (x)", "/v", "/usr")


def environment(*distributions):
    return Environment(PYTHON, {}, "", distributions)


def test_drift_names_what_came_went_and_changed():
    """Names are compared in their normalised form."""
    recorded = environment(Distribution("A.b", "1"), Distribution("gone", "2"), Distribution("same", "3"))
    present = Present("3.12.1", {"a-b": ("a_b", "1.1"), "same": ("same", "3"), "new": ("New", "5")})

    assert compare(recorded, present) == Drift(
        ("New==5",), ("gone==2",), (Change("A.b", "1", "1.1"),), Change("python", "3.11.2", "3.12.1")
    )


def test_nothing_differs_between_an_environment_and_itself():
    """No drift is falsy, by metadata and by capture."""
    recorded = environment(Distribution("a", "1", wheel_sha256="0" * 64))

    assert not compare(recorded, recorded)
    assert not compare(recorded, Present("3.11.2", {"a": ("a", "1")}))
    assert not compare(recorded, Present(None, {"a": ("a", "1")}))


def test_two_captures_of_one_version_differ_by_their_files():
    """An edited site-packages is a drift, though its version says nothing."""
    before = environment(Distribution("a", "1", wheel_sha256="0" * 64))
    after = environment(Distribution("a", "1", wheel_sha256="1" * 64))

    assert compare(before, after).changed == (Change("a", "1", "1 with other files"),)


def test_present_metadata_is_read_without_the_interpreter(prefix, site, tmp_path):
    """`status` must not execute what stands in a work tree."""
    marker = tmp_path / "executed"
    python = prefix / "bin" / "python"
    python.write_text(f"#!/bin/sh\ntouch {marker}\n")
    python.chmod(0o755)
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.11.2.final.0\n")
    install(site, "demo", "1.0", {"demo.py": ""})
    (site / "~emo-0.9.dist-info").mkdir()
    (site / "broken-1.dist-info").mkdir()

    present = read_present(python, project=tmp_path, cache_dir=tmp_path / "cache")

    assert present == Present("3.11.2", {"demo": ("demo", "1.0")})
    assert not marker.exists()


def test_what_is_not_known_to_have_packages_tells_nothing(tmp_path):
    """A version manager's stand-in has no site-packages beside it."""
    python = tmp_path / "shims" / "python"

    assert read_present(python, project=tmp_path, cache_dir=tmp_path / "cache") is None


def test_a_distribution_without_record_is_known_by_its_other_metadata(site):
    """Distribution packages and old installers leave an egg-info directory."""
    info = site / "old-1.0.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Name: old\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("old\n_old\n")
    (site / "old").mkdir()
    for name in ("old/a.py", "_old.cpython-311-x86_64-linux-gnu.so", "older.py"):
        (site / name).write_text("")

    installed = read_installed([str(site)])["old"]

    assert read_files(installed) is None
    assert [file.recorded for file in read_unrecorded_files(installed)] == [
        "_old.cpython-311-x86_64-linux-gnu.so",
        "old-1.0.egg-info/PKG-INFO",
        "old-1.0.egg-info/top_level.txt",
        "old/a.py",
    ]


@pytest.mark.parametrize(
    ("hook", "text", "expected"),
    [
        ("_demo.pth", "{project}/src\n", ["src"]),
        (
            "__editable___demo_1_0_finder.py",
            "MAPPING: dict[str, str] = {{'demo': '{project}/lib/demo'}}\n",
            ["lib"],
        ),
        ("__editable___demo_1_0_finder.py", "MAPPING = {{'a.b': '{project}/lib/a/b'}}\n", ["lib"]),
        ("_demo_editable.py", "import unknown_hook\n", [""]),
    ],
)
def test_an_editable_install_tells_what_it_puts_on_the_path(site, tmp_path, hook, text, expected):
    """Path files, and the import hooks of setuptools, read and not executed."""
    project = tmp_path / "project"
    (project / "lib").mkdir(parents=True)
    url = f'{{"url": "file://{project}", "dir_info": {{"editable": true}}}}'
    install(site, "demo", "1.0", {hook: text.format(project=project)}, metadata={"direct_url.json": url})
    installed = read_installed([str(site)])["demo"]

    editable = find_editable(installed, read_files(installed), [str(site)])

    assert editable.directory == str(project)
    assert list(editable.paths) == [str(project / path) for path in expected]


def test_an_egg_link_is_an_editable_install(site, tmp_path):
    """`setup.py develop` left those; the metadata is in the project."""
    project = tmp_path / "project"
    (project / "demo.egg-info").mkdir(parents=True)
    (project / "demo.egg-info" / "PKG-INFO").write_text("Name: demo\nVersion: 2\n")
    (site / "demo.egg-link").write_text(f"{project}\n.")
    installed = read_installed([str(site)])["demo"]

    assert find_editable(installed, [], [str(site)]).directory == str(project)
    assert installed.version == "2"
