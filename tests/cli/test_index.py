"""The index as a user meets it: on a server, without one, and while the server is away."""

import uuid

import psycopg
import pytest

from tests.support.postgres import PASSWORD

pytestmark = pytest.mark.postgres


@pytest.fixture
def shared(postgres_url, monkeypatch):
    """Every command asks a server."""
    monkeypatch.setenv("MLVC_INDEX_URL", postgres_url)
    return postgres_url


@pytest.fixture
def away(postgres_url, monkeypatch):
    """Every command asks a server that nobody answers at; returns its address without the password."""
    head, _, rest = postgres_url.rpartition("@")
    monkeypatch.setenv("MLVC_INDEX_URL", f"{head}@127.0.0.1:1/{rest.rpartition('/')[2]}")
    return f"postgresql://tester@127.0.0.1:1/{rest.rpartition('/')[2]}"


def test_a_server_answers_as_the_file_does(project, run_mlvc, postgres_url, monkeypatch):
    """Moving there is one command, and every question has the same answer."""
    run_mlvc(
        "run", "-n", "train", "-i", "data", "-o", "model", "--", "sh", "-c", "cat data/table.csv > model"
    )
    questions = [
        ("runs", "--json"),
        ("log", "--json"),
        ("lineage", "model", "--json"),
        ("show", "train", "--json"),
    ]
    before = [run_mlvc(*question).stdout for question in questions]
    monkeypatch.setenv("MLVC_INDEX_URL", postgres_url)

    moved = run_mlvc("index", "rebuild", "--json").json()

    assert moved["place"].startswith("postgresql://tester@127.0.0.1:")
    assert 1 == moved["tables"]["runs"]
    assert before == [run_mlvc(*question).stdout for question in questions]


def test_the_users_own_configuration_names_the_server(project, run_mlvc, postgres_url, home):
    """Not mlvc.toml, which may come from a stranger: there the setting is read and has no effect."""
    with (project / "mlvc.toml").open("a") as file:
        file.write('\n[index]\nurl = "postgresql://stranger@203.0.113.1/x"\n')
    assert run_mlvc("index", "show", "--json").json()["place"].endswith("index.db")
    (home / ".config" / "mlvc").mkdir(parents=True)
    (home / ".config" / "mlvc" / "config.toml").write_text(f'[index]\nurl = "{postgres_url}"\n')

    assert run_mlvc("index", "show", "--json").json()["place"].startswith("postgresql://tester@")


def test_no_work_waits_for_a_server(project, run_mlvc, away, monkeypatch, postgres_url):
    """Data is added, committed, checked out and used; then the objects catch the index up."""
    (project / "data" / "table.csv").write_text("new\n")
    run_mlvc("add", "data")
    committed = run_mlvc("commit", "-m", "second")
    run_mlvc("run", "--cached", "-i", "data", "-o", "model", "--", "cp", "data/table.csv", "model")
    run_mlvc("commit", "-m", "third")
    run_mlvc("checkout", "HEAD~2")
    run_mlvc("checkout", "main")

    assert f"the index {away} cannot be reached" in committed.stderr
    monkeypatch.setenv("MLVC_INDEX_URL", postgres_url)
    first, second, _ = run_mlvc("log", "--json").json()["commits"][::-1]
    assert [first["id"]] == run_mlvc("show", second["id"], "--json").json()["parents"]
    assert 1 == len(run_mlvc("runs", "--json").json()["runs"])


@pytest.mark.parametrize(
    "question", [["runs"], ["log"], ["lineage", "data"], ["index", "show"], ["index", "rebuild"]]
)
def test_a_question_to_a_server_that_is_away(project, run_mlvc, away, question):
    """Is an error with the way out, never half an answer, and shows no password."""
    done = run_mlvc(*question, check=2)

    assert f"the index {away} cannot be reached" in done.stderr
    assert "" == done.stdout
    assert PASSWORD not in done.stderr
    assert "MLVC_INDEX_URL" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace("tester:", "nobody:"), "cannot be reached"),
        (lambda url: url + "-missing", "cannot be reached"),
        (lambda url: url.replace("postgresql://", "mysql://"), "does not begin with postgresql://"),
        (lambda url: url.replace("@127.0.0.1:", "@127.0.0.1:x"), "cannot be read"),
        # Typed as it is, a password that holds an `@` would end there, and the rest be the server's name.
        (lambda url: url.replace("%40", "@"), "cannot be read"),
        (lambda url: url + "?sslmode=nonsense", "sslmode"),
        (lambda url: url + "?nonsense=1", "nonsense"),
    ],
)
def test_an_address_that_is_wrong(project, run_mlvc, shared, monkeypatch, change, said):
    """Each mistake is told, and the password in none of its forms."""
    monkeypatch.setenv("MLVC_INDEX_URL", change(shared))

    done = run_mlvc("runs", "-v", check=2)

    assert said in done.stderr
    for secret in (PASSWORD, "s3cret", "p%40ss", "ss%25word", "ss%word"):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("done_to_it", "said", "hint"),
    [
        (
            "UPDATE alembic_version SET version_num = '9999'",
            "does not know version '9999'",
            "the others have",
        ),
        ("DROP TABLE metrics", 'relation "metrics" does not exist', "name an empty database"),
        ("ALTER TABLE runs DROP COLUMN plan", "plan", "name an empty database"),
    ],
    ids=["newer", "table", "column"],
)
def test_a_server_with_another_schema(
    project, run_mlvc, shared, monkeypatch, postgres_server, done_to_it, said, hint
):
    """It is refused and left as it is, also by a rebuild; the ways out lead on."""
    run_mlvc("run", "-n", "train", "-i", "data", "-o", "model", "--", "cp", "data/table.csv", "model")
    before = run_mlvc("runs", "--json").stdout
    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute(done_to_it)

    for question in (["runs"], ["index", "rebuild"]):
        done = run_mlvc(*question, check=2)
        assert said in done.stderr
        assert hint in done.stderr
        assert PASSWORD not in done.stderr
    committed = run_mlvc(
        "commit", "-m", "a model"
    )  # Which asks for nothing that is missing, or does without.
    assert ("9999" in said) == ("the next question catches it up" in committed.stderr)
    monkeypatch.setenv("MLVC_INDEX_URL", postgres_server.url(f"empty-{uuid.uuid4().hex[:12]}"))
    assert before == run_mlvc("runs", "--json").stdout
    monkeypatch.delenv("MLVC_INDEX_URL")
    assert before == run_mlvc("runs", "--json").stdout
