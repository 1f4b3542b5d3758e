"""What is said where the engine `none` cannot execute a command."""

import pytest

from mlvc.engines.host import HostEngine
from mlvc.ports import Execution


@pytest.fixture
def answer(tmp_path):
    """Runs a program in a directory with a script and a broken script; returns the exit status and what it printed."""

    def run(program):
        (tmp_path / "train.py").write_text("print(1)\n")
        broken = tmp_path / "broken.sh"
        broken.write_text("#!/no/such/interpreter\n")
        broken.chmod(0o755)
        told = []

        def log(data, *, is_error):
            assert is_error
            told.append(data)

        execution = Execution((program.encode(),), str(tmp_path), {"PATH": "/usr/bin:/bin"})
        result = HostEngine().run(execution, log)
        return result.exit_code, b"".join(told).decode()

    return run


@pytest.mark.parametrize(
    ("program", "status", "reason", "hint"),
    [
        ("nope", 127, "No such file or directory", "it is not on the PATH"),
        ("./nope", 127, "No such file or directory", "look for a typing error"),
        (
            "train.py",
            127,
            "No such file or directory",
            "it lies here and is not on the PATH: write ./train.py, or name what runs it, as in `python train.py`",
        ),
        (
            "./train.py",
            126,
            "Permission denied",
            "`chmod +x` it, or name what runs it, as in `python ./train.py`",
        ),
        (
            "./broken.sh",
            127,
            "No such file or directory",
            "its first line names an interpreter that is not here",
        ),
    ],
)
def test_what_cannot_be_executed_is_told_with_the_next_step(answer, program, status, reason, hint):
    """Two lines: what and why, and what to write instead; the status is the one that a shell gives."""
    assert (status, f"mlvc: cannot execute {program}: {reason}\nhint: {hint}\n") == answer(program)
