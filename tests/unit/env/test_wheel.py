import base64
import csv
import hashlib
import io
import os
import stat
import zipfile

from tests.support.environments import install


def read_zip(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {info.filename: (archive.read(info), info) for info in archive.infolist()}


def test_a_wheel_holds_the_installed_bytes_under_the_names_of_a_wheel(site, repack):
    """Packages stand at the top, scripts, headers and data below `.data`, with the first line of a wheel's script."""
    install(
        site,
        "demo",
        "1.0",
        {
            "demo/__init__.py": "x = 1\n",
            "demo/data.bin": bytes(range(256)),
            "../../../bin/demo-tool": "#!/somewhere/venv/bin/python3.11\nprint(1)\n",
            "../../../bin/demo-shell": "#!/bin/sh\ntrue\n",
            "../../../include/site/python3.11/demo/demo.h": "int x;\n",
            "../../../share/demo/table.csv": "1,2\n",
        },
        executable=("../../../bin/demo-tool", "../../../bin/demo-shell"),
    )

    plan, packed, data = repack("demo")
    members = read_zip(data)

    assert plan.name == "demo-1.0-py3-none-any.whl"
    assert members["demo/__init__.py"][0] == b"x = 1\n"
    assert members["demo/data.bin"][0] == bytes(range(256))
    assert members["demo-1.0.data/scripts/demo-tool"][0] == b"#!python\nprint(1)\n"
    assert members["demo-1.0.data/scripts/demo-shell"][0] == b"#!/bin/sh\ntrue\n"
    assert members["demo-1.0.data/headers/demo.h"][0] == b"int x;\n"
    assert members["demo-1.0.data/data/share/demo/table.csv"][0] == b"1,2\n"
    assert packed.sha256 == hashlib.sha256(data).hexdigest()
    assert packed.size_bytes == len(data)
    assert packed.modified == ()


def test_a_script_that_the_shell_starts_gets_the_first_line_of_a_wheel(site, repack):
    """Installers write three lines where the interpreter's path is too long; none of them stays."""
    body = "import sys\n"
    trampoline = "#!/bin/sh\n'''exec' \"/a path/python\" \"$0\" \"$@\"\n' '''\n"
    install(site, "demo", "1.0", {"../../../bin/long": trampoline + body})

    members = read_zip(repack("demo")[2])

    assert members["demo-1.0.data/scripts/long"][0] == b"#!python\nimport sys\n"


def test_what_an_installer_adds_is_left_out(site, repack):
    """Byte code, installer notes and scripts of entry points are made anew by whoever installs the wheel."""
    install(
        site,
        "demo",
        "1.0",
        {
            "demo.py": "",
            "__pycache__/demo.cpython-311.pyc": b"code",
            "../../../bin/run-demo": "#!/x/python\n",
        },
        metadata={
            "entry_points.txt": "[console_scripts]\nrun-demo = demo:main\n[other]\nkept = demo\n",
            "REQUESTED": "",
            "direct_url.json": "{}",
        },
    )

    names = set(read_zip(repack("demo")[2]))

    expected = {"METADATA", "RECORD", "WHEEL", "entry_points.txt"}
    assert names == {"demo.py", *(f"demo-1.0.dist-info/{name}" for name in expected)}


def test_record_names_every_member_with_its_hash_and_size(site, repack):
    """The regenerated RECORD is right for the rewritten files too, and stands last."""
    install(site, "demo", "1.0", {"demo.py": "x", 'with,"comma.txt': "y", "../../../bin/s": "#!/x/python\n"})

    members = read_zip(repack("demo")[2])
    record = "demo-1.0.dist-info/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(members[record][0].decode()))}

    assert list(members)[-1] == record
    assert rows.keys() == members.keys()
    for name, (data, _) in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        assert rows[name] == (["", ""] if name == record else [f"sha256={digest}", str(len(data))])


def test_the_same_files_give_the_same_bytes_whenever_and_in_whatever_order_they_were_written(site, repack):
    """Times and directory order do not reach the wheel; executable bits do."""
    install(site, "demo", "1.0", {"b.py": "b", "a.py": "a"}, executable=("a.py",))
    first = repack("demo")[2]
    for name in ("a.py", "b.py"):
        os.utime(site / name, (1, 1))
    rows = (site / "demo-1.0.dist-info" / "RECORD").read_text().splitlines(keepends=True)
    (site / "demo-1.0.dist-info" / "RECORD").write_text("".join(reversed(rows)))

    second = repack("demo")[2]

    assert first == second
    modes = {name: stat.S_IMODE(info.external_attr >> 16) for name, (_, info) in read_zip(second).items()}
    assert (modes["a.py"], modes["b.py"]) == (0o755, 0o644)
    assert {info.date_time for _, info in read_zip(second).values()} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for _, info in read_zip(second).values()} == {zipfile.ZIP_STORED}


def test_a_file_that_differs_from_record_is_named_and_packed_as_it_is(site, repack):
    """What ran is what is on disk, not what RECORD says; a file that is gone is named too."""
    install(site, "demo", "1.0", {"demo.py": "old", "gone.py": "x", "same.py": "y"})
    (site / "demo.py").write_text("new")
    (site / "gone.py").unlink()

    plan, packed, data = repack("demo")

    assert packed.modified == ("demo.py",)
    assert plan.missing == ("gone.py",)
    assert read_zip(data)["demo.py"][0] == b"new"


def test_a_file_larger_than_what_is_held_in_memory_arrives_whole(site, repack):
    """Large files take another way through the code: their checksum is read first."""
    content = os.urandom(1 << 16) * 100
    install(site, "demo", "1.0", {"big.bin": content, "after.py": "z"})

    _, packed, data = repack("demo")

    assert read_zip(data)["big.bin"][0] == content
    assert packed.modified == ()


def test_files_outside_the_prefix_are_named_and_not_packed(site, repack, tmp_path):
    """A RECORD can name any file of the machine; none but the environment's own is read."""
    install(site, "demo", "1.0", {"demo.py": "", "../../../../outside.txt": "secret"})

    plan, _, data = repack("demo")

    assert plan.unpacked == ("../../../../outside.txt",)
    assert b"secret" not in data


def test_only_the_metadata_of_an_editable_install_is_packed(site, repack):
    """Its code is elsewhere, and its import hook names a path of this machine."""
    install(
        site,
        "demo",
        "1.0",
        {"__editable__.demo-1.0.pth": "/x\n"},
        metadata={"entry_points.txt": "[console_scripts]\ndemo = demo:main\n"},
    )

    names = set(read_zip(repack("demo", only_metadata=True)[2]))

    assert "demo-1.0.dist-info/entry_points.txt" in names
    assert not any(name.endswith(".pth") for name in names)


def test_the_name_of_a_wheel_lists_all_its_tags(site, repack):
    """uv refuses a wheel whose name does not say that it fits."""
    wheel = (
        "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n"
        "Tag: cp311-cp311-manylinux_2_28_x86_64\nTag: cp311-cp311-manylinux2014_x86_64\n"
    )
    install(site, "De.mo", "1.0+local.1", {"demo.py": ""}, metadata={"WHEEL": wheel})

    assert repack("de-mo")[0].name == (
        "De_mo-1.0+local.1-cp311-cp311-manylinux2014_x86_64.manylinux_2_28_x86_64.whl"
    )
