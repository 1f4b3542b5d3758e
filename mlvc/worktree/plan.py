"""What has to be written and deleted so that the files are what a lock says; decides, and touches nothing."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlvc.errors import FormatError, NotFoundError
from mlvc.model.ids import BlobId, TreeId
from mlvc.model.lock import TrackedPath
from mlvc.model.names import encode_name
from mlvc.model.tree import Kind, TreeEntry, compare_trees
from mlvc.worktree.contents import ObstructedError, hash_contents
from mlvc.worktree.scan import Directory, check_lasting, kind_of, open_child, special_word
from mlvc.worktree.statcache import Stamp
from mlvc.worktree.trees import (
    BoundedTrees,
    as_tree_entry,
    blob_of,
    change_of,
    check_depth,
    read_directory,
    tree_of,
)

if TYPE_CHECKING:
    from mlvc.ports import ObjectReader

__all__ = ["DirectoryPlan", "MissingObjectsError", "Node", "Planner", "Risk", "lay_over", "merge", "nest"]

_NAMED = 20
_SIZE_OF = operator.attrgetter("size_bytes")


class MissingObjectsError(NotFoundError):
    """Objects that a checkout needs are not in the store.

    Attributes:
        paths: The paths that need them.
    """

    code = "object-missing"

    def __init__(self, paths: list[bytes]) -> None:
        names = ", ".join(encode_name(path) for path in paths[:_NAMED])
        more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
        super().__init__(
            f"the contents of {names}{more} are not in the store; nothing was changed",
            hint="`mlvc pull` brings them from a remote; `mlvc fsck` tells what is damaged",
        )
        self.paths = paths


Node = TreeEntry | Mapping[str, "Node"]
"""What a lock wants at a name: a tree's entry, or a directory that only leads to tracked paths."""


@dataclass(slots=True)
class DirectoryPlan:
    """What happens in one directory.

    Attributes:
        seen: What is there; kept up to date while the plan is carried out.
        removals: Directories to delete with all that was seen in them.
        deletes: Files and links to delete.
        writes: Files and links to put there, over whatever of theirs is there.
        modes: Files whose bytes are right and whose executable bit is not.
        children: Directories in which something happens, or that have to be made.
        prunes: Directories to delete if they are empty in the end.
        tree: The digest of the tree that the directory then is, if nothing else stands in it; empty where no tree
            is wanted.
        names: The number of names in that tree.
    """

    seen: Directory
    removals: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    writes: list[tuple[str, TreeEntry]] = field(default_factory=list)
    modes: list[tuple[str, TreeEntry]] = field(default_factory=list)
    children: dict[str, DirectoryPlan] = field(default_factory=dict)
    prunes: list[str] = field(default_factory=list)
    tree: bytes = b""
    names: int = 0

    def note_tree(self) -> None:
        """Takes note in `seen` of the tree that the directory now is."""
        seen = self.seen
        if (
            self.tree
            and len(seen.entries) + len(seen.children) == self.names
            and all(child.tree for child in seen.children.values())
        ):
            seen.complete(self.tree)

    @property
    def is_empty(self) -> bool:
        """Whether nothing happens."""
        return not (
            self.removals
            or self.deletes
            or self.writes
            or self.modes
            or self.children
            or self.prunes
            or self.seen.leftovers
        )


@dataclass(frozen=True, slots=True)
class Risk:
    """A present file that the plan overwrites or deletes and whose bytes are in no object."""

    path: bytes
    stamp: Stamp


