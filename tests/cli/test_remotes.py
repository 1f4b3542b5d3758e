"""`mlvc remote`, `push`, `fetch`, `pull` and `verify` as a user runs them, on a directory."""

import os
import random
import shutil
import subprocess
import sys

import pytest

from tests.support.command import Mlvc, child_environment


@pytest.fixture
def far(tmp_path):
    return tmp_path / "far"


@pytest.fixture
def pushed(project, run_mlvc, far):
    """The project, with everything on a remote."""
    run_mlvc("remote", "add", "team", far)
    run_mlvc("push")
    return project


@pytest.fixture
def clone(pushed, tmp_path, far):
    """What `git clone` gives, and the remote's name; nothing of the store."""
    subprocess.run(["git", "clone", "--quiet", pushed, tmp_path / "clone"], check=True)
    run = Mlvc(cwd=tmp_path / "clone")
    run("remote", "add", "team", far)
    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_push_clone_pull_gives_the_files(pushed, clone):
    """Every byte, and nothing left to do on either side."""
    answer = clone("pull", "--json").json()

    assert answer["written"] == 4
    assert contents(pushed / "data") == contents(clone.cwd / "data")
    assert True is clone("status", "--json").json()["clean"]
    assert 0 == clone("push", "--json").json()["packs"]
    assert "everything" in clone("push").stdout


def test_fetch_brings_records_and_no_data(clone):
    """The history can be looked at; `verify` names what is not here."""
    assert clone("fetch", "--json").json()["packs"] > 0
    assert ["first"] == [commit["message"] for commit in clone("log", "--json").json()["commits"]]
    assert clone("ls", "HEAD:data").stdout
    assert not list((clone.cwd / "data").glob("*"))

    missing = clone("verify", "--json", check=1).json()

    assert missing["ok"] is False
    assert {"missing-object"} == {problem["kind"] for problem in missing["problems"]}
    assert any("data/table.csv" in problem["message"] for problem in missing["problems"])


def test_fetch_with_data_needs_no_pull(clone):
    """A plain checkout finds everything."""
    clone("fetch", "--data")
    clone("checkout")

    assert "a,b\n1,2\n" == (clone.cwd / "data" / "table.csv").read_text()


def test_pull_of_a_path_brings_only_what_it_needs(project, run_mlvc, far, git, tmp_path):
    """The pack of the other path stays where it is."""
    (project / "large.bin").write_bytes(bytes(range(256)) * 1000)
    run_mlvc("add", "large.bin")
    run_mlvc("commit", "-m", "second")
    run_mlvc("remote", "add", "team", far)
    run_mlvc("push")
    subprocess.run(["git", "clone", "--quiet", project, tmp_path / "clone"], check=True)
    clone = Mlvc(cwd=tmp_path / "clone")
    clone("remote", "add", "team", far)

    clone("pull", "data/table.csv")

    assert "a,b\n1,2\n" == (clone.cwd / "data" / "table.csv").read_text()
    assert not (clone.cwd / "data" / "deep").exists()
    assert not (clone.cwd / "large.bin").exists()
    packs = {path.stem for path in (clone.cwd / ".git" / "mlvc" / "store" / "packs").glob("*.pack")}
    assert {path.stem for path in (far / "data").glob("*.pack")} - packs


def test_verify_of_the_remote_finds_what_is_missing(clone, far):
    """All there; then a pack goes, and what it held is named without any data coming here."""
    assert clone("verify", "--remote", "--json").json()["ok"] is True
    for file in (far / "data").glob("*.pack"):
        file.unlink()

    answer = clone("verify", "--remote", "--json", check=1).json()

    assert {"missing-object"} == {problem["kind"] for problem in answer["problems"]}
    assert any("data/table.csv" in problem["message"] for problem in answer["problems"])


def test_verify_of_the_remote_finds_a_truncated_pack(clone, far):
    """By its length, so that it is not counted as there."""
    path = next((far / "data").glob("*.pack"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])

    answer = clone("verify", "--remote", "--json", check=1).json()

    assert any(path.name in problem["message"] for problem in answer["problems"])


