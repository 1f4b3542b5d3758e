"""Pushing, fetching and pulling while a gc, here or of the remote, is at work: promise 6, with real git."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlvc.model.ids import PackId
from mlvc.repo import Repo
from mlvc.store.local import RecordKey
from mlvc.store.remote import RemotePack
from mlvc.store.remote_files import RemoteMissingError
from mlvc.store.remote_gc import collect_remote
from mlvc.store.remote_s3 import BucketOptions
from mlvc.verbs import remote as remotes
from mlvc.verbs.add import add
from mlvc.verbs.closure import Closure, is_whole
from mlvc.verbs.commit import commit
from mlvc.verbs.gc import gc
from mlvc.verbs.init import init
from mlvc.verbs.pull import pull
from mlvc.verbs.push import push
from mlvc.verbs.seen import remember_packs, seen_packs
from mlvc.verbs.source import index_cache, with_source
from tests.support.reporter import RecordingReporter


def open_repo(root, reporter=None):
    """Opens it as a process of its own does, with no keep period."""
    environment = {"HOME": str(root.parent / "home")}
    return Repo.open(root, reporter=reporter or RecordingReporter(), environment=environment)


@pytest.fixture
def project(git_repo, tmp_path):
    """A project with one commit on a remote, and with data that nothing needs any more, here and there."""
    settings = tmp_path / "home" / ".config" / "mlvc" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[gc]\nkeep_days = 0\n")
    init(git_repo, git=False, reporter=RecordingReporter(), environment={})
    remotes.add(open_repo(git_repo), "far", str(tmp_path / "far"))
    (git_repo / "data").mkdir()
    (git_repo / "data" / "a").write_bytes(os.urandom(200_000))
    (git_repo / "data" / "b").write_bytes(os.urandom(200_000))
    add(open_repo(git_repo), [str(git_repo / "data")])
    (git_repo / "data" / "b").unlink()
    add(open_repo(git_repo), [str(git_repo / "data")])
    subprocess.run(["git", "add", "-A"], cwd=git_repo, check=True)
    commit(open_repo(git_repo), "data")
    return git_repo


def gc_far(repo):
    """Takes a step of a gc of the remote, for which everything there is old."""
    for path in (repo.root.parent / "far").rglob("*.*"):
        status = path.stat()
        os.utime(path, (status.st_atime, status.st_mtime - 40 * 86_400))
    return collect_remote(
        repo.store, remotes.open_remote(repo), (), index_cache(repo), repo.reporter, keep_s=86_400
    )


class Meddling(RecordingReporter):
    """Does something when a task of some name begins, once."""

    def __init__(self, label, action):
        super().__init__()
        self.label, self.action = label, action

    def task(self, label, *, total=None, unit="files"):
        if label == self.label:
            self.label = None
            self.action()
        return super().task(label, total=total, unit=unit)


def test_a_push_keeps_gc_from_deleting(project):
    """What is being sent stays here until it has been; the gc deletes another time."""
    done = []

    def collect():
        # Once to note what nothing needs, once to delete it.
        done.extend(gc(open_repo(project)).collected.is_put_off for _ in range(2))

    result = push(open_repo(project, Meddling("pushing", collect)))

    assert result.packs > 1
    assert done[-1]
    assert not gc(open_repo(project)).collected.is_put_off


def test_a_pull_looks_again(project, tmp_path):
    """A gc of the remote replaces a pack between the listing and the reading: what is needed comes from the new one."""
    push(open_repo(project))
    subprocess.run(["git", "clone", "--quiet", str(project), str(tmp_path / "second")], check=True)
    second = tmp_path / "second"
    remotes.add(open_repo(second), "far", str(tmp_path / "far"))
    shutil.rmtree(second / "data", ignore_errors=True)
    steps = []

    def collect():
        steps.extend(gc_far(open_repo(project)).step for _ in range(2))

    pull(open_repo(second, Meddling("fetching", collect)))

    assert ["condemned", "deleted"] == steps
    assert (project / "data" / "a").read_bytes() == (second / "data" / "a").read_bytes()


def test_a_file_that_is_gone_for_no_reason_is_an_error(project):
    """Nothing is asked again and again where nothing changed."""
    push(open_repo(project))
    repo = open_repo(project)
    asked = []

    def work(source):
        asked.append(source)
        raise RemoteMissingError("gone")

    with pytest.raises(RemoteMissingError, match="gone"):
        with_source(repo, None, work)
    assert 1 == len(asked)


def test_what_a_list_names_is_not_noted(project):
    """A look finds packs that go within a week: nobody may rely on them, and a push sends them again."""
    push(open_repo(project))
    repo = open_repo(project)
    condemned = gc_far(repo)
    assert "condemned" == condemned.step

    far = remotes.open_remote(repo)
    with_source(repo, None, lambda _: None)

    names = {PackId.parse("b3:" + Path(file).stem) for file in condemned.files}
    noted = seen_packs(open_repo(project), far).keys()
    assert noted
    assert not names & noted
    assert names & far.list_packs().keys()
    assert push(open_repo(project)).packs
    assert {info.id for info in repo.store.packs()} == seen_packs(open_repo(project), far).keys()


def test_a_damaged_list_leaves_nothing_to_rely_on(project):
    """What is going to be deleted is not known then; what is there can be fetched all the same."""
    push(open_repo(project))
    (project.parent / "far" / "gc").mkdir(exist_ok=True)
    (project.parent / "far" / "gc" / f"{'0' * 64}.list").write_text("damaged")
    repo = open_repo(project)

    assert with_source(repo, None, lambda source: bool(source.listed))

    assert {} == seen_packs(open_repo(project), remotes.open_remote(repo))


def test_whole_is_what_lacks_nothing(project, tmp_path):
    """The quick answer is that of collecting everything, whatever is missing: each object of the lock in turn."""
    repo = open_repo(project)
    closure = Closure(repo)
    closure.add_lock(repo.read_lock())
    assert is_whole(repo, [repo.read_lock()])
    records = {item: set(repo.store.records_of(item)) for item in closure.needed}

    for item in closure.needed:
        copy = tmp_path / f"without-{item.short}"
        shutil.copytree(project, copy)
        shutil.rmtree(copy / ".git" / "mlvc" / "store")
        bare = open_repo(copy)
        with bare.store.writer() as writer:
            for other, parts in records.items():
                if other != item:
                    writer.add_encoded(
                        (repo.store.read_encoded(entry), entry)
                        for entry in entries_of(repo, parts - records[item])
                    )
        assert not is_whole(bare, [bare.read_lock()]), item


def entries_of(repo, records):
    """Returns where some records stand, in any pack."""
    for pack in repo.store.packs():
        for entry in repo.store.entries_of(pack.id):
            if RecordKey(entry.kind, entry.part, entry.digest) in records:
                yield entry


def test_what_was_seen_on_one_server_says_nothing_of_another(project):
    """A bucket of the same name elsewhere has none of it, such as after a move; and no password is kept."""
    packs = {PackId.of(b"x"): RemotePack(True, 1, 1)}

    def seen(endpoint=None, **variables):
        repo = open_repo(project)
        repo.environment = {**repo.environment, **variables}
        remotes.add(repo, "far", "s3://bucket/x", BucketOptions(endpoint=endpoint))
        return repo, remotes.open_remote(repo)

    repo, first = seen("https://first.example.org")
    remember_packs(repo, first, packs, looked_at_s=repo.clock.now().timestamp())

    assert packs == seen_packs(*seen("https://first.example.org"))
    assert packs == seen_packs(*seen(AWS_ENDPOINT_URL="https://first.example.org"))
    assert {} == seen_packs(*seen("https://second.example.org"))
    assert {} == seen_packs(*seen(AWS_ENDPOINT_URL="https://second.example.org"))
    assert {} == seen_packs(*seen())
    repo, other = seen(AWS_ENDPOINT_URL_S3="https://me:hush@third.example.org")
    remember_packs(repo, other, packs, looked_at_s=repo.clock.now().timestamp())
    assert packs == seen_packs(repo, other)
    assert b"hush" not in (repo.common_dir / "cache" / "remote-packs.json").read_bytes()
