"""Clones that share one remote, and what must be there whatever happens to them: a simulation, by a seed.

Every operation that talks to the remote has a thread. Each call to the remote waits for its turn, so that operations
take turns call by call, in an order that the seed decides; at any call one may be killed, or lose its connection
before or after the remote did what it was asked for. Days pass in between: the remote's files become older.

With PYTHONHASHSEED=0 the same seed is the same story on a directory.
"""

import io
import random
import threading
from dataclasses import dataclass, field

from mlvc.errors import MlvcError
from mlvc.model.ids import BlobId
from mlvc.model.lock import TrackedPath
from mlvc.model.objects import Commit
from mlvc.model.tree import Kind, TreeEntry
from mlvc.ports import RecordKind
from mlvc.store.fetch import fetch_records
from mlvc.store.fsck import examine
from mlvc.store.gc import Roots, collect
from mlvc.store.local import LocalStore
from mlvc.store.push import push
from mlvc.store.remote import Remote
from mlvc.store.remote_condemned import RemoteBusyError
from mlvc.store.remote_files import DirectoryFiles, RemoteFile, RemoteMissingError, RemoteUnreachableError
from mlvc.store.remote_gc import collect_remote
from mlvc.store.remote_indexes import RemoteIndexes, cached_indexes, locate
from mlvc.store.remote_needs import RemoteIncompleteError
from tests.support.reporter import RecordingReporter

DAY_S = 86_400
KEEP_S = 30 * DAY_S
FAMILIES, VERSIONS = 4, 8
PIECE = 40_000
STUCK_S = 60


class KilledError(BaseException):
    """The process is no more."""


# How an operation may end besides well; whoever repeats it gets on.
ALLOWED = (KilledError, RemoteUnreachableError, RemoteBusyError, RemoteMissingError, RemoteIncompleteError)


def content(family, version):
    """Returns a file; versions of one family differ in a few bytes here and there, and are kept as deltas."""
    data = bytearray(random.Random(family).randbytes(4 * PIECE))
    for piece in range(3):
        if version >> piece & 1:
            data[piece * PIECE + 1_000 : piece * PIECE + 1_008] = b"%08d" % version
    return bytes(data)


class Turns:
    """Lets operations, each in a thread of its own, do one call at a time, in an order by chance."""

    def __init__(self, rng):
        self._rng = rng
        self._changed = threading.Condition()
        self._waiting = {}
        self._live = set()
        self._current = None

    def wait(self, operation):
        """Returns when it is the operation's turn."""
        ticket = object()
        with self._changed:
            self._waiting.setdefault(operation, []).append(ticket)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._current is ticket)

    def end(self):
        """Ends the present turn."""
        with self._changed:
            self._current = None
            self._changed.notify_all()

    def run(self, steps):
        """Runs functions by their name until all have ended; returns how each ended."""
        ends = {}

        def play(name, step):
            try:
                ends[name] = step() or "done"
            except (KilledError, MlvcError) as error:
                ends[name] = error
            except BaseException as error:
                ends[name] = error
                raise
            finally:
                with self._changed:
                    self._live.discard(name)
                    self._changed.notify_all()

        self._live = set(steps)
        self._waiting = {}
        threads = [threading.Thread(target=play, args=item, daemon=True) for item in steps.items()]
        for thread in threads:
            thread.start()
        while self._take_turn():
            pass
        for thread in threads:
            thread.join()
        return ends

    def _is_settled(self):
        return self._current is None and all(self._waiting.get(name) for name in self._live)

    def _take_turn(self):
        with self._changed:
            assert self._changed.wait_for(self._is_settled, STUCK_S), (self._live, self._waiting)
            if not self._live:
                return False
            name = self._rng.choice(sorted(self._live))
            self._current = self._waiting[name].pop(0)
            self._changed.notify_all()
            return True


class Aging:
    """The files of a remote on which days pass when they are told to."""

    def __init__(self, files):
        self._files = files
        self._passed_s = 0
        self._written_at = {}

    def pass_time(self, seconds):
        self._passed_s += seconds

    def list(self):
        return {
            name: RemoteFile(found.size_bytes, found.time_s + self._written_at.get(name, 0))
            for name, found in self._files.list().items()
        }

    def prepare(self):
        self._files.prepare()

    def write(self, name, data):
        self._files.write(name, data)
        self._written_at[name] = self._passed_s

    def upload(self, name, source, jobs=1):
        self._files.upload(name, source, jobs)
        self._written_at[name] = self._passed_s

    def read(self, name, size_bytes, offset=0):
        return list(self._files.read(name, size_bytes, offset))

    def remove(self, names):
        self._files.remove(names)


