"""`mlvc clone` as a user runs it, from a git repository and a remote in directories."""

import os
import random
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support.command import Mlvc, child_environment


@pytest.fixture
def far(tmp_path):
    return tmp_path / "far"


@pytest.fixture
def pushed(project, run_mlvc, git, far):
    """The project, whose settings name a remote that has everything."""
    with (project / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "file://{far}"\n')
    git("commit", "--quiet", "-am", "a remote")
    run_mlvc("push")
    return project


@pytest.fixture
def desk(tmp_path):
    """An empty place to clone into."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Mlvc(cwd=folder)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_clone_and_pull_give_everything(pushed, desk, far):
    """Code, records, merge driver; then the data, with no other setting made."""
    answer = desk("clone", "--json", pushed, "copy").json()

    copy = desk.cwd / "copy"
    assert {"root": str(copy), "url": str(pushed), "remote": f"file://{far}"} == {
        key: answer[key] for key in ("root", "url", "remote")
    }
    assert answer["packs"] > 0
    assert ["first"] == [c["message"] for c in desk("log", "--json", cwd=copy).json()["commits"]]
    driver = subprocess.run(
        ["git", "config", "merge.mlvc.driver"], cwd=copy, capture_output=True, text=True, check=True
    )
    assert "merge-lock" in driver.stdout
    desk("pull", cwd=copy)
    assert contents(pushed / "data") == contents(copy / "data")
    assert True is desk("status", "--json", cwd=copy).json()["clean"]


@pytest.mark.parametrize("data", ["lock", "all"])
def test_clone_brings_data_at_once(pushed, desk, far, run_mlvc, git, data):
    """That of the lock, or of every revision; the clone is as after a pull, and needs the remote no more."""
    older = newer = {}
    # Too long to come along with what else is in its pack.
    for seed in (1, 2):
        (pushed / "data" / "noise").write_bytes(random.Random(seed).randbytes(300_000))
        older, newer = newer, contents(pushed / "data")
        run_mlvc("add", "data")
        run_mlvc("commit", "-m", f"noise {seed}")
        run_mlvc("push")

    answer = desk("clone", "--json", "--data", data, pushed, "copy").json()
    shutil.rmtree(far)

    copy = desk.cwd / "copy"
    assert len(newer) == answer["written"]
    assert newer == contents(copy / "data")
    assert True is desk("status", "--json", cwd=copy).json()["clean"]
    # Where the store is in the clone, gc must not take the place that it was made in for another repository.
    desk("gc", cwd=copy)
    desk("checkout", "HEAD~1", cwd=copy, check=0 if data == "all" else 2)
    if data == "all":
        assert older == contents(copy / "data")


def test_clone_with_data_says_nothing_of_pull(pushed, desk):
    """There is nothing left to bring."""
    assert "`mlvc pull`" in desk("clone", pushed, "records").stderr
    assert "mlvc pull" not in desk("clone", "--data", "lock", pushed, "copy").stderr


def test_clone_that_cannot_bring_the_data_leaves_nothing(pushed, desk, far):
    """A pack of data is damaged: one error, and no directory."""
    for path in (far / "data").glob("*.pack"):
        path.chmod(0o644)
        path.write_bytes(bytes(path.stat().st_size))

    assert (
        "remote-damaged"
        == desk("clone", "--json", "--data", "lock", pushed, "copy", check=2).json()["error"]["code"]
    )
    assert [] == os.listdir(desk.cwd)


def test_directory_is_named_as_git_names_it(pushed, desk):
    """`repo.git/` becomes `repo`, and a note says what comes next."""
    subprocess.run(["git", "clone", "--quiet", "--bare", pushed, desk.cwd / "model.git"], check=True)

    told = desk("clone", "model.git/")

    assert (desk.cwd / "model" / "mlvc.lock").is_file()
    assert "`mlvc pull`" in told.stderr


def test_an_empty_directory_is_filled_and_stays(pushed, desk):
    """Also where the person stands in it."""
    before = desk.cwd.stat().st_ino

    desk("clone", pushed, ".")

    assert before == desk.cwd.stat().st_ino
    assert (desk.cwd / ".git" / "mlvc" / "store").is_dir()


def test_directory_whose_name_no_text_can_hold(project, desk):
    """It is told as every name is, in JSON too."""
    name = "a\udcff\nb"
    assert "/a%FF%0Ab\n" in desk("clone", project, name).stdout
    assert desk("init", "--json", cwd=desk.cwd / name).json()["root"].endswith("/a%FF%0Ab")


@pytest.mark.parametrize("what", ["directory", "file"])
def test_what_is_there_is_not_touched(pushed, desk, what):
    """Exit 2, before git is asked."""
    mine = desk.cwd / "copy"
    if what == "directory":
        mine.mkdir()
        mine /= "mine"
    mine.write_text("precious")

    refused = desk("clone", "--json", pushed, "copy", check=2)

    assert "usage" == refused.json()["error"]["code"]
    assert "precious" == mine.read_text()
    assert ["copy"] == os.listdir(desk.cwd)


def test_a_remote_that_must_be_trusted_first_is_said(project, git, desk):
    """By the clone, by questions in it and by a pull, with the one command that helps: no other remote is needed."""
    with (project / "mlvc.toml").open("a") as settings:
        settings.write('\n[remote]\nurl = "s3://bucket/x"\nendpoint = "http://127.0.0.1:9"\n')
    git("commit", "--quiet", "-am", "a remote")

    told = desk("clone", project, "copy").stderr
    asked = desk("runs", cwd=desk.cwd / "copy").stderr
    refused = desk("pull", cwd=desk.cwd / "copy", check=2).stderr

    assert "next: in it, `mlvc trust`" in told
    assert "this may not be all: `mlvc trust`, then `mlvc fetch`" in asked
    assert "hint: say `mlvc trust` first" in refused
    assert "remote add" not in told + asked + refused


def test_a_project_without_a_remote_is_cloned_and_said(project, desk):
    """The code is there, and the next step."""
    told = desk("clone", project, "copy")

    assert "mlvc remote add" in told.stderr
    assert (desk.cwd / "copy" / "train.py").is_file()
    assert None is desk("clone", "--json", project, "again").json()["remote"]


def hurt_nothing(pushed, far):
    shutil.rmtree(pushed / ".git")


def hurt_settings(pushed, far):
    subprocess.run(["git", "rm", "--quiet", "mlvc.toml"], cwd=pushed, check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "gone"], cwd=pushed, check=True)


def hurt_remote(pushed, far):
    shutil.rmtree(far)


def hurt_pack(pushed, far):
    for path in (far / "metadata").glob("*.pack"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("hurt", "code"),
    [
        (hurt_nothing, "clone-refused"),
        (hurt_settings, "not-initialised"),
        (hurt_remote, "remote-missing"),
        (hurt_pack, "remote-damaged"),
    ],
    ids=["no git repository", "no mlvc.toml", "no remote", "damaged remote"],
)
def test_a_clone_that_fails_leaves_nothing_behind(pushed, desk, far, tmp_path, hurt, code):
    """One error with a hint; when what was wrong is mended, the same command works."""
    shutil.copytree(pushed, tmp_path / "backup", symlinks=True)
    shutil.copytree(far, tmp_path / "far-backup")
    hurt(pushed, far)

    error = desk("clone", "--json", pushed, "copy", check=2).json()["error"]

    assert code == error["code"]
    assert error["hint"]
    assert [] == os.listdir(desk.cwd)
    shutil.rmtree(pushed)
    shutil.rmtree(far, ignore_errors=True)
    shutil.move(tmp_path / "backup", pushed)
    shutil.move(tmp_path / "far-backup", far)
    desk("clone", pushed, "copy")


def test_an_empty_repository_is_no_project(git_repo, desk):
    """As git clones one, with a warning of its own."""
    assert "not-initialised" == desk("clone", "--json", git_repo, "copy", check=2).json()["error"]["code"]
    assert [] == os.listdir(desk.cwd)


HANG = "import sys, time; print('waiting', file=sys.stderr, flush=True); time.sleep(600)"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_clone_is_in_nobodys_way(pushed, desk, tmp_path, signum):
    """Whatever it leaves has another name, and the same command works afterwards."""
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{HANG}"\n')
    slow.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", "clone", "ssh://host/x", "copy"],
        cwd=desk.cwd,
        env=child_environment({"GIT_SSH": str(slow), "GIT_SSH_VARIANT": "simple"}),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert "waiting\n" == process.stderr.readline()
    os.killpg(process.pid, signum)
    process.communicate(timeout=60)

    desk("clone", pushed, "copy")

    assert (desk.cwd / "copy" / "mlvc.lock").is_file()


@pytest.mark.parametrize("url", ["http://user:hush-hush@127.0.0.1:9/x.git", "http://hush-hush@127.0.0.1:9/x"])
def test_a_password_in_the_url_is_not_shown(desk, url):
    """A token can stand where the user stands."""
    refused = desk("clone", url, check=2)

    assert "hush" not in refused.stdout + refused.stderr
    assert "127.0.0.1" in refused.stderr


def test_what_git_says_on_the_way_is_passed_on(desk, tmp_path):
    """Such as where to log in, while git waits; an error is said once."""
    talking = tmp_path / "talking"
    talking.write_text("#!/bin/sh\necho 'open https://host/device and enter 1234' >&2\nexit 1\n")
    talking.chmod(0o755)

    refused = desk(
        "clone", "ssh://host/x.git", check=2, env={"GIT_SSH": str(talking), "GIT_SSH_VARIANT": "simple"}
    )

    assert refused.stderr.startswith("open https://host/device and enter 1234\nerror: git cannot clone")
    assert 1 == refused.stderr.count("fatal:")


@pytest.mark.parametrize("url", ["/", "..", "host:/"])
def test_a_url_without_a_name_wants_a_directory(desk, url):
    """Rather than a clone called `.git`."""
    assert "usage" == desk("clone", "--json", url, check=2).json()["error"]["code"]


def test_an_option_is_no_url(desk):
    """Git must not take what a script passes on for `--upload-pack`."""
    refused = desk("clone", "--json", "--", "--upload-pack=touch pwned", "copy", check=2)

    assert "clone-refused" == refused.json()["error"]["code"]
    assert [] == os.listdir(desk.cwd)
