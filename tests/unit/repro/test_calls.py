"""Lines as strace writes them, of processes side by side, torn and out of order, become the calls that were made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlvc.repro.strace import options, read_strace


def quoted(name):
    return b'"' + digits(name) + b'"'


def digits(text):
    return b"".join(b"\\x%02x" % byte for byte in text)


def executes(number, program, end=b" = 0"):
    return b"%d  execve(%b, [%b], 0x7ffe2411b8f8 /* 38 vars */%b" % (
        number,
        quoted(program),
        quoted(b"argument"),
        b")" + end if end.startswith(b" =") else end,
    )


OPENED = b") = 3<" + digits(b"/somewhere") + b">"


def opens(number, name, end=OPENED):
    """The old call, which has no directory before the name; programs that use musl make it."""
    return b"%d  open(%b, O_RDONLY|O_CLOEXEC%b" % (number, quoted(name), end)


def draws(number):
    return b"%d  getrandom(0x55a693dc0d70, 0x10, 0) = 0x10" % number


def forks(number, child, flags=b"CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"):
    return b"%d  clone(child_stack=NULL, flags=%b, child_tidptr=0x7fdb70c6aa10) = %d" % (number, flags, child)


THREAD = b"CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS"


def read(tmp_path, *lines):
    (tmp_path / "strace").write_bytes(b"\n".join(lines) + b"\n")
    return read_strace(tmp_path / "strace", directory=Path("/w"), is_root=True).trace


@pytest.mark.parametrize(
    "execution",
    [
        [executes(884, b"/bin/cat", b" <pid changed to 883 ...>")],
        [executes(884, b"/bin/cat", b" <unfinished ...>"), draws(1)],
        [
            executes(884, b"/bin/cat", b" <unfinished ...>"),
            draws(1),
            b"884  <... execve resumed> <pid changed to 883 ...>",
        ],
    ],
)
@pytest.mark.parametrize("start", [[], [forks(883, 884, THREAD)]])
def test_a_thread_that_executes_a_program_becomes_the_process(tmp_path, execution, start):
    """Whether or not the call that started it was seen to end; the result is another call's, and does not count."""
    trace = read(
        tmp_path,
        executes(883, b"/usr/bin/launcher"),
        *start,
        opens(883, b"/fifo", b" <unfinished ...>"),
        *execution,
        b"883   +++ superseded by execve in pid 884 +++",
        b"883   <... execve resumed>)             = -1 (errno 18446744073709551359)",
        draws(883),
        opens(883, b"relative"),
        b"883   +++ exited with 0 +++",
    )

    assert {b"/usr/bin/launcher", b"/bin/cat"} == trace.executed
    assert {b"/bin/cat": 1} == trace.drawn
    assert ({b"/w/relative"}, set()) == (trace.reads, trace.absent)


def test_what_a_child_does_before_the_call_that_starts_it_ends(tmp_path):
    """A program from the shell's directory, and what a child that executes nothing draws, are put down to the shell."""
    trace = read(
        tmp_path,
        executes(12, b"/bin/sh"),
        b"12  chdir(" + quoted(b"sub") + b") = 0",
        b"12  vfork( <unfinished ...>",
        draws(13),
        executes(13, b"./tool", b" <unfinished ...>"),
        b"12  <... vfork resumed>)              = 13",
        b"13  <... execve resumed>)             = 0",
        draws(13),
        opens(13, b"a"),
    )

    assert {b"/bin/sh", b"/w/sub/tool"} == trace.executed
    assert {b"/bin/sh": 1, b"/w/sub/tool": 1} == trace.drawn
    assert {b"/w/sub/a"} == trace.reads


def test_children_and_threads_draw_for_their_program(tmp_path):
    """Also a child's child that both have not been announced yet, and a thread."""
    trace = read(
        tmp_path,
        executes(12, b"/usr/bin/tool"),
        b"12  clone3({flags=" + THREAD + b" <unfinished ...>",
        draws(14),
        b"13  fork( <unfinished ...>",
        draws(13),
        b"13  <... fork resumed>) = 14",
        b"12  <... clone3 resumed>, tls=0x7f0501e7f6c0} => {parent_tid=[13]}, 88) = 13",
        draws(13),
    )

    assert {b"/usr/bin/tool": 3} == trace.drawn


def test_a_number_is_used_again(tmp_path):
    """What the first process left unfinished when it was killed, and what it executed, is not the second one's."""
    trace = read(
        tmp_path,
        executes(12, b"/bin/sh"),
        forks(12, 13),
        executes(13, b"/usr/bin/first"),
        opens(13, b"/killed", b" <unfinished ...>"),
        b"13  +++ killed by SIGKILL +++",
        draws(13),
        b"13  <... open resumed>) = 3",
        opens(13, b"/second"),
        forks(12, 13),
        draws(13),
    )

    assert {b"/bin/sh": 2} == trace.drawn
    assert {b"/second"} == trace.reads