class Connection:
    """The files of the remote as one operation reaches them: in turn, and with what the seed does to it."""

    def __init__(self, world, name, clone, fate):
        self._world = world
        self._name = name
        self._fate = fate
        self._is_dead = False
        self._clone = clone
        self.there = set()

    def _do(self, action):
        self._world.turns.wait(self._name)
        try:
            kind = None if self._is_dead else self._fate()
            self._is_dead |= kind == "killed before"
            if self._is_dead:
                raise KilledError
            if kind == "lost before":
                raise RemoteUnreachableError("the connection was lost")
            result = action()
            if kind == "killed after":
                self._is_dead = True
                raise KilledError
            if kind == "lost after":
                raise RemoteUnreachableError("the connection was lost")
            return result
        finally:
            self._world.turns.end()

    def list(self):
        """Lists, and notes what a push may count on: what it sends next is decided by its last look."""

        def look():
            self.there = self._world.whole_there(self._clone)
            return self._world.files.list()

        return self._do(look)

    def prepare(self):
        return self._do(self._world.files.prepare)

    def write(self, name, data):
        return self._do(lambda: self._world.files.write(name, data))

    def upload(self, name, source, jobs=1):
        return self._do(lambda: self._world.files.upload(name, source, jobs))

    def read(self, name, size_bytes, offset=0):
        return iter(self._do(lambda: self._world.files.read(name, size_bytes, offset)))

    def remove(self, names):
        return self._do(lambda: self._world.files.remove(names))


@dataclass
class Clone:
    """A clone, and what its git and its lock name.

    Attributes:
        lock: What is tracked: the tree, and what is in it.
        refs: The commits that a reference leads to, by their git commit.
        light: The trees that are tracked or committed here by their metadata, whether or not their data is here.
    """

    name: str
    folder: object
    lock: tuple | None = None
    refs: dict = field(default_factory=dict)
    light: set = field(default_factory=set)

    @property
    def store(self):
        """The store as a process of its own opens it."""
        return LocalStore.create(self.folder / "store")

    @property
    def cache(self):
        return self.folder / "cache" / "remote-indexes"