def test_damaged_pack_is_named_and_not_handed_out(clone, far):
    """Exit 2, no file is written, and no traceback."""
    for path in (far / "data").glob("*.pack"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)

    refused = clone("pull", "--json", check=2)

    assert "remote-damaged" == refused.json()["error"]["code"]
    assert "/data/" in refused.json()["error"]["message"]
    assert not list((clone.cwd / "data").glob("*"))
    assert not list((clone.cwd / ".git" / "mlvc" / "store" / "tmp").iterdir())


def test_pull_keeps_unsaved_work(clone):
    """As a checkout does."""
    clone("pull")
    (clone.cwd / "data" / "table.csv").write_text("precious\n")

    assert "unsaved" == clone("pull", "--json", check=2).json()["error"]["code"]
    assert "precious\n" == (clone.cwd / "data" / "table.csv").read_text()


def test_remotes_are_added_listed_and_removed(project, run_mlvc, tmp_path):
    """The first is the default; with two, one must be named or set."""
    assert {"remotes": []} == run_mlvc("remote", "list", "--json").json()
    assert "no-remote" == run_mlvc("push", "--json", check=2).json()["error"]["code"]
    run_mlvc("remote", "add", "one", tmp_path / "one")
    run_mlvc("push")
    run_mlvc("remote", "add", "two", tmp_path / "two")
    assert "one, two" in run_mlvc("push", check=2).stderr
    run_mlvc("push", "--remote", "two")
    assert (tmp_path / "two" / "data").is_dir()
    with (project / "mlvc.toml").open("a") as settings:
        settings.write('\n[remote]\ndefault = "two"\n')

    listed = run_mlvc("remote", "list", "--json").json()["remotes"]

    assert [("one", False), ("two", True)] == [(entry["name"], entry["default"]) for entry in listed]
    run_mlvc("remote", "remove", "one")
    assert ["two"] == [entry["name"] for entry in run_mlvc("remote", "list", "--json").json()["remotes"]]
    assert "no-remote" == run_mlvc("remote", "remove", "one", "--json", check=2).json()["error"]["code"]


def test_url_of_the_settings_serves_who_chose_none(clone, far):
    """And never replaces a remote that the user added: a branch must not redirect a push."""
    with (clone.cwd / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "file://{far}-elsewhere"\ndefault = "team"\n')
    assert str(far) == clone("fetch", "--json").json()["url"].removeprefix("file://")

    clone("remote", "remove", "team")
    shutil.move(far, f"{far}-elsewhere")

    assert clone("pull", "--json").json()["url"].endswith("-elsewhere")


@pytest.mark.parametrize(
    "url", ["s3://key:hush@bucket/x", "http://host/x", "zip::s3://bucket/x", "not/absolute"]
)
def test_bad_urls_are_refused_and_no_password_is_shown(project, run_mlvc, url):
    """Nothing is written down."""
    refused = run_mlvc("remote", "add", "team", url, "--json", check=2)

    assert "remote-url" == refused.json()["error"]["code"]
    assert "hush" not in refused.stdout + refused.stderr
    assert {"remotes": []} == run_mlvc("remote", "list", "--json").json()


def test_pull_of_a_pattern_brings_what_matches_and_nothing_else(project, run_mlvc, far, git, tmp_path):
    """In the lock and in its directories, of which nothing is here yet; one that matches nothing is an error."""
    for name in ("a/one.csv", "a/two.csv", "a/one.bin", "b/one.csv", "b/deep/one.csv", "[x].csv"):
        path = project / "more" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(200_000))
    run_mlvc("add", "more")
    run_mlvc("commit", "-m", "more")
    run_mlvc("remote", "add", "team", far)
    run_mlvc("push")

    def pulled(*patterns):
        folder = tmp_path / "clone"
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", project, folder], check=True)
        run = Mlvc(cwd=folder)
        run("remote", "add", "team", far)
        answer = run("pull", *patterns, "--json").json()
        files = {
            str(path.relative_to(folder / "more")) for path in (folder / "more").rglob("*") if path.is_file()
        }
        assert answer["written"] == len(files)
        assert answer["bytes"] < 200_000 * len(files) + 100_000
        return files

    assert {"a/one.csv", "b/one.csv"} == pulled("more/*/one.csv")
    assert {"b/one.csv", "b/deep/one.csv"} == pulled("more/b/**/*.csv")
    assert {"a/one.csv", "a/two.csv", "a/one.bin"} == pulled("more/a/**", "mo?e/a/two.*")
    assert {"[x].csv"} == pulled("more/[x].csv")
    refused = Mlvc(cwd=tmp_path / "clone")("pull", "more/*.png", "--json", check=2).json()["error"]
    assert ("path-missing", True) == (refused["code"], "matches more/*.png" in refused["message"])