class Planner:
    """Compares what locks want with what is there.

    Attributes:
        risks: Present files that would be lost.
        missing: Paths whose contents are not in the store.
        unchanged: How many files are right already.
        write_bytes: How many bytes will be written.
        replaced: Every present file and link that will be overwritten, deleted or get another executable bit, and is
            not what `current` says, with its stamp.
    """

    def __init__(self, store: ObjectReader, *, is_once: bool = False) -> None:
        """Begins without any.

        Args:
            store: Where the contents are.
            is_once: Whether no other checkout comes there later, which would remove what it takes for unfinished.
        """
        self._store = store
        self._is_once = is_once
        self._trees = BoundedTrees(store)
        self.replaced: list[tuple[bytes, Stamp]] = []
        self.risks: list[Risk] = []
        self.missing: list[bytes] = []
        self.unchanged = 0
        self.write_bytes = 0

    def plan(
        self,
        fd: int | None,
        path: bytes,
        seen: Directory,
        target: Mapping[str, Node],
        current: Mapping[str, Node],
    ) -> DirectoryPlan:
        """Returns what has to happen in a directory.

        Args:
            fd: The directory; None where it does not exist.
            path: Its path; empty for the root.
            seen: What is in it, at least under the names in question.
            target: What shall be there.
            current: What mlvc put there; what is not wanted any more is deleted. Everything else is left alone.

        Raises:
            ObstructedError: A special file, or a file that is not mlvc's, stands where a directory must.
            FileUnreadableError: A present file cannot be read.
            FormatError: Something is called as mlvc calls what it has not finished.
        """
        if not self._is_once:
            check_lasting(path, target)
        plan = DirectoryPlan(seen)
        names = target.keys() | current.keys()
        if fd is None:
            # Nothing is there: of all its files nothing else has to be known than that they can be brought.
            names -= self._plan_new_files(path, plan, target)
        for name in sorted(names):
            below = path + b"/" + os.fsencode(name) if path else os.fsencode(name)
            want, had = target.get(name), current.get(name)
            if want is None:
                self._plan_absent(fd, name, below, plan, had)
            elif isinstance(want, TreeEntry) and want.kind is not Kind.DIRECTORY:
                self._plan_file(fd, name, below, plan, (want, had))
            else:
                self._plan_directory(fd, name, below, plan, (want, had))
        if not plan.is_empty:
            seen.tree, seen.is_cached, seen.is_known = b"", False, False
        return plan

    def _plan_new_files(self, path: bytes, plan: DirectoryPlan, target: Mapping[str, Node]) -> set[str]:
        """Plans all files and links of a directory that does not exist, and returns their names."""
        files = {
            name: node
            for name, node in target.items()
            if isinstance(node, TreeEntry) and node.kind is not Kind.DIRECTORY
        }
        if not self._store.has_blobs([entry.id.digest for entry in files.values()]):
            self.missing += (
                path + b"/" + entry.name if path else entry.name
                for entry in files.values()
                if not self._store.has_blob(blob_of(path, entry))
            )
        plan.writes += files.items()
        self.write_bytes += sum(map(_SIZE_OF, files.values()))
        return set(files)

    def _plan_absent(
        self, fd: int | None, name: str, path: bytes, plan: DirectoryPlan, had: Node | None
    ) -> None:
        """Deletes what mlvc put there, if it is still the same kind of thing."""
        if had is None or fd is None:
            return
        child = plan.seen.children.get(name)
        if not _is_directory(had):
            if name in plan.seen.entries:
                self._give_up(fd, name, path, plan.seen, had)
                plan.deletes.append(name)
        elif child is not None:
            with open_child(name, fd, path) as child_fd:
                below = self.plan(child_fd, path, child, {}, self._current_entries(path, had))
            if not below.is_empty:
                plan.children[name] = below
            if isinstance(had, TreeEntry):
                plan.prunes.append(name)

    def _plan_directory(
        self, fd: int | None, name: str, path: bytes, plan: DirectoryPlan, nodes: tuple[Node, Node | None]
    ) -> None:
        want, had = nodes
        child = plan.seen.children.get(name)
        if child is not None and fd is not None:
            if isinstance(want, TreeEntry) and child.tree == want.id.digest:
                self.unchanged += child.files
                return
            with open_child(name, fd, path) as child_fd:
                below = self._plan_present(child_fd, path, child, want, had)
            if below.is_empty:
                below.note_tree()
            else:
                plan.children[name] = below
            return
        if name in plan.seen.entries and fd is not None:
            if had is None and not isinstance(want, TreeEntry):
                # A link or file of the user's on the way to a tracked path: never replaced, never followed.
                raise ObstructedError(path, "link or file that is not tracked")
            self._give_up(fd, name, path, plan.seen, had)
            plan.deletes.append(name)
        plan.children[name] = self._plan_wanted(None, path, Directory(), want, {})

    def _plan_present(
        self, fd: int, path: bytes, seen: Directory, want: Node, had: Node | None
    ) -> DirectoryPlan:
        if (
            isinstance(want, TreeEntry)
            and isinstance(had, TreeEntry)
            and seen.tree == had.id.digest
            and self._has_tree(want)
            and self._has_tree(had)
        ):
            return self._plan_difference(fd, path, seen, want, had)
        current = self._current_entries(path, had) if had is not None else {}
        return self._plan_wanted(fd, path, seen, want, current)

    def _plan_difference(
        self, fd: int, path: bytes, seen: Directory, want: TreeEntry, had: TreeEntry
    ) -> DirectoryPlan:
        """Decides for a directory that is exactly a tree of the store: only names in which that differs count."""
        check_depth(path)
        store = self._store
        difference = compare_trees(
            store.read_encoded_tree(tree_of(path, had)), store.read_encoded_tree(tree_of(path, want))
        )
        target: dict[str, Node] = {os.fsdecode(entry.name): entry for entry in difference.after}
        current: dict[str, Node] = {os.fsdecode(entry.name): entry for entry in difference.before}
        equal = [child.files for name, child in seen.children.items() if name not in current]
        self.unchanged += difference.equal - len(equal) + sum(equal)
        plan = self.plan(fd, path, seen, target, current)
        plan.tree, plan.names = want.id.digest, difference.equal + len(target)
        return plan

    def _plan_wanted(
        self, fd: int | None, path: bytes, seen: Directory, want: Node, current: Mapping[str, Node]
    ) -> DirectoryPlan:
        target = self._target_entries(path, want)
        plan = self.plan(fd, path, seen, target, current)
        if isinstance(want, TreeEntry):
            plan.tree, plan.names = want.id.digest, len(target)
        return plan

    def _plan_file(
        self,
        fd: int | None,
        name: str,
        path: bytes,
        plan: DirectoryPlan,
        nodes: tuple[TreeEntry, Node | None],
    ) -> None:
        want, had = nodes
        stamp, child = plan.seen.entries.get(name), plan.seen.children.get(name)
        if stamp is not None and fd is not None:
            kind = kind_of(stamp.mode)
            if kind is not None and change_of(want, kind) == "modified":
                if not stamp.digest and stamp.size == want.size_bytes:
                    stamp = plan.seen.entries[name] = hash_contents(fd, name, path, _ignore)
                if stamp.digest == want.id.digest:
                    if kind is want.kind:
                        self.unchanged += 1
                    else:
                        plan.modes.append((name, want))
                        self._note_replaced(path, stamp, had)
                    return
            self._give_up(fd, name, path, plan.seen, had)
        elif child is not None and fd is not None:
            self._give_up_directory(fd, name, path, child)
            plan.removals.append(name)
        if not self._store.has_blob(blob_of(path, want)):
            self.missing.append(path)
        plan.writes.append((name, want))
        self.write_bytes += want.size_bytes

    def _note_replaced(self, path: bytes, stamp: Stamp, had: Node | None) -> None:
        if (
            not isinstance(had, TreeEntry)
            or had.id.digest != stamp.digest
            or had.kind is not kind_of(stamp.mode)
        ):
            self.replaced.append((path, stamp))

    def _give_up(self, fd: int, name: str, path: bytes, seen: Directory, had: Node | None = None) -> None:
        """Notes a present file as at risk, unless the store has its bytes (promise 5)."""
        stamp = seen.entries[name]
        if kind_of(stamp.mode) is None:
            raise ObstructedError(path, special_word(stamp.mode))
        if not stamp.digest:
            stamp = seen.entries[name] = hash_contents(fd, name, path, _ignore)
        self._note_replaced(path, stamp, had)
        if not self._store.has_blob(BlobId(stamp.digest)):
            self.risks.append(Risk(path, stamp))

    def _give_up_directory(self, fd: int, name: str, path: bytes, seen: Directory) -> None:
        with open_child(name, fd, path) as child_fd:
            for item in seen.entries:
                self._give_up(child_fd, item, path + b"/" + os.fsencode(item), seen)
            for item, child in seen.children.items():
                self._give_up_directory(child_fd, item, path + b"/" + os.fsencode(item), child)

    def _target_entries(self, path: bytes, node: Node) -> Mapping[str, Node]:
        if not isinstance(node, TreeEntry):
            return node
        if not self._has_tree(node):
            self.missing.append(path)
            return {}
        return _by_name(read_directory(self._trees, path, node))

    def _current_entries(self, path: bytes, node: Node) -> Mapping[str, Node]:
        """Returns what mlvc put there; nothing where that is not known, so that nothing is deleted."""
        if isinstance(node, TreeEntry):
            if node.kind is not Kind.DIRECTORY or not self._has_tree(node):
                return {}
            return _by_name(read_directory(self._trees, path, node))
        return node

    def _has_tree(self, node: TreeEntry) -> bool:
        return isinstance(node.id, TreeId) and self._store.has_tree(node.id)