def test_a_name_is_below_the_working_directory(tmp_path):
    """Which a thread shares with its process, and a child takes over; what a call tells of it is right."""
    below = b"AT_FDCWD<" + digits(b"/told") + b">"
    trace = read(
        tmp_path,
        executes(12, b"/bin/tool"),
        opens(12, b"start"),
        forks(12, 13, THREAD),
        b"13  chdir(" + quoted(b"a") + b") = 0",
        opens(12, b"thread"),
        forks(12, 14),
        b"14  fchdir(3<" + digits(b"/b") + b">) = 0",
        opens(14, b"child"),
        opens(12, b"parent"),
        b"12  chdir(" + quoted(b"c") + b") = -1 ENOENT (No such file or directory)",
        opens(12, b"no", b") = -1 ENOENT (No such file or directory)"),
        b"12  openat(" + below + b"(deleted), " + quoted(b"gone") + b", O_RDONLY) = -1 ENOENT (No such file)",
        opens(12, b"told"),
    )

    assert {b"/w/start", b"/w/a/thread", b"/b/child", b"/w/a/parent", b"/told/told"} == trace.reads
    assert {b"/w/a/no", b"/told/gone"} == trace.absent


def test_a_process_in_a_namespace_is_known_by_another_number(tmp_path):
    """What it does under full names counts; where a relative one begins, nobody knows."""
    trace = read(
        tmp_path,
        executes(12, b"/usr/bin/unshare"),
        forks(12, 1),
        executes(13, b"/bin/cat"),
        opens(13, b"relative"),
        opens(13, b"relative", b") = -1 ENOENT (No such file or directory)"),
        opens(13, b"/full"),
        b"13  +++ exited with 0 +++",
    )

    assert {b"/usr/bin/unshare", b"/bin/cat"} == trace.executed
    assert ({b"/full"}, set()) == (trace.reads, trace.absent)


@pytest.mark.parametrize(
    "line",
    [
        opens(12, b"/a", b") = ?"),
        opens(12, b"/a", b") = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"),
        opens(12, b"/a", b") = -1 EACCES (Permission denied)"),
        opens(12, b"/a", b" <unfinished ...>) = ?"),
        opens(12, b"", b") = -1 ENOENT (No such file or directory)"),
        b"12  +++ superseded by execve in pid 99 +++",
        b"12  ????( <unfinished ...>",
        b"12  --- stopped by SIGSTOP ---",
        b"12  clone(child_stack=NULL, flags=SIGCHLD) = ? ERESTARTNOINTR (To be restarted)",
        executes(12, b"/nope", b" = -1 (errno 18446744073709551359)"),
    ],
)
def test_a_call_without_a_result_was_not_made(tmp_path, line):
    """It was interrupted, its process was killed in it, or it failed; the next one counts."""
    trace = read(tmp_path, executes(12, b"/bin/tool"), line, opens(12, b"/b"))

    assert ({b"/b"}, set(), {b"/bin/tool"}) == (trace.reads, trace.absent, trace.executed)


def test_a_script_that_runs_on_a_python_is_one(tmp_path):
    """The kernel executes what its first line names without another call."""
    script = tmp_path / "train.py"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)

    trace = read(tmp_path, executes(12, os.fsencode(script)), draws(12))

    assert {} == trace.drawn


JOB = """
cd $1
./tool in.csv > out.txt
shuf in.csv > shuffled.txt; mv shuffled.txt moved.txt
(cat ../absent-$1.csv; exec /bin/true) 2> /dev/null
python3 -S -I ../thread.py
sh -c 'kill -9 $$'
"""
# The first thread has many torn lines of its own.
EXECUTES_FROM_A_THREAD = """
import os, threading
open("leader.txt").close()
threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "cat thread.txt"])).start()
while True:
    open("leader.txt").close()
"""


@pytest.mark.strace
def test_processes_side_by_side_are_seen_as_one_after_the_other(tmp_path):
    """All that real programs read, missed, wrote, started and drew, with a thousand torn lines."""
    (tmp_path / "job.sh").write_text(JOB)
    (tmp_path / "thread.py").write_text(EXECUTES_FROM_A_THREAD)
    jobs = [str(number) for number in range(8)]
    for job in jobs:
        folder = tmp_path / job
        folder.mkdir()
        (folder / "in.csv").write_text("1\n2\n3\n")
        (folder / "thread.txt").touch()
        (folder / "leader.txt").touch()
        (folder / "tool").write_text('#!/bin/sh\ncat "$1"\n')
        (folder / "tool").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(sys.executable)
    variables = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "LC_ALL": "C"}
    seen = []
    for at_once in ("1", "8"):
        output = tmp_path / f"strace-{at_once}"
        argv = ["xargs", "-P", at_once, "-n", "1", "sh", "job.sh"]
        subprocess.run(
            ["strace", *options(output), *argv],
            cwd=tmp_path,
            input="\n".join(jobs),
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        seen.append(read_strace(output, directory=tmp_path, is_root=True).trace)
    torn = (tmp_path / "strace-8").read_bytes().count(b"<unfinished ...>")

    first, second = seen
    here = os.fsencode(tmp_path)
    assert first == second
    assert torn > 100
    assert {b"/usr/bin/shuf": 8} == second.drawn
    for job in jobs:
        folder = here + b"/" + job.encode()
        assert {folder + b"/in.csv", folder + b"/leader.txt", folder + b"/thread.txt"} <= second.reads
        assert folder + b"/tool" in second.executed
        assert here + b"/absent-" + job.encode() + b".csv" in second.absent
