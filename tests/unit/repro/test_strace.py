"""The output of strace is read as hostile: strings stand in digits, and a line of another form is left out."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlvc.repro.strace import options, read_strace


def digits(text):
    return b"".join(b"\\x%02x" % byte for byte in text)


def path(name):
    return b'"' + digits(name) + b'"'


HERE = b"AT_FDCWD<" + digits(b"/w") + b">"


def read(tmp_path, *lines):
    (tmp_path / "strace").write_bytes(b"\n".join(lines) + b"\n")
    return read_strace(tmp_path / "strace", directory=Path("/w"), is_root=True).trace


@pytest.mark.parametrize(
    ("line", "kind", "seen"),
    [
        (
            b"openat(" + HERE + b", " + path(b"a") + b", O_RDONLY|O_CLOEXEC) = 3<" + digits(b"/w/a") + b">",
            "reads",
            b"/w/a",
        ),
        (
            b"openat("
            + HERE
            + b", "
            + path(b"/b")
            + b", O_WRONLY|O_CREAT, 0666) = 3<"
            + digits(b"/b")
            + b">",
            "writes",
            b"/b",
        ),
        (b"open(" + path(b"/c") + b", O_RDONLY) = -1 ENOENT (No such file or directory)", "absent", b"/c"),
        (b"creat(" + path(b"/d") + b", 0666) = 3<" + digits(b"/d") + b">", "writes", b"/d"),
        (
            b"execve(" + path(b"/bin/e") + b", [" + path(b"e") + b"], 0x7f /* 3 vars */) = 0",
            "executed",
            b"/bin/e",
        ),
        (
            b"renameat2(" + HERE + b", " + path(b"x") + b", " + HERE + b", " + path(b"y") + b", 0) = 0",
            "writes",
            b"/w/y",
        ),
        (b"rename(" + path(b"/x") + b", " + path(b"/y") + b") = 0", "writes", b"/y"),
        (b"symlink(" + path(b"/x") + b", " + path(b"/l") + b") = 0", "writes", b"/l"),
        (b"openat(" + HERE + b", " + path(b"dir") + b", O_RDONLY|O_DIRECTORY) = 3", "listed", b"/w/dir"),
        (b"open(" + path(b"/usr") + b", O_RDONLY) = 3<" + digits(b"/usr") + b">", "listed", b"/usr"),
        (
            b"connect(3<"
            + digits(b"socket:[1]")
            + b'>, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("'
            + digits(b"1.2.3.4")
            + b'")}, 16) = -1 EINPROGRESS (Operation now in progress)',
            "connections",
            "1.2.3.4:443",
        ),
        (
            b"connect(3<" + digits(b"socket:[1]") + b">, {sa_family=AF_INET6, sin6_port=htons(80), "
            b'sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "'
            + digits(b"::1")
            + b'", &sin6_addr), sin6_scope_id=0}, 28) = 0',
            "connections",
            "[::1]:80",
        ),
    ],
)
def test_each_call_is_understood(tmp_path, line, kind, seen):
    """Alone, and in two halves with another process between them."""
    whole = read(tmp_path, b"12  " + line)
    begin, mark, end = line.rpartition(b") = ")
    halves = read(
        tmp_path,
        b"12  " + begin + b" <unfinished ...>",
        b"13  getdents64(3, 0x1, 2) = 0",
        b"12  <... resumed resumed>" + mark + end,
    )

    assert {seen} == getattr(whole, kind) == getattr(halves, kind)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"12",
        b"+++ exited with 0 +++",
        b"12  openat(",
        b"12  openat() = ",
        b"12  openat(AT_FDCWD, 0x1, O_RDONLY) = -1 EFAULT (Bad address)",
        b'12  openat(AT_FDCWD, "\\x2',  # cut off
        b"12  openat("
        + HERE
        + b", "
        + path(b"dir")
        + b", O_RDONLY|O_DIRECTORY) = -1 EACCES (Permission denied)",
        b"12  <... openat resumed>) = 3",
        b"12  execve(" + path(b"/nope") + b", [], 0x1) = -1 ENOENT (No such file or directory)",
        b"99999999999999999999  close(3) = 0",
        b"\xff\x00\xfe",
    ],
)
def test_what_is_no_known_line_is_left_out(tmp_path, line):
    """It neither fails nor hides the next one."""
    trace = read(tmp_path, line, b"12  open(" + path(b"/a") + b", O_RDONLY) = 3<" + digits(b"/a") + b">")

    assert ({b"/a"}, set(), set()) == (trace.reads, trace.writes, trace.executed)


@pytest.mark.strace
def test_a_name_that_looks_like_a_line_is_only_a_name(tmp_path):
    """Quotes, line ends and bytes that are no text, from a real program."""
    evil = os.fsencode(tmp_path) + b'/a", O_WRONLY) = 3\n1  open("\xffshadow", O_RDONLY) = 3'
    Path(os.fsdecode(evil)).touch()
    output = tmp_path / "strace"
    subprocess.run(["strace", *options(output), "cat", evil], check=True)

    trace = read_strace(output, directory=tmp_path, is_root=True).trace

    assert evil in trace.reads
    assert not any(name.endswith(b"shadow") for name in trace.reads | trace.writes)


@pytest.mark.strace
def test_a_set_user_id_program_is_noticed_for_an_ordinary_user(tmp_path):
    """It gains no rights below strace; root has them anyway."""
    program = tmp_path / "program"
    shutil.copyfile("/bin/true", program)
    program.chmod(0o4755)
    output = tmp_path / "strace"
    subprocess.run(["strace", *options(output), program], check=True)

    assert "set-user-ID" in read_strace(output, directory=tmp_path, is_root=False).disturbed
    assert None is read_strace(output, directory=tmp_path, is_root=True).disturbed


def test_no_output_means_that_nothing_was_started(tmp_path):
    """strace could not, and wrote nothing."""
    assert not read_strace(tmp_path / "absent", directory=tmp_path, is_root=True).started


def test_who_asks_for_randomness_is_counted(tmp_path):
    """By program, without what `malloc` asks for at its start, and without Pythons, which are asked themselves."""
    trace = read(
        tmp_path,
        b"12  execve(" + path(b"/usr/bin/shuf") + b", [], 0x7f /* 3 vars */) = 0",
        b"12  getrandom(0x7f28cb61a478, 0x8, 0x1)     = 0x8",
        b"12  getrandom(0x55a693dc0d70, 0x10, 0)      = 0x10",
        b"12  getrandom(0x55a693dc0d70, 0x1, 0)      = 0x1",
        b"13  execve(" + path(b"/usr/bin/python3.11") + b", [], 0x7f /* 3 vars */) = 0",
        b"13  getrandom(0x55a693dc0d70, 0x9c0, 0)      = 0x9c0",
        b"14  getrandom(0x55a693dc0d70, 0x9c0, 0)      = 0x9c0",
    )

    assert {b"/usr/bin/shuf": 2} == trace.drawn


def test_a_request_that_another_process_interrupts_is_one_request(tmp_path):
    """strace writes it in two lines then; the eight bytes of `malloc` stay left out."""
    trace = read(
        tmp_path,
        b"12  execve(" + path(b"/usr/bin/shuf") + b", [], 0x7f /* 3 vars */) = 0",
        b"12  getrandom(0x7f28cb61a478, 0x8, 0x1 <unfinished ...>",
        b"13  getrandom(0x7f28cb61a478, 0x8, 0x1)     = 0x8",
        b"12  <... getrandom resumed>)          = 0x8",
        b"12  getrandom(0x55eb7df04c00, 0x5, 0 <unfinished ...>",
        b"13  getrandom(0x7f28cb61a478, 0x8, 0x1)     = 0x8",
        b"12  <... getrandom resumed>)          = 0x5",
    )

    assert {b"/usr/bin/shuf": 1} == trace.drawn