def test_an_endpoint_of_the_settings_with_a_password_is_refused(project, run_mlvc, home):
    """Of the user's own settings too, and it is not repeated."""
    (home / ".config" / "mlvc").mkdir(parents=True)
    (home / ".config" / "mlvc" / "config.toml").write_text(
        '[remote]\nurl = "s3://bucket/x"\nendpoint = "https://me:hush@host"\n'
    )

    refused = run_mlvc("push", "--json", check=2)

    assert "no URL of a server" in refused.json()["error"]["message"]
    assert "hush" not in refused.stdout + refused.stderr


def test_a_missing_remote_is_one_clear_error(project, run_mlvc, tmp_path):
    """A disk that is not mounted is not an empty remote."""
    run_mlvc("remote", "add", "disk", tmp_path / "gone")

    assert "remote-missing" == run_mlvc("fetch", "--json", check=2).json()["error"]["code"]


def test_a_remote_without_data_is_said(clone, far, tmp_path):
    """In one line, as git warns of an empty repository: fetching nothing is done, and what needs data says that too."""
    shutil.move(far, tmp_path / "elsewhere")
    for folder in ("data", "metadata"):
        (far / folder).mkdir(parents=True)
    (far / "picture.png").write_bytes(b"")
    told = f"warning: {far.as_uri()} holds no mlvc data: nobody has pushed there yet, or `mlvc remote list` shows"

    fetched = clone("fetch")
    planned = clone("pull", "--dry-run")
    pulled = clone("pull", check=2)
    of_path = clone("pull", "data/table.csv", "--json", check=2)
    verified = clone("verify", "--remote", check=1)
    shutil.rmtree(far)
    shutil.move(tmp_path / "elsewhere", far)

    for each in (fetched, planned, pulled, of_path, verified):
        assert 1 == each.stderr.count(told), each
    assert "nothing new" in fetched.stdout
    assert "not in the store" in pulled.stderr
    assert "holds no mlvc data" not in clone("pull").stderr


