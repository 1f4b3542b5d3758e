"""A week of two people and a git server: after every step data, lock and index agree, and nothing was lost."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlvc.repo import Repo
from mlvc.verbs.add import add
from mlvc.verbs.locate import find_entry
from tests.support.command import Mlvc, child_environment
from tests.support.reporter import RecordingReporter

LOCAL = ("-c", "protocol.file.allow=always")
"""Git takes submodules from a directory only where it is told so."""


@dataclass
class Person:
    """Works in one clone. Everything that was ever committed there is noted, to be looked for at the end."""

    name: str
    root: Path
    agree_at: object
    saved: list[tuple[str, str, str]] = field(default_factory=list)

    def git(self, *arguments, fails=False, env=None):
        who = {f"GIT_{role}_{part}": text for role in ("AUTHOR", "COMMITTER") for part, text in self.card}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env=child_environment({**who, "GIT_EDITOR": "true", **(env or {})}),
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert fails == (done.returncode != 0), f"{self.name}: git {arguments}\n{said}"
        return said

    @property
    def card(self):
        return (("NAME", self.name), ("EMAIL", f"{self.name}@example.org"))

    def mlvc(self, *arguments, **options):
        return Mlvc(cwd=self.root)(*arguments, **options)

    @property
    def repo(self):
        return Repo.open(self.root, reporter=RecordingReporter(), environment={})

    def edit(self, name, text):
        (self.root / "data" / name).write_text(text)

    def read(self, name):
        return (self.root / "data" / name).read_text()

    def stage(self, name, text):
        self.edit(name, text)
        add(self.repo, ["data"])

    def save(self, name, text):
        """Commits new data through plain git."""
        self.stage(name, text)
        self.git("commit", "-q", "-a", "-m", f"{name} {text}")
        self.note(name, text)

    def note(self, name, text):
        self.saved.append((self.repo.code.resolve("HEAD"), name, text))

    def send(self, *arguments):
        self.mlvc("push")
        self.git("push", "-q", *(arguments or ("origin", "HEAD")))
        self.agree()

    def bring(self, *arguments):
        """Records first, so that the merge driver knows the other side; the data at the end."""
        self.mlvc("fetch")
        said = self.git("pull", "-q", *arguments)
        self.mlvc("pull")
        self.agree()
        return said

    def agree(self):
        self.agree_at(self.root)

    def check_nothing_is_lost(self):
        """Each version stands where its commit says, also of commits that were amended, rebased or left behind."""
        repo = self.repo
        for sha, name, text in self.saved:
            entry = find_entry(repo.store, repo.lock_at(sha), b"data/" + name.encode())
            assert text == b"".join(repo.store.iter_blob(entry.id)).decode(), (self.name, sha, name)


@pytest.fixture
def team(hooked, git, tmp_path, agree_at):
    """Alice's repository is on the server, its data on the remote; Bob has cloned both."""
    server, far = tmp_path / "server.git", (tmp_path / "far").as_uri()
    git("init", "-q", "--bare", "--initial-branch=main", str(server))
    git("remote", "add", "origin", server.as_uri())
    with (hooked / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "{far}"\n')
    git("commit", "-q", "-a", "-m", "remote")
    alice = Person("alice", hooked, agree_at)
    alice.mlvc("push")
    alice.git("push", "-q", "-u", "origin", "main")
    bob = Person("bob", tmp_path / "bob", agree_at)
    Mlvc(cwd=tmp_path)("clone", server.as_uri(), str(bob.root))
    bob.mlvc("pull")
    bob.mlvc("hooks", "install")
    return alice, bob, server


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_week(team, tmp_path):
    """Branches, merges, conflicts, rebases, amends, reverts, stashes, worktrees, submodules, force push, clones."""
    alice, bob, server = team
    alice.agree()
    bob.agree()

    monday_branch_and_merge(alice, bob)
    tuesday_rebase(alice, bob)
    wednesday_conflict(alice, bob)
    wednesday_conflict_in_a_rebase(alice, bob)
    thursday_aside(alice, tmp_path)
    friday_elsewhere(alice, bob, tmp_path)
    friday_submodule_with_data(alice, bob, server, tmp_path)
    saturday_force(alice, bob)
    sunday_foreign_clones(alice, server, tmp_path)

    alice.check_nothing_is_lost()
    bob.check_nothing_is_lost()
    assert [] == alice.mlvc("verify", "--remote", "--json").json()["problems"]


def monday_branch_and_merge(alice, bob):
    """A branch whose data was not sent is refused; a colleague merges it."""
    alice.git("switch", "-q", "-c", "labels")
    alice.save("labels.csv", "cat")
    alice.agree()
    assert "data of these commits is on no remote" in alice.git("push", "origin", "labels", fails=True)
    alice.send("-u", "origin", "labels")
    bob.save("bob.csv", "1")
    bob.agree()
    bob.mlvc("fetch")
    bob.git("fetch", "-q")
    bob.git("merge", "-q", "origin/labels", "-m", "labels")
    bob.mlvc("pull")
    bob.agree()
    assert ("cat", "1") == (bob.read("labels.csv"), bob.read("bob.csv"))
    bob.send()
    alice.git("switch", "-q", "main")
    assert not (alice.root / "data" / "labels.csv").exists()
    alice.agree()
    alice.bring("--ff-only")
    assert "1" == alice.read("bob.csv")


def tuesday_rebase(alice, bob):
    """Two lines of work on one directory come together in a rebase of two steps; then a commit is amended."""
    alice.save("table.csv", "alice")
    alice.send()
    bob.save("steps.csv", "one")
    bob.save("steps.csv", "two")
    bob.mlvc("push")
    assert "rejected" in bob.git("push", "origin", "main", fails=True)
    bob.bring("--rebase")
    assert ("alice", "two") == (bob.read("table.csv"), bob.read("steps.csv"))
    bob.stage("steps.csv", "three")
    bob.git("commit", "-q", "-a", "--amend", "-m", "three")
    bob.note("steps.csv", "three")
    bob.agree()
    bob.send()
    alice.bring("--ff-only")
    assert "three" == alice.read("steps.csv")


def wednesday_conflict(alice, bob):
    """Both edit one file: the conflict names it, and each side can be taken; edits that are not saved stay."""
    alice.save("table.csv", "hers")
    alice.send()
    bob.save("table.csv", "his")
    bob.mlvc("fetch")
    bob.git("fetch", "-q")
    assert "data/table.csv" in bob.git("merge", "origin/main", fails=True)
    assert "lock-conflict" == bob.mlvc("status", "--json", check=2).json()["error"]["code"]
    assert "his" == bob.read("table.csv")
    bob.git("merge", "--abort")
    bob.agree()
    bob.git("merge", "origin/main", fails=True)
    bob.git("checkout", "--theirs", "mlvc.lock")
    bob.mlvc("pull")
    bob.git("add", "mlvc.lock")
    bob.git("commit", "-q", "-m", "hers it is")
    bob.agree()
    assert "hers" == bob.read("table.csv")
    bob.send()
    alice.edit("table.csv", "unsaved")
    alice.mlvc("fetch")
    alice.git("pull", "-q", "--ff-only")
    assert "unsaved" == alice.read("table.csv")
    alice.save("table.csv", "saved after all")
    alice.agree()
    alice.send()


def wednesday_conflict_in_a_rebase(alice, bob):
    """His side is taken by its path; what she alone changed comes along."""
    bob.bring("--ff-only")
    alice.save("hers.csv", "hers alone")
    alice.save("clash.csv", "hers")
    alice.send()
    bob.save("clash.csv", "his")
    bob.mlvc("fetch")
    bob.git("fetch", "-q")
    assert "data/clash.csv" in bob.git("rebase", "origin/main", fails=True)
    # What she alone changed is not here yet; it is decided all the same.
    assert "mlvc pull" in bob.mlvc("checkout", "--theirs", "--", "data/clash.csv", check=False).stderr
    bob.git("add", "mlvc.lock")
    bob.git("rebase", "--continue")
    bob.mlvc("pull")
    bob.note("clash.csv", "his")
    bob.agree()
    assert ("his", "hers alone") == (bob.read("clash.csv"), bob.read("hers.csv"))
    bob.send()
    alice.bring("--ff-only")
    assert "his" == alice.read("clash.csv")


def thursday_aside(alice, tmp_path):
    """A reverted commit, a stash, and a second worktree."""
    alice.save("oops.csv", "oops")
    alice.git("revert", "--no-edit", "HEAD")
    alice.agree()
    assert not (alice.root / "data" / "oops.csv").exists()
    alice.stage("table.csv", "stashed")
    alice.git("stash", "-q")
    alice.mlvc("checkout")
    alice.agree()
    assert "saved after all" == alice.read("table.csv")
    alice.git("stash", "pop", "-q")
    alice.mlvc("checkout")
    assert "stashed" == alice.read("table.csv")
    alice.git("commit", "-q", "-a", "-m", "unstashed")
    alice.note("table.csv", "stashed")
    alice.agree()

    linked = Person("alice", tmp_path / "linked", alice.agree_at)
    alice.git("worktree", "add", "-q", "-b", "side", str(linked.root), "labels")
    linked.agree()
    linked.save("side.csv", "side")
    linked.agree()
    alice.agree()
    assert ("cat", False) == (linked.read("labels.csv"), (alice.root / "data" / "side.csv").exists())
    alice.git("cherry-pick", "side")
    alice.agree()
    assert "side" == alice.read("side.csv")
    alice.git("worktree", "remove", str(linked.root))
    alice.saved += linked.saved


def friday_elsewhere(alice, bob, tmp_path):
    """A commit on no branch, and a submodule."""
    alice.git("checkout", "-q", "--detach", "HEAD~2")
    alice.agree()
    assert "saved after all" == alice.read("table.csv")
    alice.save("loose.csv", "on no branch")
    alice.agree()
    alice.git("switch", "-q", "main")
    alice.agree()

    library = tmp_path / "library"
    library.mkdir()
    other = Person("alice", library, None)
    other.git("init", "-q", "--initial-branch=main")
    (library / "code.py").write_text("pass\n")
    other.git("add", "code.py")
    other.git("commit", "-q", "-m", "library")
    alice.git(*LOCAL, "submodule", "--quiet", "add", library.as_uri(), "library")
    alice.git("commit", "-q", "-m", "a submodule")
    alice.agree()
    alice.send()
    bob.bring("--ff-only")
    bob.git(*LOCAL, "submodule", "--quiet", "update", "--init")
    bob.agree()
    assert "side" == bob.read("side.csv")


def make_cells(alice, tmp_path):
    """A repository with data and a remote of its own."""
    cells = Person("alice", tmp_path / "cells", alice.agree_at)
    cells.root.mkdir()
    cells.git("init", "-q", "--initial-branch=main")
    cells.mlvc("init")
    cells.mlvc("hooks", "install")
    with (cells.root / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "{(tmp_path / "far-cells").as_uri()}"\n')
    (cells.root / "data").mkdir()
    cells.stage("cells.csv", "one")
    cells.git("add", "-A")
    cells.git("commit", "-q", "-m", "cells")
    cells.mlvc("push")
    return cells


def friday_submodule_with_data(alice, bob, server, tmp_path):
    """Its data follows `git submodule update`, its hooks guard it, and the repository around it leaves it alone."""
    cells = make_cells(alice, tmp_path)
    alice.git(*LOCAL, "submodule", "--quiet", "add", cells.root.as_uri(), "cells")
    alice.git("commit", "-q", "-m", "a submodule with data")
    alice.send()

    carol = Person("carol", tmp_path / "carol", alice.agree_at)
    alice.git(*LOCAL, "clone", "-q", "--recurse-submodules", server.as_uri(), str(carol.root))
    for command in (("init",), ("hooks", "install"), ("pull",)):
        carol.mlvc(*command)
    inner = Person("carol", carol.root / "cells", carol.agree_at)
    assert (inner.root / ".git").is_file()
    inner.mlvc("pull")
    inner.mlvc("hooks", "install")
    assert "one" == inner.read("cells.csv")
    inner.git("switch", "-q", "main")
    inner.edit("cells.csv", "two")
    assert "differs from mlvc.lock" in inner.git("commit", "-a", "-m", "edited", fails=True)
    inner.save("cells.csv", "two")
    inner.agree()
    assert "is on no remote" in inner.git("push", "origin", "HEAD:refs/heads/two", fails=True)
    inner.mlvc("push")
    inner.git("push", "-q", "origin", "HEAD:refs/heads/two")

    project_around_a_submodule(carol, inner)
    bob.bring("--ff-only")
    bob.git(*LOCAL, "submodule", "--quiet", "update", "--init")
    followed = Person("bob", bob.root / "cells", bob.agree_at)
    followed.mlvc("pull")
    assert "two" == followed.read("cells.csv")
    bob.agree()
    alice.mlvc("fetch")
    alice.git("pull", "-q", "--ff-only")
    alice.git(*LOCAL, "submodule", "--quiet", "update")
    alice.agree()


def project_around_a_submodule(carol, inner):
    """Says nothing of the submodule's data, and touches none."""
    assert "cells" not in carol.mlvc("status").stdout
    assert "belongs to another git repository, cells" in carol.mlvc("add", "cells/data", check=2).stderr
    carol.mlvc("checkout")
    assert "two" == inner.read("cells.csv")
    carol.git("commit", "-q", "-a", "-m", "newer cells")
    carol.agree()
    for rev, text in (("HEAD~1", "one"), ("main", "two")):
        carol.git("checkout", "-q", rev)
        carol.git(*LOCAL, "submodule", "--quiet", "update")
        assert text == inner.read("cells.csv")
        inner.agree()
        carol.agree()
    carol.send()
    inner.check_nothing_is_lost()


def saturday_force(alice, bob):
    """What was pushed is rewritten; who had it follows, and loses nothing of his own."""
    alice.save("mistake.csv", "mistake")
    alice.send()
    bob.bring("--ff-only")
    alice.git("reset", "-q", "--hard", "HEAD~1")
    alice.mlvc("checkout")
    alice.agree()
    alice.save("right.csv", "right")
    assert "rejected" in alice.git("push", "origin", "main", fails=True, env={"MLVC_HOOK_TOKEN": "1"})
    alice.send("--force", "origin", "main")
    bob.save("mine.csv", "mine")
    bob.mlvc("fetch")
    bob.git("fetch", "-q")
    bob.git("rebase", "-q", "--onto", "origin/main", "HEAD~1")
    bob.mlvc("pull")
    bob.agree()
    assert ("right", "mine") == (bob.read("right.csv"), bob.read("mine.csv"))
    assert not (bob.root / "data" / "mistake.csv").exists()
    bob.send()
    alice.bring("--ff-only")


def sunday_foreign_clones(alice, server, tmp_path):
    """A shallow clone works on the data; one without mlvc sends code alone."""
    shallow = Person("shallow", tmp_path / "shallow", alice.agree_at)
    alice.git("clone", "-q", "--depth", "1", server.as_uri(), str(shallow.root))
    shallow.mlvc("init")
    shallow.mlvc("hooks", "install")
    shallow.mlvc("pull")
    shallow.save("shallow.csv", "shallow")
    shallow.agree()
    shallow.send()
    shallow.check_nothing_is_lost()
    alice.bring("--ff-only")

    plain = Person("plain", tmp_path / "plain", None)
    alice.git("clone", "-q", server.as_uri(), str(plain.root))
    bare = {"PATH": "/usr/bin:/bin"}
    (plain.root / "train.py").write_text("print('by hand')\n")
    plain.git("commit", "-q", "-a", "-m", "code", env=bare)
    plain.git("push", "-q", "origin", "main", env=bare)
    alice.bring("--ff-only")
    assert "shallow" == alice.read("shallow.csv")
