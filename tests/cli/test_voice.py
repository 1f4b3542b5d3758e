"""What holds for every command: options, errors, streams, exit statuses."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from mlvc.cli.table import COMMANDS
from tests.support.command import child_environment

PATHS = [
    *COMMANDS,
    *("env lock", "env show", "env diff", "env sync"),
    *("hooks install", "hooks uninstall", "hooks status"),
    *("index rebuild", "index show"),
    *("remote add", "remote list", "remote remove"),
]


@pytest.mark.parametrize("path", PATHS)
def test_help_imports_cleanly_and_ends_with_an_example(run_mlvc, path):
    """Each lazily imported command; a group lists its commands instead."""
    result = run_mlvc(*path.split(), "--help")

    assert "" == result.stderr
    assert f"Usage: mlvc {path}" in result.stdout
    for option in ("-C DIR", "--quiet", "--verbose", "--json", "--help"):
        assert option in result.stdout
    if path in {"env", "hooks", "index", "remote"}:
        assert "Commands:" in result.stdout
    else:
        assert f"Examples:\n    mlvc {path}" in result.stdout


def test_summaries_are_the_first_lines_of_the_help(run_mlvc):
    """`mlvc --help` and `mlvc add --help` say the same."""
    top = run_mlvc("--help").stdout
    for name, entry in COMMANDS.items():
        words = " ".join(run_mlvc(name, "--help").stdout.split())

        assert entry.summary in words, name
        assert re.search(rf"^  {name} +{re.escape(entry.summary[:40])}", top, re.MULTILINE), name


def test_version(run_mlvc):
    """As text and as JSON."""
    text = run_mlvc("--version").stdout

    assert re.fullmatch(r"mlvc \d+\.\d+\.\d+\n", text)
    assert text.split()[1] == run_mlvc("--json", "--version").json()["version"]


def test_no_command_shows_the_help(run_mlvc):
    """Rather than an error."""
    assert run_mlvc("--help").stdout == run_mlvc().stdout


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["ad"], "has no command 'ad'", "did you mean `mlvc add`?"),
        (["env", "locke"], "has no command 'locke'", "did you mean `mlvc env lock`?"),
        (["add"], "missing argument", "see `mlvc add --help`"),
        (["status", "--chck"], "no such option: --chck", "did you mean `--check`?"),
        (["log", "-n", "many"], "'many' is not a valid", "see `mlvc log --help`"),
        (["env"], "missing command", "see `mlvc env --help`"),
        (["-C", "/nowhere", "status"], "/nowhere", None),
    ],
)
def test_wrong_usage_has_one_voice(run_mlvc, arguments, message, hint):
    """Exit 2, `error:` and `hint:` on stderr, nothing on stdout; with --json one object on stdout."""
    result = run_mlvc(*arguments, check=2)
    as_json = run_mlvc(*arguments, "--json", check=2)

    assert "" == result.stdout
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert {"error"} == as_json.json().keys()
    assert {"code", "message", "hint"} == as_json.json()["error"].keys()
    assert "" == as_json.stderr
    if hint is not None:
        assert f"hint: {hint}\n" in result.stderr


def test_options_may_stand_before_and_after_the_command(project, run_mlvc, tmp_path):
    """`mlvc -C DIR --json status` is `mlvc status -C DIR --json`."""
    before = run_mlvc("-C", str(project), "--json", "status", cwd=tmp_path)
    after = run_mlvc("status", "-C", str(project), "--json", cwd=tmp_path)

    assert before.stdout == after.stdout
    assert True is before.json()["clean"]


def test_quiet_leaves_out_notes(git_repo, run_mlvc):
    """Results stay."""
    loud = run_mlvc("init")
    (git_repo / "mlvc.toml").unlink()
    quiet = run_mlvc("init", "-q")

    assert "next: " in loud.stderr
    assert "" == quiet.stderr
    assert "created mlvc.toml\n" == quiet.stdout


def test_bug_is_one_line_and_a_traceback_on_demand(project):
    """An error that nobody thought of; here an installation that lacks a module."""
    code = "import sys; sys.modules['mlvc.verbs.status'] = None; from mlvc.cli.process import main; main()"

    def stderr_of(*options):
        command = [sys.executable, "-c", code, *options, "status"]
        done = subprocess.run(
            command, cwd=project, env=child_environment({}), capture_output=True, text=True, check=False
        )
        assert (2, "") == (done.returncode, done.stdout)
        return done.stderr

    assert re.fullmatch(r"error: this is a bug in mlvc: ModuleNotFoundError: .*\nhint: .*-v.*\n", stderr_of())
    assert "Traceback" in stderr_of("-v")


def test_interrupt_while_modules_are_loaded_is_one_line(project):
    """Ctrl-C before the command has begun."""
    code = """if True:
        import sys
        class Interrupting:
            def find_spec(self, name, *_):
                if name == "mlvc.cli.main":
                    raise KeyboardInterrupt
        sys.meta_path.insert(0, Interrupting())
        from mlvc.cli.process import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code, "status"],
        cwd=project,
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (130, "", "interrupted\n") == (done.returncode, done.stdout, done.stderr)


