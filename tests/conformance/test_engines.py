"""Every engine that isolates keeps the contract of `mlvc.ports.Engine`, clause by clause."""

import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mlvc.engines.bubblewrap import BubblewrapEngine
from mlvc.engines.docker import DockerEngine
from mlvc.engines.errors import EngineError
from mlvc.ports import Execution, Mount

PATH = "/usr/bin:/bin"
PYTHON = os.path.realpath(sys.executable)
INTERPRETER = () if PYTHON.startswith("/usr/") else (Mount(Path(sys.base_prefix), sys.base_prefix),)


class Log:
    """Keeps both streams, and when the first piece came."""

    def __init__(self):
        self.out, self.err, self.times = b"", b"", []

    def __call__(self, data, *, is_error):
        self.times.append(time.monotonic())
        if is_error:
            self.err += data
        else:
            self.out += data


class Sandbox:
    """One engine with all that it needs to run a shell."""

    def __init__(self, engine, base):
        self.engine, self.base = engine, base

    def execution(self, *argv, **options):
        options.setdefault("directory", "/")
        options.setdefault("variables", {"PATH": PATH})
        command = tuple(os.fsencode(item) for item in argv)
        return Execution(argv=command, base=self.base, **options)

    def run(self, *argv, **options):
        log = Log()
        result = self.engine.run(self.execution(*argv, **options), log)
        return result, log

    def python(self, script, **options):
        """Runs a Python program with this interpreter, which may live anywhere."""
        return self.run(PYTHON, "-I", "-c", textwrap.dedent(script), mounts=INTERPRETER, **options)

    def sh(self, script, **options):
        """Returns what a shell script prints, which must end well."""
        result, log = self.run("sh", "-c", textwrap.dedent(script), **options)

        assert (result.exit_code, log.err) == (0, b"")
        return log.out.decode()


@pytest.fixture(
    params=[
        pytest.param("bubblewrap", marks=pytest.mark.sandbox),
        pytest.param("docker", marks=pytest.mark.docker),
    ]
)
def sandbox(request):
    if request.param == "bubblewrap":
        return Sandbox(BubblewrapEngine(), None)
    engine = DockerEngine(os.environ.get("DOCKER_HOST"))
    image = request.getfixturevalue("docker_engine").base_image
    return Sandbox(engine, engine.resolve_base(image))


def test_works_here(sandbox):
    """`check` finds nothing to complain about where the engine can run something."""
    assert sandbox.engine.check() is None
    assert sandbox.engine.isolated


def test_streams_are_kept_apart(sandbox):
    """What the command prints to standard output and to standard error arrives as such."""
    result, log = sandbox.run("sh", "-c", "echo out; echo err >&2")

    assert (result.exit_code, log.out, log.err) == (0, b"out\n", b"err\n")


def test_output_arrives_while_the_command_runs(sandbox):
    """The first line is handed over before the command ends."""
    _, log = sandbox.run("sh", "-c", "echo first; sleep 1; echo second")

    assert log.times[-1] - log.times[0] > 0.5


def test_large_output_is_complete(sandbox):
    """No byte of a long output is lost or reordered."""
    _, log = sandbox.run("sh", "-c", "seq 1 200000")

    assert "".join(f"{number}\n" for number in range(1, 200001)).encode() == log.out


def test_standard_input_is_empty(sandbox):
    """A command that reads its input finds the end of it."""
    assert sandbox.sh("cat; echo end") == "end\n"


@pytest.mark.parametrize("status", [0, 1, 7, 126, 255])
def test_exit_status_is_the_commands(sandbox, status):
    """The command's exit status is passed through unchanged."""
    result, _ = sandbox.run("sh", "-c", f"exit {status}")

    assert status == result.exit_code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_is_128_and_its_number(sandbox, number):
    """A command that a signal ends has the status that a shell would tell."""
    result, _ = sandbox.python(f"import os; os.kill(os.getpid(), {int(number)})")
    shell, _ = sandbox.run("sh", "-c", f"sh -c 'kill -{int(number)} $$'; exit $?")

    assert (128 + number, 128 + number) == (result.exit_code, shell.exit_code)


def test_a_program_that_does_not_exist_is_127(sandbox):
    """That is the command's own fault, so it is no error of the engine; the log names the program."""
    result, log = sandbox.run("no-such-program", "x")

    assert result.exit_code == 127
    assert b"no-such-program" in log.err + log.out


def test_arguments_arrive_as_they_are(sandbox):
    """Spaces, quotes, newlines, empty ones and bytes that are not UTF-8 survive."""
    arguments = [b"a b", b"", b"'\"$x`", b"one\ntwo\n", b"%s\\n", b"caf\xe9\xff", "ü".encode()]
    result, log = sandbox.run("printf", "<%s>", *arguments)

    assert result.exit_code == 0
    assert b"".join(b"<" + item + b">" for item in arguments) == log.out


