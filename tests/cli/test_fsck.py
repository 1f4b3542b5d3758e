"""`mlvc fsck` and `mlvc index` as a user runs them."""

import sqlite3


def packs(project, suffix):
    return sorted((project / ".git" / "mlvc" / "store" / "packs").glob(f"*{suffix}"))


def test_sound_store_has_no_problem(project, run_mlvc):
    """Exit 0."""
    nothing = {"objects": 0, "bytes": 0}
    assert {"ok": True, "problems": [], "absent": nothing} == run_mlvc("fsck", "--json").json()


def test_flipped_bit_is_named_with_what_it_reaches(project, run_mlvc):
    """Exit 1; the path, the lock and the commit are named, and cat refuses to hand out the bytes."""
    needle = (project / "data" / "table.csv").read_bytes()
    (pack,) = [path for path in packs(project, ".pack") if needle in path.read_bytes()]
    content = bytearray(pack.read_bytes())
    content[content.index(needle)] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)

    answer = run_mlvc("fsck", "--json", check=1).json()
    text = run_mlvc("fsck", check=1).stdout

    assert False is answer["ok"]
    reaches = [place for problem in answer["problems"] for place in problem["reaches"]]
    assert "data/table.csv in mlvc.lock" in reaches
    assert any(place.startswith("data/table.csv in commit ") for place in reaches)
    assert "data/table.csv" in text
    refused = run_mlvc("cat", ":data/table.csv", check=2)
    assert "" == refused.stdout
    assert "damaged" in refused.stderr


def test_lost_pack_is_named_with_what_it_reaches(project, run_mlvc):
    """Also when its index is gone too, so that nothing in the store remembers it."""
    needle = (project / "data" / "table.csv").read_bytes()
    (pack,) = [path for path in packs(project, ".pack") if needle in path.read_bytes()]
    for path in pack.parent.glob(pack.stem + ".*"):
        path.unlink()

    answer = run_mlvc("fsck", "--json", check=1).json()

    assert {"missing-object"} == {problem["kind"] for problem in answer["problems"]}
    reaches = [place for problem in answer["problems"] for place in problem["reaches"]]
    assert "data/table.csv in mlvc.lock" in reaches


def test_checkout_over_a_damaged_pack_writes_nothing_wrong(project, run_mlvc):
    """The error says damaged, and no file with wrong bytes appears."""
    needle = (project / "data" / "table.csv").read_bytes()
    (pack,) = [path for path in packs(project, ".pack") if needle in path.read_bytes()]
    content = bytearray(pack.read_bytes())
    content[content.index(needle)] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    (project / "data" / "table.csv").unlink()

    run_mlvc("checkout", check=2)

    assert not (project / "data" / "table.csv").exists()


def test_index_is_rebuilt_from_the_objects(project, run_mlvc):
    """Every row comes back, also when the file was something else entirely."""
    before = run_mlvc("index", "show", "--json").json()
    database = project / ".git" / "mlvc" / "index.db"
    for path in database.parent.glob("index.db*"):
        path.unlink()
    database.write_bytes(b"not a database" * 1000)

    after = run_mlvc("index", "rebuild", "--json").json()

    assert before == after
    assert 1 == after["tables"]["commits"]
    with sqlite3.connect(database) as connection:
        assert ("ok",) == connection.execute("pragma integrity_check").fetchone()