class World:
    """Some clones, one remote, and what was promised.

    Attributes:
        contents: What is in each commit, by the name of the file.
        added: What is in each tree that was ever added.
        pushed: The commits that a push has promised to be on the remote.
        told: How operations ended, and how often.
    """

    def __init__(self, folder, seed, files=None, *, clones=2, trouble=lambda rng: None):
        """Begins with empty clones.

        Args:
            folder: Where they are, and the remote where it is a directory.
            seed: Decides everything.
            files: The files of the remote; None for a directory.
            clones: How many.
            trouble: Makes some before operations begin that talk to the remote.
        """
        self.rng = random.Random(seed)
        self.trouble = trouble
        self.folder = folder
        self.files = Aging(files or DirectoryFiles(folder / "far"))
        self.turns = Turns(self.rng)
        self.now_s = 1_800_000_000
        self.clones = [Clone(f"clone{number}", folder / f"clone{number}") for number in range(clones)]
        self.contents = {}
        self.added = {}
        self.shas = {}
        self.pushed = set()
        self.told = {}
        self.history = []

    # -------------------------------------------------------------------------------------- without a remote

    def add(self, clone):
        """Adds some files, many of them versions of what another clone has."""
        rng = self.rng
        files = {} if clone.lock is None or rng.random() < 0.5 else dict(clone.lock[1])
        for _ in range(rng.randrange(1, 4)):
            files[rng.randrange(FAMILIES)] = rng.randrange(VERSIONS)
        old = {} if clone.lock is None else clone.lock[1]
        with clone.store.writer() as writer:
            entries = []
            for family, version in sorted(files.items()):
                data = content(family, version)
                previous = BlobId.of(content(family, old[family])) if family in old else None
                blob, size = writer.add_stream(io.BytesIO(data), previous)
                entries.append(TreeEntry(b"%d" % family, Kind.FILE, blob, size))
            tree = writer.add_tree(entries)
        clone.lock = (tree, files)
        clone.light.discard(tree)
        self.added[tree] = files

    def adopt(self, clone):
        """Tracks what anybody added, of which a clone may have the records and no data, as git's merge does."""
        store = clone.store
        known = [tree for tree in sorted(self.added, key=str) if store.has_tree(tree)]
        if known:
            tree = self.rng.choice(known)
            clone.lock = (tree, dict(self.added[tree]))
            if not store.has_blobs(BlobId.of(content(*file)).digest for file in self.added[tree].items()):
                clone.light.add(tree)

    def commit(self, clone):
        """Commits what is tracked."""
        if clone.lock is None:
            self.add(clone)
        tree, files = clone.lock
        sha = f"{len(self.contents):040x}"
        line = TrackedPath(b"data", Kind.DIRECTORY, tree, len(files), 4 * PIECE * len(files))
        with clone.store.writer() as writer:
            commit = writer.add_object(Commit(code_sha=sha, code_tree=None, paths=(line,), message=sha))
        self.contents[commit] = (tree, dict(files))
        self.shas[commit] = sha
        clone.refs[sha] = commit

    def forget(self, clone):
        """Nothing leads any more to some of what a clone has."""
        if clone.refs and self.rng.random() < 0.7:
            del clone.refs[self.rng.choice(sorted(clone.refs))]
        else:
            clone.lock = None

    def _trees(self, clone):
        trees = [self.contents[commit][0] for commit in clone.refs.values()]
        return [tree.digest for tree in [*trees, *([clone.lock[0]] if clone.lock else [])]]

    def gc(self, clone):
        """Deletes here what nothing has led to for the keep period, or for no time."""
        keep_s = self.rng.choice([0, KEEP_S])
        roots = Roots(self._trees(clone), set(clone.refs))
        collect(clone.store, lambda: roots, RecordingReporter(), now_s=self.now_s, keep_s=keep_s)

    # ----------------------------------------------------------------------------------------- with a remote

    def push(self, clone, remote):
        """Pushes; what was committed before is promised to be there once that has ended well."""
        store = clone.store
        here = [commit for commit in store.iter_object_ids(RecordKind.COMMIT) if commit in self.contents]
        promised = [commit for commit in here if commit in clone.refs.values()]
        push(store, remote, clone.cache, RecordingReporter())
        there = remote._files.there if isinstance(remote._files, Connection) else self.whole_there(clone)
        self.pushed.update(
            commit for commit in promised if self.contents[commit][0] not in clone.light or commit in there
        )

    def whole_there(self, clone):
        """Returns those commits of a clone without their data of which the remote has all data."""
        light = {commit: self.contents[commit] for commit in clone.refs.values()}
        light = {commit: files for commit, (tree, files) in light.items() if tree in clone.light}
        if not light:
            return set()
        remote = Remote("file:///far", self.files, 1)
        store = clone.store
        indexes = RemoteIndexes(store, remote, remote.list_packs(), self.folder / "whole_there")
        blobs = {commit: [BlobId.of(content(*file)) for file in light[commit].items()] for commit in light}
        records = {
            commit: {record for blob in blobs[commit] for record in store.records_of(blob)}
            for commit in light
        }
        return {commit for commit in light if records[commit] == indexes.holding(records[commit])}

    def pull(self, clone, remote):
        """Brings all records, and the data of one commit."""
        rng = random.Random(len(self.history))
        known = sorted(self.pushed, key=str)
        wanted = rng.choice(known) if known else None
        store = clone.store
        with store.in_use():
            listed = remote.list_packs()
            indexes = RemoteIndexes(store, remote, listed, clone.cache)
            metadata = [pack for pack, found in listed.items() if not found.is_data]
            fetch_records(store, remote, listed, indexes, indexes.records(metadata), RecordingReporter())
            if wanted is None:
                return
            tree, files = self.contents[wanted]
            blobs = [BlobId.of(content(*file)) for file in files.items()]
            records = [record for blob in blobs for record in store.records_of(blob)]
            fetch_records(store, remote, listed, indexes, records, RecordingReporter())
            assert store.has_tree(tree)
            assert store.has_blobs(blob.digest for blob in blobs), (wanted, files)
            clone.refs[self.shas[wanted]] = wanted
            clone.lock = (tree, dict(files))

    def gc_remote(self, clone, remote):
        """Takes the next step of a gc of the remote."""
        store = clone.store
        with store.in_use():
            result = collect_remote(
                store, remote, self._trees(clone), clone.cache, RecordingReporter(), keep_s=KEEP_S
            )
        return result.step

    # ------------------------------------------------------------------------------------------ what happens

    def _fate(self, rng, faults):
        def fate():
            return (
                rng.choice(["lost before", "lost after", "killed before", "killed after"])
                if (rng.random() < faults)
                else None
            )

        return fate

    def pass_time(self, seconds):
        """Makes everything on the remote older."""
        self.now_s += seconds
        self.files.pass_time(seconds)

    def round(self):
        """Does one thing here, or some at once with the remote; then checks what was promised."""
        rng = self.rng
        what = rng.choices(
            ["add", "adopt", "commit", "forget", "gc", "time", "remote"], [4, 2, 5, 2, 2, 3, 9]
        )[0]
        if what == "time":
            self.pass_time(rng.choice([3_600, 3 * DAY_S, 8 * DAY_S, 8 * DAY_S, 31 * DAY_S]))
        elif what == "remote":
            self._meet(rng.choice([0, 0, 0.01, 0.05]))
        else:
            clone = rng.choice(self.clones)
            self.history.append((what, clone.name))
            getattr(self, what)(clone)
        self.audit()

    def _meet(self, faults, names=("push", "push", "pull", "gc_remote", "gc_remote")):
        rng = self.rng
        steps = {}
        self.trouble(rng)
        for clone in rng.sample(self.clones, rng.randrange(1, len(self.clones) + 1)):
            name = rng.choice(names)
            operation = f"{name} {clone.name}"
            connection = Connection(self, operation, clone, self._fate(random.Random(rng.random()), faults))
            remote = Remote("file:///far", connection, 1)
            steps[operation] = lambda name=name, clone=clone, remote=remote: getattr(self, name)(
                clone, remote
            )
        self.history.append(tuple(steps))
        ends = self.turns.run(steps)
        for operation, end in ends.items():
            label = operation.split()[0], end if isinstance(end, str) else type(end).__name__
            self.told[label] = self.told.get(label, 0) + 1
            if not isinstance(end, (str, *ALLOWED)):
                raise end

    # ------------------------------------------------------------------------------------------- what holds

    def audit(self):
        """Checks, by the indexes, that nothing is lost that was promised, there or here."""
        remote = Remote("file:///far", self.files, 1)
        auditor = Clone("auditor", self.folder / "auditor")
        store = auditor.store
        if self.pushed:
            listed = remote.list_packs()
            indexes = RemoteIndexes(store, remote, listed, auditor.cache)
            assert not indexes.damaged
            metadata = [pack for pack, found in listed.items() if not found.is_data]
            fetch_records(store, remote, listed, indexes, indexes.records(metadata), RecordingReporter())
            needed = {}
            for commit in self.pushed:
                tree, files = self.contents[commit]
                for item in (commit, tree, *(BlobId.of(content(*file)) for file in files.items())):
                    needed |= dict.fromkeys(store.records_of(item), item)
            lost = needed.keys() - indexes.holding(needed)
            assert not lost, ("lost there", {needed[record] for record in lost})
        for clone in self.clones:
            store = clone.store
            for tree, files in self._named(clone):
                assert store.has_tree(tree), ("lost here", clone.name, tree)
                digests = [BlobId.of(content(*file)).digest for file in files.items()]
                if tree in clone.light:
                    continue
                assert store.has_blobs(digests), ("lost here", clone.name, files)

    def _named(self, clone):
        return [
            *(self.contents[commit] for commit in clone.refs.values()),
            *([clone.lock] if clone.lock else []),
        ]

    @staticmethod
    def _damage(clone, needed):
        """Returns what `mlvc fsck` finds damaged: what was seen on a remote and never brought is not.

        Who has a recipe of what nobody needs, and not its chunks, may send it; that is nobody's loss.
        """
        indexes = cached_indexes(clone.cache)

        def known(records):
            return {record for there in locate(indexes, records).values() for record in there}

        found = examine(clone.store, RecordingReporter(), known).damages
        return [damage for damage in found if damage.kind != "missing-chunk" or damage.object_id in needed]

    def end(self):
        """Everybody pushes and pulls without trouble; then all agree, and every byte is there."""
        self.pass_time(2 * 3_600)
        remote = Remote("file:///far", self.files, 1)
        for clone in self.clones:
            self.push(clone, remote)
        self.audit()
        fresh = Clone("fresh", self.folder / "fresh")
        needed = {
            BlobId.of(content(*file)) for commit in self.pushed for file in self.contents[commit][1].items()
        }
        found = []
        for clone in (*self.clones, fresh):
            store = clone.store
            listed = remote.list_packs()
            indexes = RemoteIndexes(store, remote, listed, clone.cache)
            fetch_records(store, remote, listed, indexes, indexes.records(listed), RecordingReporter())
            found.append(set(store.iter_object_ids(RecordKind.COMMIT)))
            assert [] == self._damage(clone, needed), clone.name
            for commit in self.pushed:
                tree, files = self.contents[commit]
                for entry in store.read_tree(tree):
                    family = int(entry.name)
                    assert content(family, files[family]) == store.read_blob(BlobId(entry.id.digest))
        assert found[0] >= self.pushed
        assert all(found[0] == each for each in found), [len(each) for each in found]