def test_reader_that_goes_away_is_no_error(project):
    """`mlvc ls | head -0`: no message, and the status of SIGPIPE."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", "status"],
        cwd=project,
        env=child_environment({}),
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    _, stderr = process.communicate(timeout=60)

    assert (128 + signal.SIGPIPE, b"") == (process.returncode, stderr)


HOLD = (
    "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
)


def test_interrupt_has_its_own_status(project):
    """130, and one word."""
    lock = project / ".git" / "mlvc" / "worktree.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlvc", "add", "data"],
        cwd=project,
        env=child_environment({}),
        stderr=subprocess.PIPE,
        text=True,
    )
    waiting = process.stderr.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    holder.communicate(b"\n", timeout=60)

    assert "waiting for another mlvc command in this worktree\n" == waiting
    assert (130, "interrupted\n") == (process.returncode, stderr)


def on_terminal(command, cwd, environment):
    """Runs a command whose stderr is a terminal; returns stdout and what the terminal showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    with process.stdout:
        stdout = process.stdout.read()
    process.wait(timeout=60)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # The terminal reports its end so, on Linux.
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    return stdout, shown.decode()


@pytest.mark.parametrize(("no_color", "is_coloured"), [(None, True), ("1", False)])
def test_colours_only_where_they_are_wanted(git_repo, no_color, is_coloured):
    """On a terminal, unless NO_COLOR is set."""
    environment = child_environment({"NO_COLOR": no_color, "TERM": "xterm"})

    _, shown = on_terminal([sys.executable, "-m", "mlvc", "status"], git_repo, environment)

    assert is_coloured is ("\x1b[" in shown)
    assert "error:" in shown


SLOW = """
import sys, time
from mlvc.cli.session import Session
reporter = Session(quiet="-q" in sys.argv).reporter()
with reporter.task("adding data", total=30, unit="files") as task:
    for _ in range(30):
        time.sleep(float(sys.argv[1]) / 30)
        task.advance()
    reporter.note("a note")
print("rich" in sys.modules)
"""


@pytest.mark.parametrize(
    ("seconds", "option", "is_shown"), [("3.0", "", True), ("0.1", "", False), ("1.6", "-q", False)]
)
def test_bars_appear_after_a_second_on_a_terminal(git_repo, seconds, option, is_shown):
    """A short operation, a quiet one, and one that is not on a terminal show none and load no rich."""
    command = [sys.executable, "-c", SLOW, seconds, *([option] if option else [])]
    environment = child_environment({"TERM": "xterm"})

    stdout, shown = on_terminal(command, git_repo, environment)
    piped = subprocess.run(command, cwd=git_repo, env=environment, capture_output=True, text=True, check=True)

    assert is_shown is ("adding data" in shown)
    assert f"{is_shown}\n".encode() == stdout
    assert "False\n" == piped.stdout
    assert "adding data" not in piped.stderr
    assert ("" if option else "a note\n") == piped.stderr


SENDING = SLOW.replace('total=30, unit="files"', 'total=30_000_000, unit="bytes"').replace(
    "task.advance()", "task.advance(1_000_000)"
)


def test_what_is_counted_in_bytes_has_a_rate(git_repo):
    """And tells the time that is left."""
    environment = child_environment({"TERM": "xterm", "COLUMNS": "120"})

    _, shown = on_terminal([sys.executable, "-c", SENDING, "2.5"], git_repo, environment)

    assert re.search(r"of 30\.0 MB.* MB/s, 0:00:0\d left", shown)


def test_json_errors_are_valid_json(git_repo, run_mlvc):
    """Also when the message holds quotes and odd names."""
    run_mlvc("init")
    result = run_mlvc("add", 'odd "name" \\ \n', "--json", check=2)

    assert "%0A" in json.loads(result.stdout)["error"]["message"]
