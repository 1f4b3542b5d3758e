import subprocess

import pytest

from mlvc.code.repository import CodeRepository
from mlvc.model.tree import Kind
from tests.support.memory_store import MemoryStore


class Project:
    """A git repository, the store that its code goes to, and git as its user calls it."""

    def __init__(self, root):
        self.root = root
        self.store = MemoryStore()

    @property
    def code(self):
        return CodeRepository.open(self.root)

    def git(self, *arguments, cwd=None):
        done = subprocess.run(["git", *arguments], cwd=cwd or self.root, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def write(self, name, content="x\n"):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def commit_all(self, message="work"):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def capture(self, **options):
        with self.store.writer() as writer:
            return self.code.capture(writer, **options)

    def files(self, code):
        """Returns everything in a code tree: path to kind and content."""
        found = {}
        pending = [(b"", code.tree)]
        while pending:
            top, tree = pending.pop()
            for entry in self.store.read_tree(tree):
                path = top + entry.name
                if entry.kind is Kind.DIRECTORY:
                    pending.append((path + b"/", entry.id))
                else:
                    found[path] = (entry.kind, self.store.read_blob(entry.id))
        return found


@pytest.fixture
def project(git_repo):
    """A repository with one commit of one script."""
    project = Project(git_repo)
    project.write("train.py", "print(1)\n")
    project.commit_all()
    return project


@pytest.fixture
def unborn(git_repo):
    """A repository without a commit."""
    return Project(git_repo)
