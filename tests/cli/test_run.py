"""`mlvc run`, `runs`, `show` and `lineage` as a user runs them; commands that are no Python keep it quick."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys

import pytest

from mlvc.model.ids import BlobId
from tests.support.command import child_environment

# Refuses `seccomp` with flags that ask for a listener, whatever number the machine has for that call.
WITHOUT_LISTENERS = """
import ctypes, os, struct, sys
steps = [(0x20, 24, 0, 0), (0x15, 40, 0, 1), (0x06, 0x50001, 0, 0), (0x06, 0x7FFF0000, 0, 0)]
steps[:1] = [(0x20, 0, 0, 0), (0x15, {"x86_64": 317, "aarch64": 277}[os.uname().machine], 0, 3), steps[0]]
code = b"".join(struct.pack("HBBI", kind, yes, no, value) for kind, value, yes, no in steps)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert 0 == libc.prctl(38, 1, 0, 0, 0)
assert 0 == libc.prctl(22, 2, ctypes.byref(Program(len(steps), code))), ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_streams_and_status_are_the_commands_own(project, run_mlvc):
    """Stdout on stdout, stderr on stderr, the exit status passed on; the run is recorded as failed."""
    result = run_mlvc("run", "-n", "bad", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=7)
    (listed,) = run_mlvc("runs", "--json").json()["runs"]

    assert "out\n" == result.stdout
    assert result.stderr.startswith("err\n")
    assert ("bad", "failed", 7) == (listed["name"], listed["status"], listed["exit_code"])


def test_json_leaves_stdout_to_the_answer(project, run_mlvc):
    """What the command prints goes to stderr."""
    result = run_mlvc(
        "run",
        "--json",
        "-i",
        "data",
        "-o",
        "copy.csv",
        "--",
        "sh",
        "-c",
        "echo hi; cp data/table.csv copy.csv",
    )

    assert "hi\n" in result.stderr
    assert 0 == result.json()["exit_code"]
    assert ["copy.csv"] == [output["path"] for output in result.json()["outputs"]]


def test_options_of_the_command_are_its_own(project, run_mlvc):
    """Everything after `--`, also what looks like an option of mlvc."""
    run_mlvc("run", "--", "echo", "--json", "-C", "nowhere", "--")
    (listed,) = run_mlvc("runs", "--json").json()["runs"]

    assert ["echo", "--json", "-C", "nowhere", "--"] == listed["argv"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-i", "nowhere", "--", "true"], "nowhere"),
        (["-o", "train.py", "--", "true"], "train.py"),
        (["--env", "API_TOKEN=x", "--", "true"], "API_TOKEN"),
        (["--env", "NOVALUE", "--", "true"], "NOVALUE"),
        (["--bogus", "--", "true"], "--bogus"),
        (["--profile", "lax", "--", "true"], "lax"),
        (["--"], "CMD"),
    ],
)
def test_failure_before_the_start_is_125(project, run_mlvc, arguments, named):
    """The message names what is wrong; nothing is recorded."""
    result = run_mlvc("run", *arguments, check=125)

    assert named in result.stderr
    assert "bug" not in result.stderr


def test_program_that_is_not_there_is_127(project, run_mlvc):
    """As a shell has it; the attempt is on record."""
    result = run_mlvc("run", "--", "no-such-program", check=127)

    assert "no-such-program" in result.stderr


