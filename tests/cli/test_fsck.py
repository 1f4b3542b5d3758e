"""`mlvc fsck` and `mlvc index` as a user runs them."""

import sqlite3
import subprocess


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


def damage(path, position=-1):
    """Flips a bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def pack_with(project, needle):
    (pack,) = [path for path in packs(project, ".pack") if needle in path.read_bytes()]
    return pack


def test_a_lost_index_is_named_with_what_it_hides(project, run_mlvc):
    """Fsck goes on behind it; nothing is called missing that is there."""
    index = pack_with(project, b"a,b\n1,2\n").with_suffix(".idx")
    for spoil in (damage, type(index).unlink):
        spoil(index)

        problems = run_mlvc("fsck", "--json", check=1).json()["problems"]

        assert 1 == len(problems)
        assert str(index) in problems[0]["message"]
        assert "data/table.csv in mlvc.lock" in problems[0]["reaches"]


def test_an_unreadable_lock_is_a_problem(project, run_mlvc):
    """Exit 1: what it needs is not known. So with the journals."""
    (project / "mlvc.lock").write_text("nonsense\n")
    (project / ".git" / "mlvc" / "undo.log").write_text("nonsense\n")
    (project / ".git" / "mlvc" / "saved.log").write_text("mlvc-saved 1\nnonsense\n")

    problems = run_mlvc("fsck", "--json", check=1).json()["problems"]

    assert ["unreadable-lock", "damaged-journal", "damaged-journal"] == [item["kind"] for item in problems]
    assert "mlvc.lock" in problems[0]["message"]
    assert "saved.log" in problems[1]["message"]
    assert "undo.log" in problems[2]["message"]


def test_a_damaged_format_file_has_a_way_out(project, run_mlvc):
    """The hint is not the command that fails for the same reason, and it works."""
    (project / ".git" / "mlvc" / "store" / "format").chmod(0o644)
    (project / ".git" / "mlvc" / "store" / "format").write_text("mlvc-stare 1\n")

    refused = run_mlvc("fsck", "--json", check=2).json()["error"]

    assert "fsck" not in refused["hint"]
    subprocess.run(refused["hint"].partition(": ")[2], shell=True, check=True)
    run_mlvc("fsck")


def test_repair_from_the_work_tree(project, run_mlvc):
    """A damaged pack of data: the files still have the bytes; the damaged pack is moved aside, not deleted."""
    pack = pack_with(project, b"a,b\n1,2\n")
    content = bytearray(pack.read_bytes())
    content[content.index(b"a,b\n1,2\n")] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)

    answer = run_mlvc("fsck", "--repair", "--json").json()

    assert (True, []) == (answer["ok"], answer["problems"])
    assert {"damaged-pack", "damaged-record"} <= {item["kind"] for item in answer["mended"]}
    assert str(pack.parent.parent / "damaged" / pack.name) in answer["set_aside"]
    assert content == (pack.parent.parent / "damaged" / pack.name).read_bytes()
    assert run_mlvc("fsck", "--json").json()["ok"]
    (project / "data" / "table.csv").unlink()
    run_mlvc("checkout")
    assert "a,b\n1,2\n" == (project / "data" / "table.csv").read_text()


def test_repair_makes_a_lost_index_again(project, run_mlvc):
    """From its pack, byte for byte."""
    index = pack_with(project, b"a,b\n1,2\n").with_suffix(".idx")
    good = index.read_bytes()
    for spoil in (damage, type(index).unlink):
        spoil(index)

        run_mlvc("fsck", "--repair")

        assert good == index.read_bytes()


def test_what_nobody_has_is_not_mended_and_said(project, run_mlvc):
    """The file was edited since, and there is no remote: exit 1; everything else is mended."""
    pack = pack_with(project, b"a,b\n1,2\n")
    damage(pack, pack.read_bytes().index(b"a,b\n1,2\n"))
    damage(packs(project, ".idx")[0])
    (project / "data" / "table.csv").write_text("edited\n")

    answer = run_mlvc("fsck", "--repair", "--json", check=1).json()

    assert {"missing-object"} == {item["kind"] for item in answer["problems"]}
    assert "data/table.csv in mlvc.lock" in answer["problems"][0]["reaches"]
    assert "edited\n" == (project / "data" / "table.csv").read_text()
    assert "damaged-index" in {item["kind"] for item in answer["mended"]}


def test_repair_from_a_remote(project, run_mlvc, tmp_path):
    """Data, trees, records, and packs that are gone altogether: each comes back, and the history with it."""
    run_mlvc("remote", "add", "gone", str(tmp_path / "nowhere"))
    run_mlvc("remote", "add", "team", str(tmp_path / "team"))
    run_mlvc("push", "--remote", "team")
    everything = packs(project, ".pack")
    assert len(everything) > 2
    for number, pack in enumerate(everything):
        if number % 2:
            pack.unlink()
        else:
            damage(pack)
    (project / "data" / "table.csv").write_text("edited\n")

    done = run_mlvc("fsck", "--repair", "--json")

    assert done.json()["ok"]
    assert "warning: the remote gone" in done.stderr
    checked = run_mlvc("fsck", "--json").json()
    assert (True, 0) == (checked["ok"], checked["absent"]["objects"])
    run_mlvc("verify")
    assert 1 == len(run_mlvc("log", "--json").json()["commits"])


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
