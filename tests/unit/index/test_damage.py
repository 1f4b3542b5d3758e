"""An index whose file is damaged: an error of ours that names it, or answers that are those of the objects."""

import random

from mlvc.errors import MlvcError
from mlvc.index.database import MetadataIndex
from mlvc.index.errors import IndexDamagedError
from mlvc.index.sqlite import SqliteFile
from mlvc.model.ids import PlanId, TreeId
from mlvc.model.objects import Code, Commit, Run
from mlvc.store.local import LocalStore
from tests.support.reporter import RecordingReporter

SHA = "a" * 40


def test_flipped_bytes_hand_out_no_object_that_does_not_exist(tmp_path):
    """Ids lead to objects, which are checked when they are read: a wrong one is an error there.

    Three hundred bytes, spread over every page.
    """
    store = LocalStore.create(tmp_path / "store")
    code = Code(sha=SHA, dirty=False, tree=TreeId.of(b""))
    with store.writer() as writer:
        writer.add_object(Commit(code_sha=SHA, code_tree=None, paths=(), message="first"))
        run = Run(plan=PlanId.of(b""), argv=("x",), directory="", project="/p", code=code, name="train")
        writer.add_object(run)
    path = tmp_path / "index.db"
    index = MetadataIndex(SqliteFile(path), store, "p")
    index.catch_up(RecordingReporter())
    index._database._set_journal_mode("DELETE")
    good = path.read_bytes()
    chance = random.Random(1)
    outcomes = {"refused": 0, "right": 0, "wrong": 0}
    for position in sorted(chance.sample(range(len(good)), 300)):
        bad = bytearray(good)
        bad[position] ^= 0x41
        for leftover in tmp_path.glob("index.db*"):
            leftover.unlink()
        path.write_bytes(bad)
        damaged = MetadataIndex(SqliteFile(path), store, "p")
        try:
            damaged.catch_up(RecordingReporter())
            rows = damaged.run_rows(name="train")
            found = [store.read_object(row.id) for row in rows]
        except MlvcError:
            outcomes["refused"] += 1
        else:
            outcomes["right" if found in ([run], []) else "wrong"] += 1

    assert 0 == outcomes["wrong"]
    assert outcomes["refused"]


def test_a_file_that_was_cut_off(tmp_path):
    """Wherever it ends, it is refused or filled again, and no answer is shorter; a rebuild helps."""
    store = LocalStore.create(tmp_path / "store")
    code = Code(sha=SHA, dirty=False, tree=TreeId.of(b""))
    with store.writer() as writer:
        for number in range(60):
            params = {f"p{value}": str(number) for value in range(20)}
            writer.add_object(
                Run(PlanId.of(b""), (str(number),), "", "/p", code, params=params, name="train")
            )
    path = tmp_path / "index.db"
    index = MetadataIndex(SqliteFile(path), store, "p")
    index.catch_up(RecordingReporter())
    index._database._set_journal_mode("DELETE")
    good = path.read_bytes()
    right = {"rows": index.run_rows(name="train"), "table": index.run_table(where="params.p7 >= 0")}
    refused = 0
    for size in [0, 1, 100, 4095, *range(4096, len(good), 12_288), len(good) - 1]:
        for leftover in tmp_path.glob("index.db*"):
            leftover.unlink()
        path.write_bytes(good[:size])
        cut = MetadataIndex(SqliteFile(path), store, "p")
        for name, ask in (
            ("rows", lambda index: index.run_rows(name="train")),
            ("table", lambda index: index.run_table(where="params.p7 >= 0")),
        ):
            try:
                cut.catch_up(RecordingReporter())
                found = ask(cut)
            except IndexDamagedError:
                refused += 1
            else:
                assert right[name] == found, size
    cut.rebuild(RecordingReporter())

    assert right["rows"] == cut.run_rows(name="train")
    assert refused > 10


def test_a_file_of_yesterday(tmp_path):
    """A copy that was put back, is caught up with the store."""
    store = LocalStore.create(tmp_path / "store")
    code = Code(sha=SHA, dirty=False, tree=TreeId.of(b""))
    path = tmp_path / "index.db"
    index = MetadataIndex(SqliteFile(path), store, "p")
    before = []
    for number in range(3):
        with store.writer() as writer:
            writer.add_object(Run(PlanId.of(b""), (str(number),), "", "/p", code))
        index.catch_up(RecordingReporter())
        index._database._set_journal_mode("DELETE")
        before.append(path.read_bytes())
        index._database._set_journal_mode("WAL")
    right = index.run_rows()
    for content in before:
        path.write_bytes(content)
        old = MetadataIndex(SqliteFile(path), store, "p")
        old.catch_up(RecordingReporter())

        assert right == old.run_rows()
    assert 3 == len(right)