def test_interrupted_run_is_recorded(project, run_mlvc):
    """Control-C ends the command and mlvc with 130."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", "run", "--", "sh", "-c", "echo started; sleep 60"],
        cwd=project,
        env=child_environment({}),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert b"started\n" == process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    (listed,) = run_mlvc("runs", "--json").json()["runs"]

    assert 130 == process.returncode
    assert "interrupted" == listed["status"]


def test_lineage_leads_from_output_to_data_and_back(project, run_mlvc):
    """The run between them is named in both directions."""
    made = run_mlvc(
        "run",
        "-n",
        "copy",
        "-i",
        "data",
        "-o",
        "copy.csv",
        "--json",
        "--",
        "cp",
        "data/table.csv",
        "copy.csv",
    ).json()

    (up,) = run_mlvc("lineage", "copy.csv", "--json").json()["targets"]
    (down,) = run_mlvc("lineage", "data", "--json").json()["targets"]
    text = run_mlvc("lineage", "copy.csv").stdout

    assert made["id"] == up["run"]["id"]
    assert ["data"] == [item["path"] for item in up["inputs"]]
    assert [made["id"]] == [run["id"] for run in down["used_by"]]
    assert None is down["run"]
    for word in ("copy.csv", "copy", "cp data/table.csv copy.csv", "data"):
        assert word in text


def test_show_finds_a_run_by_name_and_by_id(project, run_mlvc):
    """With what it read and made."""
    made = run_mlvc(
        "run",
        "-n",
        "copy",
        "-i",
        "data",
        "-o",
        "copy.csv",
        "--json",
        "--",
        "cp",
        "data/table.csv",
        "copy.csv",
    ).json()

    assert made["id"] == run_mlvc("show", "copy", "--json").json()["id"]
    assert "copy.csv" in run_mlvc("show", made["id"][3:15]).stdout
    assert "target-missing" == run_mlvc("show", "0000ffff", "--json", check=2).json()["error"]["code"]


def test_a_secret_that_is_not_set_is_said(project, run_mlvc):
    """Passing nothing on in silence would let the command fail far from the cause."""
    refused = run_mlvc("run", "--secret", "NOT_THERE", "--", "true", check=125)

    assert "NOT_THERE" in refused.stderr


def watched_run(run_mlvc, script, *options, python=sys.executable, check=0, **variables):
    """Runs a Python script through the shell, so that no environment has to be captured."""
    (run_mlvc.cwd / "script.py").write_text(script)
    return run_mlvc("run", *options, "--", "sh", "-c", f"exec {python} script.py", check=check, env=variables)


def last_run(run_mlvc):
    return run_mlvc("runs", "--json").json()["runs"][0]


def test_pins_are_asked_for_in_the_process_that_they_are_meant_for(project, run_mlvc):
    """Each that can be asked about is on record as held; the time of the commit is one of them."""
    watched_run(run_mlvc, "import numpy, joblib")
    run = last_run(run_mlvc)

    assert {"held"} == set(run["effective"]["pins"].values())
    assert {"OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "TZ", "LC_ALL"} <= run["effective"]["pins"].keys()
    assert run["pins"]["SOURCE_DATE_EPOCH"].isdigit()


def test_a_pin_that_the_library_ignored_is_an_error(project, run_mlvc):
    """The record exists, as failed; the lock does not name the output."""
    before = (project / "mlvc.lock").read_bytes()
    ignoring = "import os, numpy\nos.environ['OPENBLAS_CORETYPE'] = 'Haswell'\nopen('out', 'w').close()"
    result = run_mlvc(
        *("run", "--profile", "portable", "-o", "out", "--", "sh", "-c"),
        f'OPENBLAS_CORETYPE=Nehalem {sys.executable} -c "{ignoring}"',
        check=125,
    )

    assert "OPENBLAS_CORETYPE=Haswell: " in result.stderr
    assert "failed" == last_run(run_mlvc)["status"]
    assert before == (project / "mlvc.lock").read_bytes()


def test_a_pin_that_the_program_overrode_is_a_warning(project, run_mlvc):
    """The run counts; the record says what was overridden."""
    result = watched_run(
        run_mlvc, "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport numpy", "--threads", "2"
    )

    assert "OMP_NUM_THREADS=2: set to 1" in result.stderr
    assert "overridden: set to 1" == last_run(run_mlvc)["effective"]["pins"]["OMP_NUM_THREADS"]


def test_a_declared_variable_goes_before_the_pin(project, run_mlvc):
    """And is then no pin of the run."""
    run_mlvc("run", "--env", "TZ=Asia/Tokyo", "--", "sh", "-c", 'test "$TZ" = Asia/Tokyo')
    run = last_run(run_mlvc)

    assert ("Asia/Tokyo", False) == (run["variables"]["TZ"], "TZ" in run["pins"])


def test_the_shells_kernels_are_on_record_and_portable_replaces_them(project, run_mlvc):
    """What the profile does not pin stays as the shell has it; a cache size has no portable value."""
    shell = {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_L2_SIZE": "1024", "TF_CLI_CONFIG_FILE": "/x"}
    tell = "import os; print(os.environ.get('OPENBLAS_CORETYPE'), os.environ.get('OPENBLAS_L2_SIZE'))"

    strict = watched_run(run_mlvc, tell, **shell)
    recorded = last_run(run_mlvc)["variables"]
    portable = watched_run(run_mlvc, tell, "--profile", "portable", **shell)

    assert ("Nehalem 1024\n", "Haswell None\n") == (strict.stdout, portable.stdout)
    assert {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_L2_SIZE": "1024"}.items() <= recorded.items()
    assert "TF_CLI_CONFIG_FILE" not in recorded
    assert not last_run(run_mlvc)["variables"].keys() & shell.keys()


def test_more_threads_than_cpus_are_found_out(project, run_mlvc):
    """OpenBLAS takes no more than there are CPUs, whatever it is told."""
    result = watched_run(run_mlvc, "import numpy", "--threads", "4096", check=125)

    assert "OPENBLAS_NUM_THREADS=4096: " in result.stderr


def test_undeclared_files_are_listed_with_the_line_that_declares_them(project, home, run_mlvc):
    """Of the repository and of the home directory; not what is code, tracked, or the command's own."""
    (project / ".gitignore").write_text("extra.csv\n")
    (project / "extra.csv").write_text("1\n")
    (home / "cache.bin").write_text("1\n")
    script = (
        "for name in ('extra.csv', 'train.py', 'data/table.csv'):\n    open(name).close()\n"
        f"open({str(home / 'cache.bin')!r}).close()\n"
        "open('own', 'w').close(); open('own').close()\n"
    )

    result = watched_run(run_mlvc, script)
    run = last_run(run_mlvc)

    assert ["extra.csv", str(home / "cache.bin")] == sorted(run["observed"]["undeclared"], key=len)
    of_one_line = str(BlobId.of(b"1\n"))
    assert {"extra.csv": of_one_line, str(home / "cache.bin"): of_one_line} == run["observed"]["digests"]
    assert "  -i extra.csv\n" in result.stderr
    assert "finished" == run["status"]


