"""`git push` with the hooks installed: commits whose data is on no remote do not leave this machine."""

import json
import shutil
import subprocess

import pytest


@pytest.fixture
def server(hooked, git, tmp_path):
    """A bare git repository as `origin`, and a directory as mlvc's remote `team`; nothing is on either."""
    git("init", "-q", "--bare", "--initial-branch=main", str(tmp_path / "server.git"))
    git("remote", "add", "origin", str(tmp_path / "server.git"))
    (hooked / ".git" / "mlvc" / "remotes.toml").write_text(f'[team]\nurl = "file://{tmp_path}/far"\n')
    return tmp_path / "server.git"


@pytest.fixture
def shared(server, git, run_mlvc):
    """Everything is on both."""
    run_mlvc("push")
    git("push", "-q", "-u", "origin", "main")
    return server


@pytest.fixture
def commit(hooked, git, run_mlvc):
    """Commits new data."""

    def call(name):
        (hooked / "data" / "table.csv").write_text(name)
        run_mlvc("add", "data")
        git("commit", "-q", "-a", "-m", name)

    return call


def refs_of(server):
    listed = subprocess.run(["git", "ls-remote", server], capture_output=True, text=True, check=True).stdout
    return {line.split("\t")[1] for line in listed.splitlines()} - {"HEAD"}


def test_push_is_refused_until_the_data_is_on_the_remote(server, git, run_mlvc):
    """It says what is missing and which command sends it."""
    said = git("push", "origin", "main", check=False, both=True)
    assert "error: data of these commits is on no remote: data, the git commit" in said
    assert "hint: `mlvc push`" in said
    assert set() == refs_of(server)

    run_mlvc("push")
    git("push", "-q", "origin", "main")
    assert {"refs/heads/main"} == refs_of(server)


def test_way_out(server, git):
    """Git's own switch."""
    git("push", "-q", "--no-verify", "origin", "main")

    assert {"refs/heads/main"} == refs_of(server)


def test_every_version_between_counts(shared, git, commit, run_mlvc, tmp_path):
    """The last commit goes back to data that is there; the one before it needs data that is not."""
    before = (tmp_path / "repo" / "data" / "table.csv").read_text()
    commit("between")
    commit(before)
    assert "on no remote" in git("push", "origin", "main", check=False, both=True)

    run_mlvc("push")
    git("push", "-q", "origin", "main")


def test_what_tracks_nothing_new_needs_no_question(shared, git, tmp_path):
    """Neither a new branch and tag of old commits, nor a code commit, nor what is deleted: even without the remote."""
    shutil.rmtree(tmp_path / "far")
    git("branch", "topic")
    git("tag", "-a", "v1", "-m", "v1")
    git("tag", "tree", "HEAD^{tree}")
    git("push", "-q", "origin", "topic", "v1", "tree")
    git("commit", "-q", "--allow-empty", "-m", "code")
    git("push", "-q", "origin", "main", "HEAD^{/first}:refs/heads/odd name".replace(" ", "-"))
    git("push", "-q", "origin", ":topic", "--delete", "v1", check=False)
    git("push", "-q", "origin", ":topic")

    assert {
        "refs/heads/main",
        "refs/heads/odd-name",
        "refs/tags/v1",
        "refs/tags/v1^{}",
        "refs/tags/tree",
    } == (refs_of(shared))


def test_annotated_tag_of_new_data_is_refused(shared, git, commit):
    """A tag names its commit as a branch does."""
    commit("new")
    git("tag", "-a", "v1", "-m", "v1")

    assert "on no remote" in git("push", "origin", "v1", check=False, both=True)


def test_force_push_over_commits_that_were_never_fetched(shared, git, commit, run_mlvc, tmp_path):
    """The other side's SHA is unknown here; the data decides all the same."""
    other = tmp_path / "other"
    git("clone", "-q", str(shared), str(other))
    git(
        "-c",
        "user.name=O",
        "-c",
        "user.email=o@example.org",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "o",
        cwd=other,
    )
    git("push", "-q", "origin", "main", cwd=other)
    commit("mine")
    assert "on no remote" in git("push", "--force", "origin", "main", check=False, both=True)

    run_mlvc("push")
    git("push", "-q", "--force", "origin", "main")


