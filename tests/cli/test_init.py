"""`mlvc init` as a user runs it."""

import tomllib


def test_init_writes_two_files_and_nothing_else_in_the_work_tree(git_repo, run_mlvc, git):
    """mlvc.toml and mlvc.lock are all that appears; the store is inside the git directory."""
    answer = run_mlvc("init", "--json").json()

    assert ["mlvc.toml", "mlvc.lock"] == answer["created"]
    assert "?? mlvc.lock\n?? mlvc.toml\n" == git("status", "--short")
    assert (git_repo / ".git" / "mlvc" / "store" / "format").is_file()
    assert answer["project_id"] == tomllib.loads((git_repo / "mlvc.toml").read_text())["project"]["id"]


def test_second_init_changes_nothing(project, run_mlvc):
    """Settings and lock stay byte for byte."""
    before = [(project / name).read_bytes() for name in ("mlvc.toml", "mlvc.lock")]

    assert [] == run_mlvc("init", "--json").json()["created"]
    assert before == [(project / name).read_bytes() for name in ("mlvc.toml", "mlvc.lock")]


def test_files_that_only_head_has(project, run_mlvc, git):
    """As after `git clone --no-checkout`: a new project would forget what is tracked, so git is to bring them."""
    lock = (project / "mlvc.lock").read_bytes()
    for name in ("mlvc.toml", "mlvc.lock"):
        (project / name).unlink()

    for command in ("init", "status"):
        error = run_mlvc(command, "--json", check=2).json()["error"]
        assert "not-initialised" == error["code"]
        assert "git checkout HEAD -- mlvc.toml mlvc.lock" == error["hint"]
    git(*error["hint"].split()[1:])
    assert lock == (project / "mlvc.lock").read_bytes()
    (project / "mlvc.lock").unlink()
    assert "git checkout HEAD -- mlvc.lock" == run_mlvc("init", "--json", check=2).json()["error"]["hint"]
    run_mlvc("status")


def test_init_outside_git_says_what_to_do(tmp_path, run_mlvc):
    """Exit 2 and a hint; nothing is written."""
    result = run_mlvc("init", cwd=tmp_path, check=2)

    assert "" == result.stdout
    assert "not in a git repository" in result.stderr
    assert "hint: " in result.stderr
    assert not (tmp_path / "mlvc.toml").exists()


def test_init_git_makes_the_repository(tmp_path, run_mlvc):
    """`--git` runs `git init` first."""
    folder = tmp_path / "new"
    folder.mkdir()

    run_mlvc("init", "--git", cwd=folder)

    assert (folder / ".git").is_dir()
    assert (folder / "mlvc.lock").is_file()


def test_every_command_wants_an_initialised_repository(git_repo, run_mlvc):
    """Without mlvc.toml the error names the next step."""
    result = run_mlvc("status", "--json", check=2).json()

    assert "not-initialised" == result["error"]["code"]
    assert "mlvc init" in result["error"]["hint"]