def test_strict_inputs_fail_on_undeclared_files(project, run_mlvc):
    """The run is on record as failed; declared, it finishes."""
    (project / ".gitignore").write_text("extra.csv\n")
    (project / "extra.csv").write_text("1\n")
    script = "open('extra.csv').close()"

    refused = watched_run(run_mlvc, script, "--strict-inputs", check=125)
    failed = last_run(run_mlvc)
    watched_run(run_mlvc, script, "--strict-inputs", "-i", "extra.csv")

    assert "-i extra.csv" in refused.stderr
    assert ["failed", "finished"] == [failed["status"], last_run(run_mlvc)["status"]]


def test_verify_says_which_outputs_do_not_repeat(project, run_mlvc):
    """The work tree and the record have those of the first execution; both started from the same place."""
    (project / "kept").write_text("old\n")
    script = (
        "date +%N > moving; echo same > still; cat kept > copy; echo new >> kept; echo x > twice; rm -f twice"
    )
    options = ("-o", "moving", "-o", "still", "-o", "kept", "-o", "copy")

    result = run_mlvc("run", "--json", "--verify", *options, "--", "sh", "-c", script)
    run = result.json()
    made = {output["path"]: output["id"] for output in run["outputs"]}

    assert (1, ["moving"]) == (run["repeats"], run["unstable_outputs"])
    assert "  moving\n" in result.stderr
    assert run_mlvc("status", "--json").json()["changes"] == []
    assert ("old\n", "old\nnew\n") == ((project / "copy").read_text(), (project / "kept").read_text())
    assert {"moving", "still", "kept", "copy"} == made.keys()


def test_verify_of_a_run_that_repeats(project, run_mlvc):
    """The last line says so, and the record."""
    result = run_mlvc("run", "--verify", "-o", "out", "--", "sh", "-c", "echo 1 > out")

    assert "the same bytes twice" in result.stderr
    assert (1, []) == (last_run(run_mlvc)["repeats"], last_run(run_mlvc)["unstable_outputs"])


def test_verify_of_a_second_execution_that_fails(project, run_mlvc):
    """Every output is unstable, and that of the first stays."""
    script = "echo 1 > out; test ! -e left && touch left"
    run_mlvc("run", "--verify", "-o", "out", "--", "sh", "-c", script)

    assert ["out"] == last_run(run_mlvc)["unstable_outputs"]
    assert "1\n" == (project / "out").read_text()


