"""`mlvc trust`: settings that came with a branch execute nothing and send nothing before the user trusts them."""

import json
import os

import pytest

from mlvc.repo import Repo
from tests.support.reporter import RecordingReporter

NEEDING = ("env.python", "index.url", "remote.endpoint", "store.path")


@pytest.fixture
def marker(tmp_path):
    """Is there when the interpreter of a stranger was executed."""
    return tmp_path / "executed"


@pytest.fixture
def hostile(project, git, tmp_path, marker):
    """A branch of somebody else, checked out by git."""
    git("switch", "-q", "-c", "hostile")
    evil = project / "evil"
    evil.write_text(f"#!/bin/sh\necho executed >> {marker}\nexit 1\n")
    evil.chmod(0o755)
    with (project / "mlvc.toml").open("a") as settings:
        settings.write(
            f'\n[env]\npython = "{evil}"\n\n[store]\npath = "{tmp_path}/stolen"\n'
            '\n[index]\nurl = "postgresql://127.0.0.1:9/x"\n'
            '\n[remote]\nurl = "s3://models/x"\nendpoint = "http://127.0.0.1:9"\n'
        )
    git("add", "-A")
    git("commit", "-q", "--no-verify", "-m", "hostile")
    return project


COMMANDS = (
    ("status",),
    ("checkout",),
    ("diff",),
    ("log",),
    ("commit", "-a", "-m", "mine"),
    ("verify",),
    ("fsck",),
    ("gc", "--dry-run"),
)


def test_a_hostile_branch_has_no_effect(hostile, run_mlvc, tmp_path, marker):
    """Nothing of it is executed, nothing goes elsewhere, and every command says what it left out."""
    (hostile / "data" / "table.csv").write_text("mine\n")
    for argv in COMMANDS:
        told = run_mlvc(*argv, check=False)
        assert told.exit in {0, 1, 2}
        assert "mlvc trust" in told.stderr, argv
        assert all(name in told.stderr for name in NEEDING)
        assert not marker.exists(), argv
    assert not (tmp_path / "stolen").exists()
    assert "no-remote" == run_mlvc("push", "--json", check=2).json()["error"]["code"]


def test_hooks_are_as_careful(hostile, run_mlvc, git, tmp_path, marker):
    """Git's own commands, with mlvc's hooks."""
    run_mlvc("hooks", "install")
    git("switch", "-q", "main")
    git("switch", "-q", "hostile")
    (hostile / "train.py").write_text("more\n")
    git("commit", "-q", "-a", "-m", "more")

    assert not marker.exists()
    assert not (tmp_path / "stolen").exists()


def test_what_is_trusted_takes_effect(hostile, run_mlvc, marker):
    """It is shown first; afterwards nobody asks."""
    told = run_mlvc("trust", "--json").json()

    assert sorted(NEEDING) == sorted(told["settings"])
    assert told["new"] is True
    assert run_mlvc("trust", "--json").json()["new"] is False
    config = Repo.open(hostile, reporter=RecordingReporter(), environment={}).config
    assert ("http://127.0.0.1:9", "s3://models/x") == (config.remote_endpoint, config.remote_url)
    assert str(hostile / "evil") == config.env_python
    # This repository has a store of its own, which must not be forgotten.
    assert "store.path" in run_mlvc("status", "--json", check=2).json()["error"]["message"]


@pytest.mark.parametrize("name", ["python", "path", "endpoint"])
def test_a_change_asks_again(hostile, run_mlvc, name):
    """Whichever of them it is; what was trusted is trusted when it comes back."""
    run_mlvc("trust")
    settings = hostile / "mlvc.toml"
    trusted = settings.read_text()
    lines = [line.replace('"', '"/x', 1) if line.startswith(name) else line for line in trusted.splitlines()]
    settings.write_text("\n".join(lines) + "\n")
    reporter = RecordingReporter()

    config = Repo.open(hostile, reporter=reporter, environment={}).config

    assert (None, None, None) == (config.env_python, config.store_path, config.remote_endpoint)
    assert any("mlvc trust" in note for note in reporter.notes)
    settings.write_text(trusted)
    assert Repo.open(hostile, reporter=RecordingReporter(), environment={}).config.env_python


def test_other_settings_do_not_ask_again(hostile, run_mlvc):
    """Trust is of these settings, not of the file."""
    run_mlvc("trust")
    with (hostile / "mlvc.toml").open("a") as settings:
        settings.write('\n[code]\nuntracked = "none"\n')

    assert Repo.open(hostile, reporter=RecordingReporter(), environment={}).config.env_python


@pytest.mark.parametrize(
    "address",
    [
        "me:hunter2@db.example.org/x",
        "me:hunt?er2@db.example.org/x",
        "db.example.org/x?user=me&password=hunter2",
    ],
)
def test_a_password_that_git_tracks_is_not_trusted(project, run_mlvc, address):
    """It never takes effect, and is not told."""
    with (project / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[index]\nurl = "postgresql://{address}"\n')

    told = run_mlvc("trust", check=2)

    assert "mlvc.toml has a password in index.url" in told.stderr
    assert ".pgpass" in told.stderr
    assert "hunt" not in told.stderr + told.stdout
    assert run_mlvc("index", "show", "--json").json()["place"].endswith("index.db")


def test_trust_is_forgotten(hostile, run_mlvc):
    """And a damaged list of what is trusted is no trust."""
    run_mlvc("trust")
    path = hostile / ".git" / "mlvc" / "trusted"
    good = path.read_bytes()
    for bad in (good[:-2], good.replace(b"1\n", b"2\n", 1), b""):
        path.write_bytes(bad)
        assert Repo.open(hostile, reporter=RecordingReporter(), environment={}).config.env_python is None
    path.write_bytes(good)

    assert {"forgotten": 1} == run_mlvc("trust", "--forget", "--json").json()

    assert Repo.open(hostile, reporter=RecordingReporter(), environment={}).config.env_python is None


def test_trust_does_not_come_with_a_clone(hostile, run_mlvc, git, tmp_path):
    """Nor is it of another repository with the same settings."""
    run_mlvc("trust")
    git("clone", "-q", str(hostile), str(tmp_path / "clone"))

    assert (
        Repo.open(tmp_path / "clone", reporter=RecordingReporter(), environment={}).config.store_path is None
    )


def test_own_settings_need_no_trust(hostile, home, tmp_path):
    """And go before what the branch says, of which nobody is then told."""
    path = home / ".config" / "mlvc" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(
        '[env]\npython = "/usr/bin/python3"\n\n[index]\nurl = "postgresql://me@localhost/x"\n'
        '\n[store]\npath = "/srv/mlvc"\n'
        '\n[remote]\nendpoint = "https://s3.example.org"\n'
    )
    reporter = RecordingReporter()

    config = Repo.open(hostile, reporter=reporter, environment=dict(os.environ)).config

    assert ("/usr/bin/python3", "/srv/mlvc", "https://s3.example.org") == (
        config.env_python,
        config.store_path,
        config.remote_endpoint,
    )
    assert [] == reporter.notes


def test_nothing_to_trust(project, run_mlvc):
    """Exit 0, and no file is made."""
    assert {"settings": {}, "new": False} == json.loads(run_mlvc("trust", "--json").stdout)
    assert not (project / ".git" / "mlvc" / "trusted").exists()
