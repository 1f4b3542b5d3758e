"""What is seen of a command's system calls, and that the command does not notice."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlvc.repro import seccomp
from mlvc.repro.runtime_files import lay_runtime
from mlvc.repro.trace import read_trace
from mlvc.repro.watched import Watched
from tests.support.users import USERS, as_user, needs_users, open_way_to

WATCHER = Path(seccomp.__file__).parent.parent / "runtime" / "watcher.py"
CALL = "import ctypes; call = ctypes.CDLL(None, use_errno=True).syscall; "


@pytest.fixture
def watch(tmp_path):
    """Watches a command in `tmp_path`; returns how it ended and what was seen."""

    def watch(
        *command: str | Path, is_root: bool = True, **options: object
    ) -> tuple[subprocess.CompletedProcess[bytes], Watched]:
        output = tmp_path / "calls"
        output.unlink(missing_ok=True)
        done = subprocess.run(
            [*seccomp.prefix(output), *command],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            timeout=60,
            **options,
        )
        return done, seccomp.read_seccomp(output, is_root=is_root)

    return watch


@pytest.fixture
def python(watch):
    """Watches a line of Python; returns what was seen."""

    def run(code: str, *arguments: str | Path) -> Watched:
        done, watched = watch(sys.executable, "-I", "-S", "-c", code, *arguments)
        assert (0, b"") == (done.returncode, done.stderr)
        return watched

    return run


def below(tmp_path: Path, names: frozenset[bytes]) -> list[str]:
    """Returns the names that lie in a directory, relative to it."""
    start = os.fsencode(tmp_path) + b"/"
    return sorted(os.fsdecode(name.removeprefix(start)) for name in names if name.startswith(start))


@pytest.mark.seccomp
def test_each_call_is_understood(tmp_path, watch):
    """What is read, written, missing, listed, renamed, linked and executed, relative names included."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "in").write_text("1\n")
    (tmp_path / "program").write_text("#!/bin/sh\n")
    (tmp_path / "program").chmod(0o755)
    script = "cat in; cat absent; echo >>out; mv out moved; ln in hard; ln -s x soft; ls .. ; ../program; ./nothing"

    done, watched = watch("sh", "-c", f"cd a; {script}")

    trace = watched.trace
    assert (127, True, None) == (done.returncode, watched.started, watched.disturbed)
    assert ["a/absent"] == below(tmp_path, trace.absent)
    assert ["a/in", "program"] == below(tmp_path, trace.reads)
    assert ["a/hard", "a/moved", "a/out", "a/soft"] == below(tmp_path, trace.writes)
    assert os.fsencode(tmp_path) in trace.listed
    assert ["program"] == below(tmp_path, trace.executed)
    assert {b"cat", b"ln", b"mv"} <= {os.path.basename(name) for name in trace.executed}
    assert any(b"libc.so" in name for name in trace.libraries)
    assert ("seccomp",) == trace.tracers


@pytest.mark.seccomp
@pytest.mark.parametrize(
    ("flags", "there", "kind"),
    [
        ("os.O_RDONLY", True, "reads"),
        ("os.O_RDONLY", False, "absent"),
        ("os.O_WRONLY", True, "writes"),
        ("os.O_WRONLY", False, "absent"),
        ("os.O_RDWR", True, "writes"),
        ("os.O_WRONLY | os.O_CREAT", False, "writes"),
        ("os.O_WRONLY | os.O_CREAT | os.O_EXCL", True, None),
        ("os.O_WRONLY | os.O_CREAT | os.O_EXCL", False, "writes"),
        ("os.O_RDONLY | os.O_DIRECTORY", True, "absent"),
    ],
)
def test_opening_comes_to_what_the_flags_and_the_file_system_say(tmp_path, python, flags, there, kind):
    """As it was before the call: a file that the call itself makes was not there."""
    if there:
        (tmp_path / "file").touch()
    code = f"import os\ntry: os.open('file', {flags})\nexcept OSError: pass"

    trace = python(code).trace

    seen = {name: below(tmp_path, getattr(trace, name)) for name in ("reads", "writes", "absent", "listed")}
    assert {name: ["file"] if name == kind else [] for name in seen} == seen