@pytest.fixture(
    params=[
        pytest.param("seccomp", marks=pytest.mark.seccomp),
        pytest.param("strace", marks=pytest.mark.strace),
    ]
)
def watcher(request, project):
    """Who watches from outside, set down in the settings."""
    with (project / "mlvc.toml").open("a") as settings:
        settings.write(f'\n[run]\ntracer = "{request.param}"\n')
    return request.param


def test_programs_that_are_no_python_are_watched_too(project, run_mlvc, watcher):
    """What they read, what they did not find, what they renamed, what they started."""
    (project / ".gitignore").write_text("extra.csv\n")
    (project / "extra.csv").write_text("1\n")
    script = "cat extra.csv > tmp; cat absent.csv; mv tmp out; cat out"

    result = run_mlvc("run", "-o", "out", "--", "sh", "-c", script)
    seen = last_run(run_mlvc)["observed"]

    assert "  -i extra.csv\n" in result.stderr
    assert (["extra.csv"], ["absent.csv"]) == (seen["undeclared"], seen["failed_opens"])
    assert watcher == seen["tracer"]
    assert {"sh", "cat", "mv"} <= {name.rpartition("/")[2] for name in seen["executed"]}


def test_a_python_below_a_shell_is_watched_by_both(project, run_mlvc, watcher):
    """The record says what was seen from outside alone; the interpreter's own files are not listed."""
    (project / "plain.txt").write_text("1\n")
    watched_run(run_mlvc, "import os; open('script.py').close(); os.system('cat plain.txt')")
    seen = last_run(run_mlvc)["observed"]

    assert f"audit-hook, {watcher}" == seen["tracer"]
    assert ["plain.txt", "script.py"] == seen["reads"]
    assert ["plain.txt"] == seen["strace_alone"]


@pytest.mark.seccomp
def test_the_setting_decides_who_watches(project, run_mlvc):
    """`audit-hook` leaves other programs alone; by default they are watched, and a Python is not."""
    run_mlvc("run", "--", "sh", "-c", "cat train.py")
    assert "seccomp" == last_run(run_mlvc)["observed"]["tracer"]
    run_mlvc("run", "--", sys.executable, "-c", "pass")
    assert "audit-hook" == last_run(run_mlvc)["observed"]["tracer"]

    with (project / "mlvc.toml").open("a") as settings:
        settings.write('\n[run]\ntracer = "audit-hook"\n')
    run_mlvc("run", "--", "sh", "-c", "cat train.py")
    assert "" == last_run(run_mlvc)["observed"]["tracer"]


@pytest.mark.strace
def test_where_the_kernel_cannot_tell_strace_watches(project, run_mlvc):
    """The command runs once all the same."""
    command = [
        sys.executable,
        "-m",
        "mlvc",
        "run",
        "--",
        "sh",
        "-c",
        "cat train.py >/dev/null; echo x >> times",
    ]

    subprocess.run(
        [sys.executable, "-c", WITHOUT_LISTENERS, *command],
        cwd=project,
        env=child_environment({}),
        check=True,
    )

    seen = last_run(run_mlvc)["observed"]
    assert ("strace", ["train.py"]) == (seen["tracer"], seen["reads"])
    assert "x\n" == (project / "times").read_text()


@pytest.mark.seccomp
def test_a_run_in_a_run_is_watched_by_the_outer_one(project, run_mlvc):
    """And is no reason to run the outer command again when that fails."""
    mlvc = f"{sys.executable} -m mlvc"
    script = f"{mlvc} run --name inner -- sh -c 'cat train.py'; echo x >> times; exit 3"

    run_mlvc("run", "--name", "outer", "--", "sh", "-c", script, check=3)

    runs = {run["name"]: run["observed"] for run in run_mlvc("runs", "--json").json()["runs"]}
    assert "x\n" == (project / "times").read_text()
    assert ("", "audit-hook, seccomp") == (runs["inner"]["tracer"], runs["outer"]["tracer"])
    assert "train.py" in runs["outer"]["reads"]


def test_a_program_that_draws_from_the_system_is_named(project, run_mlvc, watcher):
    """`shuf` seeds itself, and `sort` does not; what was drawn is nowhere."""
    run_mlvc("run", "-o", "out", "--", "sh", "-c", "seq 9 | shuf | sort > out")

    (run,) = run_mlvc("runs", "--json").json()["runs"]

    assert ["shuf"] == [name.rpartition("/")[2] for name in run["observed"]["drawn"]]