def test_clone_without_the_data_may_push_code(shared, git, run_mlvc, tmp_path):
    """Also a shallow one: what it names is on the remote, and needs not be here."""
    clone = tmp_path / "clone"
    git("clone", "-q", "--depth", "1", f"file://{shared}", str(clone))
    git("config", "user.name", "C", cwd=clone)
    git("config", "user.email", "c@example.org", cwd=clone)
    run_mlvc("remote", "add", "team", tmp_path / "far", cwd=clone)
    run_mlvc("hooks", "install", cwd=clone)
    (clone / "train.py").write_text("better")
    git("commit", "-q", "-a", "-m", "code", cwd=clone)

    git("push", "-q", "origin", "HEAD:refs/heads/code", cwd=clone)
    # Without tracking branches all is asked about, from the indexes of the remote.
    git("push", "-q", f"file://{shared}", "HEAD:refs/heads/again", cwd=clone)
    assert {"refs/heads/main", "refs/heads/code", "refs/heads/again"} == refs_of(shared)


def test_answer_comes_from_what_was_seen(server, git, run_mlvc, tmp_path):
    """After `mlvc push` the remote is not asked; without that knowledge it is, and the answer is kept."""
    run_mlvc("push")
    seen = tmp_path / "repo" / ".git" / "mlvc" / "cache" / "remote-packs.json"
    known = seen.read_text()
    (tmp_path / "far").rename(tmp_path / "away")
    git("push", "-q", "origin", "main:refs/heads/one")

    (tmp_path / "away").rename(tmp_path / "far")
    seen.write_text("no JSON")
    git("push", "-q", str(server), "main:refs/heads/two")
    url = (tmp_path / "far").as_uri()
    assert json.loads(known)[url]["packs"] == json.loads(seen.read_text())[url]["packs"]


def test_remote_that_does_not_answer_refuses(server, hooked, git):
    """Nobody knows whether the data is there."""
    (hooked / ".git" / "mlvc" / "remotes.toml").write_text('[team]\nurl = "s3://bucket"\n')
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    said = git("push", "origin", "main", check=False, both=True, env=keys)

    assert said.startswith("error: the remote s3://bucket does not answer")
    assert set() == refs_of(server)


def test_branch_that_is_checked_out_may_know_no_data(shared, git, commit, run_mlvc):
    """Then nothing says which remote is meant, and nothing is guessed."""
    commit("new")
    git("checkout", "-q", "--orphan", "pages")
    git("rm", "-q", "-r", "-f", ".")
    git("commit", "-q", "--allow-empty", "-m", "pages")
    git("push", "-q", "origin", "pages")

    said = git("push", "origin", "main", check=False, both=True)
    assert "what is checked out has no mlvc.toml" in said


def test_push_from_inside_the_git_directory(shared, hooked, git, commit):
    """No work tree says there which remote is meant; what tracks no new data goes."""
    git("push", "-q", "origin", "main:refs/heads/again", cwd=hooked / ".git")
    commit("new")

    said = git("push", "origin", "main", check=False, both=True, cwd=hooked / ".git")
    assert said.startswith("error: these commits track data, and there is no work tree here")
    assert "hint: push from a work tree" in said


def test_records_count_too(shared, hooked, git, run_mlvc):
    """The data is on the remote, and the data commit that names it is not."""
    git("commit", "-q", "--allow-empty", "-m", "no data")
    (hooked / "mlvc.lock").write_text((hooked / "mlvc.lock").read_text() + "\n")
    git("commit", "-q", "-a", "-m", "the same data")

    assert "the git commit" in git("push", "origin", "main", check=False, both=True)


def test_what_was_seen_long_ago_is_asked_about(server, git, run_mlvc, tmp_path):
    """Data that was pushed, and then deleted there as unneeded, is not taken for being there when it is committed."""
    run_mlvc("push")
    for path in (tmp_path / "far").glob("*/*.*"):
        path.unlink()
    git("push", "-q", "origin", "main:refs/heads/today")
    seen = tmp_path / "repo" / ".git" / "mlvc" / "cache" / "remote-packs.json"
    document = json.loads(seen.read_text())
    for each in document.values():
        each["time"] -= 6 * 86_400
    seen.write_text(json.dumps(document))

    said = git("push", str(server), "main:refs/heads/later", check=False, both=True)

    assert "error: data of these commits is on no remote" in said
    assert {"refs/heads/today"} == refs_of(server)
    run_mlvc("push")
    git("push", "-q", str(server), "main:refs/heads/later")