def test_environment_is_what_was_given(sandbox):
    """No variable of the caller, the image or the engine is there, only those that were named."""
    variables = {"PATH": PATH, "HOME": "/tmp", "ODD": "a=b \n'ü"}
    _, log = sandbox.run("env", "-0", variables=variables)

    assert variables == dict(item.decode().split("=", 1) for item in log.out.split(b"\0") if item)


def test_there_is_no_network(sandbox):
    """Only the loopback interface exists, and a name does not resolve."""
    interfaces = sandbox.sh("tail -n +3 /proc/net/dev | cut -d: -f1").split()
    result, log = sandbox.python("import socket; socket.create_connection(('example.com', 80), 5)")

    assert interfaces == ["lo"]
    assert result.exit_code == 1
    assert b"gaierror" in log.err or b"Network is unreachable" in log.err


def test_loopback_works(sandbox):
    """Programs that talk to themselves over 127.0.0.1 can."""
    script = """
    import socket
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    server.accept()[0].sendall(b"hello")
    print(client.recv(5).decode())
    """
    _, log = sandbox.python(script)

    assert log.out == b"hello\n"


def test_an_ordinary_user_without_capabilities(sandbox):
    """The ids are not root's, no capability is left, and none can be gained."""
    uid = os.getuid() or 1000
    told = sandbox.sh(
        "id -u; grep -h ^Cap /proc/self/status | cut -f2 | sort -u; grep ^NoNewPrivs /proc/self/status"
    )

    assert [str(uid), "0000000000000000", "NoNewPrivs:", "1"] == told.split()


def test_the_root_is_read_only(sandbox, tmp_path):
    """Nothing can be written but `/tmp`, shared memory and writable mounts; `/tmp` may hold programs."""
    script = """
    for d in / /usr /usr/bin /etc /home /root /var /run /dev /proc /proc/sys/kernel /sys /ro; do
        if touch $d/x 2>/dev/null; then echo "$d is writable"; fi
    done
    touch /tmp/x /dev/shm/x /rw/x
    cp /bin/true /tmp/true && /tmp/true
    """
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    mounts = (Mount(tmp_path / "rw", "/rw", writable=True), Mount(tmp_path / "ro", "/ro"))

    assert sandbox.sh(script, mounts=mounts) == ""
    assert os.listdir(tmp_path / "rw") == ["x"]


def test_the_kernels_settings_cannot_be_changed(sandbox):
    """Not even where root runs mlvc, whose uid owns those files."""
    script = """
    for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger; do
        if [ -e $f ] && (cat $f > $f) 2>/dev/null; then echo "$f is writable"; fi
    done
    """
    assert sandbox.sh(script) == ""


def test_nothing_of_the_caller_is_visible(sandbox, tmp_path):
    """The home directory, other processes and directories beside the mounts are not there."""
    (tmp_path / "project").mkdir()
    (tmp_path / "secret").write_text("secret")
    mounts = (Mount(tmp_path / "project", str(tmp_path / "project")),)
    told = sandbox.sh(
        f"ls -A /home /root 2>/dev/null; ls -A {tmp_path}; ls /proc | grep -c '^[0-9]'", mounts=mounts
    )
    lines = [line for line in told.splitlines() if line and not line.endswith(":")]

    assert lines[0] == "project"
    assert int(lines[1]) < 10