@pytest.mark.strace
def test_a_program_that_strace_disturbs_still_works(project, run_mlvc):
    """A debugger's call fails below strace: it is run again without, and from then on never with."""
    script = "import ctypes, sys\nprint('start')\nsys.exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) != 0)\n"
    with (project / "mlvc.toml").open("a") as settings:
        settings.write('\n[run]\ntracer = "strace"\n')

    first = watched_run(run_mlvc, script)
    second = watched_run(run_mlvc, script)

    assert ("without", False) == ("without" if "without" in first.stderr else "", "strace" in second.stderr)
    assert "start\n" == second.stdout
    assert ["finished", "finished"] == [run["status"] for run in run_mlvc("runs", "--json").json()["runs"]]


def test_signals_and_background_processes_are_as_without_a_watcher(project, run_mlvc, watcher):
    """A signal ends with 128 + n; what stays in the background is not waited for."""
    run_mlvc("run", "--", "sh", "-c", "kill -9 $$", check=137)
    run_mlvc("run", "--", "sh", "-c", "sleep 100 >/dev/null 2>&1 & echo $! > pid", timeout_s=60)
    (project / "pid").read_text()
    subprocess.run(["kill", (project / "pid").read_text().strip()], check=True)
    assert watcher == last_run(run_mlvc)["observed"]["tracer"]


@pytest.mark.parametrize("options", [(), ("--verify",), ("--engine", "bubblewrap")])
def test_an_output_that_cannot_be_stored_costs_no_record(project, run_mlvc, request, options):
    """A pipe in a directory of results: the run is recorded as failed, with the outputs that could be stored."""
    if "bubblewrap" in options:
        request.getfixturevalue("bubblewrap")
    before = (project / "mlvc.lock").read_bytes()
    script = "mkdir results; mkfifo results/pipe; echo 1 > good.txt"

    refused = run_mlvc(
        "run", "-o", "results", "-o", "good.txt", *options, "--", "sh", "-c", script, check=125
    )
    run = last_run(run_mlvc)

    assert "results/pipe" in refused.stderr
    assert f"run {run['id'].removeprefix('b3:')[:12]} is recorded as failed" in refused.stderr
    assert ("failed", 0, ["good.txt"]) == (
        run["status"],
        run["exit_code"],
        [output["path"] for output in run["outputs"]],
    )
    assert before == (project / "mlvc.lock").read_bytes()


def test_a_link_to_the_project_is_another_name_of_it(project, run_mlvc, tmp_path):
    """As where the home directory is a link: what is declared is declared, and what is not has its name inside."""
    link = tmp_path / "link"
    link.symlink_to(project.parent)
    for name in ("declared.csv", "missed.csv"):
        (project / name).write_text("1\n")
    (project / ".gitignore").write_text("*.csv\n")
    folder = link / project.name
    script = (
        f"import os; os.listdir('{folder}'); [open('{folder}/' + n) for n in ('declared.csv', 'missed.csv')]"
    )

    result = watched_run(run_mlvc, script, "-i", "declared.csv", HOME=str(link))
    seen = last_run(run_mlvc)["observed"]

    assert ["missed.csv"] == seen["undeclared"]
    assert ["declared.csv", "missed.csv", "script.py"] == seen["reads"]
    assert "  -i missed.csv\n" in result.stderr


def test_an_argument_that_leads_to_the_project_by_a_link_is_said(project, run_mlvc, tmp_path):
    """A reproduction has the project in its own place and no link to it; a system's path is no such thing."""
    link = tmp_path / "link"
    link.symlink_to(project)

    result = run_mlvc("run", "--", "/bin/ls", f"{link}/train.py", f"--hide={link}/train.py", "/dev/null")

    assert 2 == result.stderr.count(f"{link}/train.py leads into the project by a link")
    assert 2 == result.stderr.count(f"write {os.path.realpath(project)}/train.py, ")


def test_variables_that_are_not_recorded_leave_a_digest(project, run_mlvc):
    """A change of one can be found in this clone; its value, and what looks like a secret, cannot."""
    first, second = (
        run_mlvc("run", "--json", "--", "true", env={"DATA_PLACE": place, "MY_TOKEN": "hush"}).json()["id"]
        for place in ("here", "there")
    )
    one, two = (run_mlvc("show", name, "--json").json()["other_variables"] for name in (first, second))

    assert {"DATA_PLACE"} == {name for name in one if one[name] != two[name]}
    assert "MY_TOKEN" not in one
    assert not {"here", "there", "hush"} & {*one.values(), *two.values()}