def _by_name(entries: Sequence[TreeEntry]) -> dict[str, Node]:
    names = os.fsdecode(b"\0".join([entry.name for entry in entries])).split("\0")
    # Without any entries there is one empty name.
    return dict(zip(names, entries, strict=False))


def _is_directory(node: Node) -> bool:
    return not isinstance(node, TreeEntry) or node.kind is Kind.DIRECTORY


def _ignore(_amount: int) -> None:
    """Hashing while planning has no bar of its own."""


def nest(entries: Mapping[bytes, TrackedPath]) -> dict[str, Node]:
    """Returns entries as directories that lead to them.

    Raises:
        FormatError: One entry lies inside another.
    """
    top: dict[str, Node] = {}
    for path, entry in sorted(entries.items()):
        *parents, name = os.fsdecode(path).split("/")
        directory = top
        for parent in parents:
            below = directory.setdefault(parent, {})
            if not isinstance(below, dict):
                raise FormatError(f"{entry.name} lies inside another tracked path")
            directory = below
        directory[name] = as_tree_entry(entry)
    return top


def lay_over(
    reader: ObjectReader, nodes: Mapping[str, Node], files: Mapping[bytes, TrackedPath]
) -> dict[str, Node]:
    """Returns nodes in which some files and links stand as `files` says; directories on the way are spelled out."""
    below: dict[str, dict[bytes, TrackedPath]] = {}
    result = dict(nodes)
    for path, entry in files.items():
        name, _, rest = path.partition(b"/")
        if rest:
            below.setdefault(os.fsdecode(name), {})[rest] = entry
        else:
            result[os.fsdecode(name)] = as_tree_entry(entry)
    for directory, inner in below.items():
        node = result.get(directory, {})
        if isinstance(node, TreeEntry):
            node = {os.fsdecode(item.name): item for item in read_directory(reader, b"", node)}
        result[directory] = lay_over(reader, node, inner)
    return result


def merge(wanted: Mapping[str, Node], had: Mapping[str, Node]) -> dict[str, Node]:
    """Returns all that must be looked at; where one side has a tracked path, the whole of it."""
    merged = dict(had)
    for name, node in wanted.items():
        other = had.get(name)
        if isinstance(node, TreeEntry) or other is None:
            merged[name] = node
        elif not isinstance(other, TreeEntry):
            merged[name] = merge(node, other)
    return merged