def test_a_clone_from_a_remote_without_data_is_said(pushed, run_mlvc, far, tmp_path):
    """Records alone: done, with a warning. With its data: an error, and no directory."""
    with (pushed / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[remote]\nurl = "{far.as_uri()}"\n')
    subprocess.run(["git", "commit", "--quiet", "-am", "remote"], cwd=pushed, check=True)
    shutil.rmtree(far)
    far.mkdir()
    outside = Mlvc(cwd=tmp_path)

    assert "holds no mlvc data" in outside("clone", pushed, "first").stderr
    for data in ("lock", "all"):
        assert "holds no mlvc data" in outside("clone", "--data", data, pushed, "second", check=2).stderr
        assert not (tmp_path / "second").exists()


def test_a_run_that_nobody_knows_is_looked_for_where_nothing_was_fetched(clone, far, tmp_path):
    """In the lock or by name; a remote that cannot be asked is a warning, and the error that of the name."""
    assert "target-missing" == clone("repro", "nobody", "--json", check=2).json()["error"]["code"]
    assert ["first"] == [commit["message"] for commit in clone("log", "--json").json()["commits"]]
    shutil.move(far, tmp_path / "elsewhere")

    told = clone("repro", "nobody", check=2).stderr

    assert "the records of the remote could not be brought" in told
    assert "nobody is no run" in told


def test_a_push_of_nothing_makes_the_remote(project, run_mlvc, far):
    """It is there for whoever asks for it next, such as `mlvc verify --remote` and `mlvc ci`."""
    for path in (project / ".git" / "mlvc" / "store" / "packs").iterdir():
        path.unlink()
    run_mlvc("remote", "add", "team", far)

    assert "has everything" in run_mlvc("push").stdout

    assert ["mlvc-remote-1"] == [path.name for path in far.rglob("*") if path.is_file()]
    run_mlvc("verify", "--remote", check=1)
    before = (far / "mlvc-remote-1").stat()
    run_mlvc("push")
    assert before == (far / "mlvc-remote-1").stat()


def test_libraries_of_remotes_are_loaded_only_for_s3(pushed):
    """They cost a third of a second, which neither `status` nor a directory pays."""
    code = (
        "import sys; from mlvc.cli.main import run_command_line; from mlvc.cli.session import Session; "
        "status = run_command_line(sys.argv[1:], Session(quiet=True)); "
        "print(status, {'s3fs', 'fsspec', 'botocore'} & set(sys.modules))"
    )
    for arguments in (["status"], ["push"], ["verify", "--remote"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=pushed,
            env=child_environment({}),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "0 set()" == done.stdout.splitlines()[-1], done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, and what makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"NOT TESTED: a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place, ["mount", "-o", "remount,size=64m", place]
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_one_error_and_room_is_enough_to_go_on(pushed, run_mlvc, far, small_disk):
    """Nothing half is kept, what was stored is whole, and the same command then brings the rest."""
    (pushed / "big.bin").write_bytes(random.Random(0).randbytes(6_000_000))
    run_mlvc("add", "big.bin")
    run_mlvc("commit", "-m", "big")
    run_mlvc("push")
    place, enlarge = small_disk
    subprocess.run(["git", "clone", "--quiet", pushed, place / "clone"], check=True)
    clone = Mlvc(cwd=place / "clone")
    clone("remote", "add", "team", far)

    refused = clone("pull", "--json", check=2)

    assert "disk-full" == refused.json()["error"]["code"]
    assert [] == list((place / "clone" / ".git" / "mlvc" / "store" / "tmp").iterdir())
    assert True is clone("fsck", "--json").json()["ok"]
    assert not (clone.cwd / "big.bin").exists()
    subprocess.run(enlarge, check=True)
    clone("pull")
    assert (pushed / "big.bin").read_bytes() == (clone.cwd / "big.bin").read_bytes()


def test_pull_of_a_path_moves_that_and_nothing_else(project, run_mlvc, far, tmp_path):
    """One small file out of many: no other data, no records, and parts of the indexes."""
    source = random.Random(4)
    for number in range(3000):
        (project / "data" / f"{number}.bin").write_bytes(source.randbytes(2000))
    run_mlvc("add", "data")
    run_mlvc("commit", "-m", "many")
    run_mlvc("remote", "add", "team", far)
    run_mlvc("push")
    subprocess.run(["git", "clone", "--quiet", project, tmp_path / "clone"], check=True)
    clone = Mlvc(cwd=tmp_path / "clone")
    clone("remote", "add", "team", far)

    answer = clone("pull", "data/1234.bin", "--json").json()

    assert (project / "data" / "1234.bin").read_bytes() == (clone.cwd / "data" / "1234.bin").read_bytes()
    assert ["1234.bin"] == os.listdir(clone.cwd / "data")
    assert answer["bytes"] < 400_000
    assert [] == clone("log", "--json").json()["commits"]
    clone("fetch")
    assert 2 == len(clone("log", "--json").json()["commits"])
    clone("pull")
    assert contents(project / "data") == contents(clone.cwd / "data")


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("s3://b/x", ["--endpoint", "ftp://host"], "no URL of a server"),
        ("s3://b/x", ["--endpoint", "https://me:secret@host"], "no URL of a server"),
        ("s3://b/x", ["--endpoint", "https://host/?token=secret"], "no URL of a server"),
        ("s3://b/x", ["--endpoint", "https://[host"], "no URL of a server"),
        ("s3://b/x", ["--encryption-key", "k"], "needs --encryption"),
        ("s3://b/x", ["--profile", "a\nb"], "empty, or no text"),
        ("s3://b/x", ["--region", ""], "empty, or no text"),
        ("/disk", ["--profile", "lab"], "no bucket"),
    ],
)
def test_options_that_make_no_sense_are_refused(project, run_mlvc, url, options, message):
    """Before anything is written, and without a password in the message."""
    done = run_mlvc("remote", "add", "own", url, *options, check=2)

    assert message in done.stderr
    assert "secret" not in done.stderr
    assert [] == run_mlvc("remote", "list", "--json").json()["remotes"]


# ------------------------------------------------------------------------------------------------ dry runs


def without_caches(root):
    """Returns everything but what only tells what a remote holds."""
    return {path: data for path, data in contents(root).items() if "cache" not in path.parts}


def test_a_dry_push_tells_what_would_be_sent(project, run_mlvc, far):
    """And makes nothing there or here; the push then sends just that."""
    run_mlvc("remote", "add", "team", far)
    before = without_caches(project)

    told = run_mlvc("push", "--dry-run", "--json").json()

    assert not far.exists()
    assert before == without_caches(project)
    assert told["records"] > told["packs"] > 1
    assert "would push" in run_mlvc("push", "--dry-run").stdout
    sent = run_mlvc("push", "--json", "--jobs", "1").json()
    assert (True, sent["url"], sent["packs"], sent["bytes"]) == (
        told["dry_run"],
        told["url"],
        told["packs"],
        told["bytes"],
    )
    assert told["bytes"] == sum(path.stat().st_size for path in far.rglob("*.pack"))
    assert 0 == run_mlvc("push", "--dry-run", "--json").json()["packs"]


@pytest.mark.parametrize("option", [[], ["--data"]])
def test_a_dry_fetch_tells_what_would_be_brought(clone, far, option):
    """Both stay as they are; the fetch then brings just that."""
    clone("status", check=2)  # It makes the store.
    before = without_caches(clone.cwd), contents(far)

    told = clone("fetch", *option, "--dry-run", "--json").json()

    assert before == (without_caches(clone.cwd), contents(far))
    brought = clone("fetch", *option, "--json", "--jobs", "16").json()
    assert (brought["packs"], brought["bytes"]) == (told["packs"], told["bytes"])
    assert told["records"] > 0
    assert 0 == clone("fetch", *option, "--dry-run", "--json").json()["records"]


def test_a_dry_pull_tells_what_would_be_brought(clone, far):
    """Of directories that are not here it says how many; once they are, it counts exactly what the pull brings."""
    clone("status", check=2)  # It makes the store.
    before = without_caches(clone.cwd), contents(far)

    told = clone("pull", "--dry-run", "--json").json()

    assert before == (without_caches(clone.cwd), contents(far))
    assert told["unknown_directories"] == 1
    assert "and what is in directories that `mlvc fetch` brings: 1" in clone("pull", "--dry-run").stdout
    clone("fetch")
    told = clone("pull", "--dry-run", "--json").json()
    of_path = clone("pull", "data", "--dry-run", "--json").json()
    assert before[0].keys() >= {path for path in without_caches(clone.cwd) if ".git" not in path.parts}
    brought = clone("pull", "--json", "--jobs", "2").json()
    assert (0, brought["packs"], brought["bytes"]) == (
        told["unknown_directories"],
        told["packs"],
        told["bytes"],
    )
    assert 0 < of_path["bytes"] <= told["bytes"]


def test_what_makes_no_sense_of_a_transfer(pushed, run_mlvc):
    """Mending has no dry run, and nobody makes no request."""
    assert "--repair has no dry run" in run_mlvc("push", "--repair", "--dry-run", check=2).stderr
    for jobs in ("0", "65"):
        assert "--jobs" in run_mlvc("push", "--jobs", jobs, check=2).stderr