def a_library():
    """Any library of the system, to be loaded under another name."""
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return next(pathlib.Path(line.split()[-1]) for line in lines if "/libm.so" in line or "/libm-" in line)


NVIDIA = """#!/bin/sh
echo asked >> {folder}/asked
echo 'NVIDIA H200, 550.54.15, 143771 MiB'
echo 'NVIDIA H200, 550.54.15, 143771 MiB'
echo 'No devices were found'
"""


def test_gpus_are_facts_about_the_host(project, tmp_path, run_mlvc):
    """Asked once; a run that did not load the driver's library used none."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA.format(folder=tmp_path))
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:/usr/bin:/bin"}

    run_mlvc("run", "--", "true", env=path)
    run_mlvc("run", "--", "true", env=path)
    run = last_run(run_mlvc)

    assert ("NVIDIA H200, NVIDIA H200", "550.54.15") == (run["host"]["gpu"], run["host"]["gpu_driver"])
    assert [] == run["gpus"]
    assert "asked\n" == (tmp_path / "asked").read_text()


def test_a_gpu_that_was_used_is_on_record_and_missed(project, tmp_path, run_mlvc):
    """The driver's library is mapped; a reproduction without that GPU says so before anything runs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / "libcuda.so.1").write_bytes(a_library().read_bytes())
    script = (
        f"import ctypes, numpy; ctypes.CDLL({str(tmp_path / 'libcuda.so.1')!r}); open('out', 'w').close()"
    )

    watched_run(run_mlvc, script, "-o", "out", PATH=f"{program.parent}:/usr/bin:/bin")
    run = last_run(run_mlvc)
    repeated = run_mlvc("repro", "--engine", "none", "out", check=False)

    assert ["NVIDIA H200", "NVIDIA H200"] == run["gpus"]
    assert "the run used NVIDIA H200, NVIDIA H200, and this machine has no GPU" in repeated.stderr


def test_the_first_run_of_a_new_output_is_of_clean_code(project, run_mlvc):
    """The line that the run itself wrote into `.gitignore` is no edit of the user's; one of theirs is."""
    command = ("run", "--json", "-o", "models/copy.csv", "--", "cp", "data/table.csv", "models/copy.csv")
    run_mlvc(*command)
    (first,) = run_mlvc("runs", "--json").json()["runs"]
    with (project / "models" / ".gitignore").open("a") as file:
        file.write("notes\n")
    edited = run_mlvc(*command).json()["id"]

    found = {listed["id"]: listed["code"]["dirty"] for listed in run_mlvc("runs", "--json").json()["runs"]}

    assert {first["id"]: False, edited: True} == found


def test_a_reproduction_names_an_undeclared_file_that_changed(project, home, run_mlvc):
    """Nothing hides a file of the home directory from the engine `none`; its digest tells that it is another."""
    (home / "table.csv").write_text("1\n")
    script = f"cat {home / 'table.csv'} > copy.csv"
    run_mlvc("run", "-o", "copy.csv", "--", "sh", "-c", script)
    (home / "table.csv").write_text("2\n")

    result = run_mlvc("repro", "copy.csv", "--engine", "none", check=1)

    assert f"{home / 'table.csv'} was read and not declared, and no longer what the run read" in result.stdout


def test_standard_input_is_not_passed_on_and_that_is_said(project, run_mlvc):
    """A file that was redirected, and what was piped in; not an empty one, nor what a loop of a shell reads."""
    call = f"{shlex.quote(sys.executable)} -m mlvc run -- cat"

    def run_in_shell(script):
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=project,
            env=child_environment({}),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout, done.stderr.count("is not passed on")

    assert ("", 1) == run_in_shell(f"{call} < data/table.csv")
    assert ("", 1) == run_in_shell(f"(echo piped; exec sleep 3) | (sleep 0.5; {call})")
    assert ("a,b\n", 0) == run_in_shell(
        f"while read -r line; do echo $line; {call}; break; done < data/table.csv"
    )
    assert ("", 0) == run_in_shell(f"{call} < /dev/null")
    assert ("", 0) == run_in_shell(f"{call} <&-")