@pytest.mark.seccomp
def test_names_that_are_no_text_and_long_ones_are_whole(tmp_path, python):
    """Line ends, quotes, bytes that are no UTF-8, and a string that begins at the end of a page."""
    evil = b'a"\n{"event": "read", "path": "2f"}\xff'
    (tmp_path / os.fsdecode(evil)).touch()
    long = "d" * 250
    deep = tmp_path.joinpath(*[long] * 6)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    code = (
        "import mmap, ctypes, sys, os\n"
        "open(os.listdir('.')[[name[0] for name in os.listdir('.')].index('a')])\n"
        "name = os.fsencode(sys.argv[1]) + b'\\0'\n"
        "pages = mmap.mmap(-1, 3 * 4096)\n"
        "pages[4090:4090 + len(name)] = name\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(pages, 4090))\n"
        "assert ctypes.CDLL(None).open(ctypes.c_void_p(address), 0) > 2\n"
    )

    reads = python(code, deep / "file").trace.reads

    assert {os.path.join(os.fsencode(tmp_path), evil), os.fsencode(deep / "file")} <= reads


@pytest.mark.seccomp
def test_what_cannot_be_read_fails_as_ever(python):
    """A path at an address that is none, and a descriptor that is none."""
    watched = python(
        "import ctypes\n"
        "for address in (1, 2**63, 2**64 - 1):\n"
        "    assert -1 == ctypes.CDLL(None, use_errno=True).open(ctypes.c_void_p(address), 0)\n"
        "import os\ntry: os.open('x', 0, dir_fd=999)\nexcept OSError as exc: assert exc.errno == 9"
    )

    assert watched.started