def test_mount_points_are_made(sandbox, tmp_path):
    """A mount may stand anywhere: below a home directory, in `/usr`, in another mount, and be a file."""
    for name in ("one", "two", "three", "four"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    (tmp_path / "two" / "inner").mkdir()
    mounts = (
        Mount(tmp_path / "one", "/root/.pyenv/versions/3.11.7"),
        Mount(tmp_path / "two", "/home/u/project with space", writable=True),
        Mount(tmp_path / "three", "/home/u/project with space/inner"),
        Mount(tmp_path / "four", "/usr/src/mlvc-test/app"),
        Mount(tmp_path / "one" / "name", "/env/file"),
    )
    script = """
    cat /root/.pyenv/versions/3.11.7/name "$PWD/name" inner/name /usr/src/mlvc-test/app/name /env/file
    ls /usr/bin/env
    """
    told = sandbox.sh(script, mounts=mounts, directory="/home/u/project with space")

    assert told == "onetwothreefourone/usr/bin/env\n"


def test_a_read_only_mount_stays_as_it_was(sandbox, tmp_path):
    """Neither its files nor its names can be changed, even inside a writable one."""
    (tmp_path / "project" / "data").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("as it was")
    mounts = (Mount(tmp_path / "project", "/p", writable=True), Mount(tmp_path / "data", "/p/data"))
    result, _ = sandbox.run(
        "sh", "-c", "rm -rf /p/data; echo x > /p/data/file; mv /p/data /p/other", mounts=mounts
    )

    assert result.exit_code != 0
    assert (tmp_path / "data" / "file").read_text() == "as it was"


def test_what_was_written_belongs_to_the_caller(sandbox, tmp_path):
    """The caller owns, reads and removes whatever the command left, and what was there keeps its owner."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "old").write_text("old")
    (project / "kept").write_text("kept")
    script = "cd /p; echo new > old; mkdir -p a/b; echo x > a/b/c; chmod 000 a/b/c; chmod 500 a/b; ln -s /etc/passwd l"
    result, log = sandbox.run("sh", "-c", script, mounts=(Mount(project, "/p", writable=True),))

    assert (result.exit_code, log.err) == (0, b"")
    owners = {os.lstat(os.path.join(at, name)).st_uid for at, d, f in os.walk(project) for name in [*d, *f]}
    assert {os.getuid()} == owners
    assert (project / "old").read_text() == "new\n"
    os.chmod(project / "a" / "b", 0o700)
    os.unlink(project / "a" / "b" / "c")


def test_hidden_paths_look_empty(sandbox, tmp_path):
    """A path below a mount can be hidden."""
    (tmp_path / "p" / ".venv").mkdir(parents=True)
    (tmp_path / "p" / ".venv" / "x").touch()

    assert (
        sandbox.sh("ls -A /p/.venv | wc -l", mounts=(Mount(tmp_path / "p", "/p"),), hide=("/p/.venv",))
        == "0\n"
    )


def test_cpus_are_obeyed(sandbox):
    """The command sees exactly the CPUs that it was given, and the caller keeps its own."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    _, log = sandbox.python("import os; print(os.sched_getaffinity(0))", cpus=(cpu,))

    assert str({cpu}).encode() == log.out.strip()
    assert before == os.sched_getaffinity(0)


def test_cpus_that_do_not_exist_are_refused(sandbox):
    """The engine says so instead of running on others."""
    with pytest.raises(EngineError, match="CPU"):
        sandbox.run("true", cpus=(4000,))


def test_memory_is_limited(sandbox):
    """A command that takes more than it may fails; one that takes less does not."""
    script = "x = bytearray({} << 20); x[::4096] = b'x' * len(x[::4096])"
    small, _ = sandbox.python(script.format(16), memory_mb=128)
    large, log = sandbox.python(script.format(400), memory_mb=128)

    assert small.exit_code == 0
    assert large.exit_code == 137 or b"MemoryError" in log.err
    assert large.out_of_memory == (sandbox.engine.name == "docker")


def test_a_time_limit_ends_the_command(sandbox):
    """It is killed with all that it started: who waited for one of the two would wait for an hour."""
    result, log = sandbox.run("sh", "-c", "echo begun; sleep 3600 & sleep 3600", timeout_s=1.5)

    assert (result.exit_code, log.out) == (137, b"begun\n")


def test_processes_left_behind_end_with_the_command(sandbox):
    """A background process that keeps the output open delays nothing, were it to run for an hour."""
    result, log = sandbox.run("sh", "-c", "sleep 3600 & echo done")

    assert (result.exit_code, log.out) == (0, b"done\n")


def test_an_interrupt_ends_the_command(sandbox, tmp_path):
    """KeyboardInterrupt in the caller leaves nothing running, and is passed on."""
    (tmp_path / "p").mkdir()
    execution = sandbox.execution(
        "sh",
        "-c",
        "while :; do date +%s%N > /p/beat; echo beat; sleep 0.1; done",
        mounts=(Mount(tmp_path / "p", "/p", writable=True),),
    )

    def log(data, *, is_error):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sandbox.engine.run(execution, log)
    before = (tmp_path / "p" / "beat").read_text()
    time.sleep(0.5)

    assert before == (tmp_path / "p" / "beat").read_text()


def test_several_may_run_at_once(sandbox):
    """Executions in different threads do not disturb each other."""
    told = {}

    def go(number):
        told[number] = sandbox.sh(f"sleep 0.3; echo {number}")

    threads = [threading.Thread(target=go, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {number: f"{number}\n" for number in range(3)} == told


def test_a_missing_mount_source_is_an_error(sandbox, tmp_path):
    """It is the engine that could not start, not the command that failed."""
    with pytest.raises(EngineError, match="nowhere"):
        sandbox.run("true", mounts=(Mount(tmp_path / "nowhere", "/x"),))


def test_the_python_in_use_runs_from_its_mount(sandbox):
    """An interpreter outside the system directories works at its own path, with its libraries."""
    _, log = sandbox.python("import ssl, sys; print(ssl and sys.version)")

    assert sys.version == log.out.decode().strip()
