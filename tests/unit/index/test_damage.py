"""An index whose file is damaged: an error of ours that names it, or answers that are those of the objects."""

import random

from mlvc.errors import MlvcError
from mlvc.index.database import MetadataIndex
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