@pytest.mark.seccomp
def test_hosts_are_told(python):
    """Of both families; a socket of a file is none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            "import _socket\n"
            f"_socket.socket(_socket.AF_INET).connect(('127.0.0.1', {port}))\n"
            "for family, to in ((_socket.AF_INET6, ('::1', 9)), (_socket.AF_UNIX, '/nothing')):\n"
            "    try: _socket.socket(family).connect(to)\n"
            "    except OSError: pass"
        )
        connections = python(code).trace.connections

    assert {f"127.0.0.1:{port}", "[::1]:9"} == connections


@pytest.mark.seccomp
def test_who_asks_for_randomness_is_counted(watch):
    """By program, without what `malloc` asks for at its start, and without Pythons, which are asked themselves."""
    script = f"seq 9 | shuf | sort; {sys.executable} -I -c 'import os; os.getrandom(16)'"

    _, watched = watch("sh", "-c", script)

    assert {b"shuf"} == {os.path.basename(name) for name in watched.trace.drawn}
    assert set(watched.trace.drawn.values()) <= {1, 2}


@pytest.mark.seccomp
@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("kill -9 $$", -9), ("kill -15 $$", -15), ("kill -6 $$", -6), ("true", 0)],
)
def test_it_ends_as_the_command_does(tmp_path, watch, script, status):
    """By a status or by a signal, of which no second core is dumped."""
    done, watched = watch("sh", "-c", script)

    assert (status, True) == (done.returncode, watched.started)
    assert not list(tmp_path.glob("core*"))


@pytest.mark.seccomp
@pytest.mark.parametrize("name", ["nothing-of-this-name", "./text"])
def test_what_cannot_be_executed_was_not_started(tmp_path, watch, name):
    """Nothing has happened, so that it can be done without a watcher."""
    (tmp_path / "text").write_bytes(b"\0no program")
    (tmp_path / "text").chmod(0o755)

    done, watched = watch(name)

    assert (127, b"", False) == (done.returncode, done.stderr, watched.started)


def test_no_output_means_that_nothing_was_started(tmp_path):
    """The watcher could not, and wrote nothing."""
    assert not seccomp.read_seccomp(tmp_path / "calls", is_root=True).started


def test_a_machine_whose_calls_are_not_known_is_not_watched(tmp_path):
    """The watcher ends before the command is started."""
    code = (
        f"import os, runpy, sys; sys.argv = ['x', {str(tmp_path / 'calls')!r}, 'touch', 'made']; "
        "os.uname = lambda: os.uname_result(('Linux', '', '6.18', '', 'sparc')); "
        f"runpy.run_path({str(WATCHER)!r})['main']()"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)

    assert 127 == done.returncode
    assert not (tmp_path / "made").exists()
    assert not seccomp.read_seccomp(tmp_path / "calls", is_root=True).started


@pytest.mark.seccomp
def test_the_command_has_the_caller_s_variables_and_signals(watch):
    """None more, where Python itself would add one; and a broken pipe ends it."""
    done, _ = watch(shutil.which("env"), env={"A": "1"})
    assert b"A=1\n" == done.stdout

    done, _ = watch("sh", "-c", "grep SigIgn /proc/self/status")
    assert 0 == int(done.stdout.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


@pytest.mark.seccomp
def test_nobody_stops_for_the_modules_that_a_python_tells_of_itself(tmp_path, watch):
    """What its audit hook cannot hear of, or who has none, is heard from outside as ever."""
    runtime, place = lay_runtime(tmp_path / "runtime"), tmp_path / "place"
    place.mkdir()
    for name in ("module", "other", "data"):
        (place / f"{name}.py").write_text("name = __name__\n")
    variables = {"PYTHONPATH": f"{runtime}{os.pathsep}{place}", "MLVC_TRACE": str(tmp_path / "trace")}
    inner = "import sys; sys.path[0] = sys.argv[1]; import other"
    program = (
        "import module, os, subprocess, sys\n"
        "assert 'module' == module.name\n"
        "open(sys.argv[1]).close()\n"
        "try: module.__loader__.get_data(sys.argv[1] + 'x')\n"
        "except FileNotFoundError: pass\n"
        f"subprocess.run([sys.executable, '-E', '-c', {inner!r}, os.path.dirname(sys.argv[1])], check=True)"
    )

    done, watched = watch(sys.executable, "-c", program, place / "data.py", env=variables)

    assert (0, b"") == (done.returncode, done.stderr)
    told = read_trace(tmp_path / "trace")
    assert ["data.py", "module.py"] == below(place, told.reads)
    assert ["data.py", "other.py"] == below(place, watched.trace.reads)
    assert not {os.fsencode(tmp_path / "trace")} & watched.trace.writes


@pytest.mark.seccomp
def test_what_stays_in_the_background_is_not_waited_for_and_goes_on(tmp_path, watch):
    """Its calls are answered after the command has ended."""
    script = "(sleep 1; cat in > out) >/dev/null 2>&1 &"
    (tmp_path / "in").write_text("1\n")

    done, _ = watch("sh", "-c", script)

    assert 0 == done.returncode
    assert not (tmp_path / "out").exists()
    for _ in range(100):
        if (tmp_path / "out").exists() and (tmp_path / "out").read_text():
            break
        time.sleep(0.1)
    assert "1\n" == (tmp_path / "out").read_text()


@pytest.mark.seccomp
def test_a_command_does_not_outlive_who_answers_it(tmp_path):
    """Its calls would fail without a reason."""
    output = tmp_path / "calls"
    with subprocess.Popen(
        [*seccomp.prefix(output), "sh", "-c", "echo $$; exec sleep 100"], stdout=subprocess.PIPE
    ) as watcher:
        command = int(watcher.stdout.readline())
        watcher.kill()
        watcher.wait()
        for _ in range(100):
            if not Path(f"/proc/{command}/exe").exists():
                break
            time.sleep(0.1)

    assert not Path(f"/proc/{command}/exe").exists()


@pytest.mark.seccomp
def test_many_threads_and_processes_lose_nothing(tmp_path, python):
    """Each of 4 processes with 8 threads opens 50 files of its own, and a thread executes a program."""
    code = (
        "import os, threading\n"
        "def opens(number):\n"
        "    for file in range(50): open(f'{os.getpid()}-{number}-{file}', 'w').close()\n"
        "children = [os.fork() for _ in range(2)]\n"
        "threads = [threading.Thread(target=opens, args=(number,)) for number in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "if 0 in children: os._exit(0)\n"
        "for child in children: os.waitpid(child, 0)\n"
        "threading.Thread(target=os.execv, args=('/bin/true', ['true'])).start()\n"
        "threading.Event().wait()\n"
    )

    trace = python(code).trace

    written = [name for name in below(tmp_path, trace.writes) if name.count("-") == 2]
    assert 4 * 8 * 50 == len(written)
    assert sorted(written) == sorted(path.name for path in tmp_path.glob("*-*-*"))
    assert b"/bin/true" in trace.executed


@pytest.mark.seccomp
def test_a_debugger_works(python):
    """Nobody traces the command, so it may be traced."""
    python("import ctypes; assert 0 == ctypes.CDLL(None).ptrace(0, 0, 0, 0)")


@pytest.mark.seccomp
def test_a_child_that_shares_memory_is_read_in_its_own_once_it_has_some(tmp_path, python):
    """Python's children are made so, and look for their program in the memory of their parent, which lives on."""
    (tmp_path / "data").touch()

    trace = python(
        "import subprocess, sys\n"
        "subprocess.run(['cat', sys.argv[1]], check=True, env={'PATH': '/nowhere:/usr/bin:/bin'})",
        tmp_path / "data",
    ).trace

    assert ["data"] == below(tmp_path, trace.reads)


@pytest.mark.seccomp
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can choose another root")
def test_what_has_another_root_is_not_judged_by_this_one(tmp_path, python):
    """There is a file of that name in the one, and none in the other."""
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "file").touch()

    trace = python("import os, sys; os.chroot(sys.argv[1]); open('/inner/file').close()", root).trace

    assert b"/inner/file" in trace.reads
    assert b"/inner/file" not in trace.absent


@pytest.mark.seccomp
def test_once_something_was_mounted_nothing_is_looked_at(tmp_path, python):
    """What serves the mount may wait for an answer itself; a file is taken for what the call means."""
    code = CALL + (
        "import os, platform\n"
        "number = {'x86_64': 165, 'aarch64': 40}[platform.machine()]\n"
        "assert -1 == call(number, b'none', b'/nothing/there', b'tmpfs', 0, 0)\n"
        "try: open('absent')\nexcept FileNotFoundError: pass"
    )

    trace = python(code).trace

    assert (["absent"], []) == (below(tmp_path, trace.reads), below(tmp_path, trace.absent))


@pytest.mark.seccomp
@needs_users
def test_an_ordinary_user_is_watched_too_and_set_user_id_programs_are_noticed(tmp_path):
    """They have no effect then; root has their rights anyway."""
    program = tmp_path / "program"
    shutil.copyfile("/bin/cat", program)
    program.chmod(0o4755)
    open_way_to(tmp_path)
    tmp_path.chmod(0o777)
    # The interpreter may lie where only root can execute it.
    source = compile(WATCHER.read_text() + "main()", WATCHER, "exec")

    def watch() -> None:
        os.chdir(tmp_path)
        ctypes.CDLL(None).prctl(4, 1)  # What another user was is hidden from this one: PR_SET_DUMPABLE.
        sys.argv = ["x", "calls", str(program), "/etc/hostname"]
        exec(source, {"__name__": "watcher"})

    as_user(USERS[0], watch)
    watched = seccomp.read_seccomp(tmp_path / "calls", is_root=False)

    assert b"/etc/hostname" in watched.trace.reads
    assert "set-user-ID" in watched.disturbed


@pytest.mark.seccomp
def test_where_no_process_can_be_made_nothing_was_started(tmp_path):
    """Whoever hears the calls does not wait for one that nobody will make."""
    code = (
        f"import os, runpy, sys; sys.argv = ['x', {str(tmp_path / 'calls')!r}, 'touch', 'made']\n"
        "def fork(): raise BlockingIOError\n"
        f"os.fork = fork; runpy.run_path({str(WATCHER)!r})['main']()"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )

    assert (127, b"") == (done.returncode, done.stderr)
    assert not seccomp.read_seccomp(tmp_path / "calls", is_root=True).started


@pytest.mark.seccomp
def test_a_command_cannot_listen_itself(tmp_path, watch):
    """It cannot, and whoever reads what was seen is told that this may be why it failed."""
    inner = tmp_path / "inner"

    done, watched = watch(*seccomp.prefix(inner), "touch", "made")

    assert (127, True) == (done.returncode, watched.started)
    assert "listens" in watched.disturbed
    assert not seccomp.read_seccomp(inner, is_root=True).started
    assert not (tmp_path / "made").exists()


@pytest.mark.seccomp
def test_without_room_for_a_single_note_the_command_is_not_started(tmp_path):
    """It would be started once more, by whoever reads that it was not."""
    done = subprocess.run(
        [*seccomp.prefix(Path("/dev/full")), "touch", "made"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        timeout=60,
    )

    assert (127, b"") == (done.returncode, done.stderr)
    assert not (tmp_path / "made").exists()


@pytest.mark.seccomp
def test_a_disk_that_is_full_at_the_end_costs_the_notes_alone(tmp_path):
    """The command ends as without a watcher, and is known to have been started."""
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    output = tmp_path / "calls"
    command = [*seccomp.prefix(output), "sh", "-c", "cat /etc/hostname >/dev/null; echo good"]

    done = subprocess.run([sys.executable, "-c", limited, *command], check=False, capture_output=True)

    assert (0, b"good\n", b"") == (done.returncode, done.stdout, done.stderr)
    assert seccomp.read_seccomp(output, is_root=True).started
