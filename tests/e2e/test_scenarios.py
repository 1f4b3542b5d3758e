"""What really breaks reproducibility, with real libraries: each gives its verdict and names its cause.

The table of docs/guides/reproducibility.md, "The causes". Small scripts without a framework: `test_diagnose.py`.
"""

import contextlib
import os

import pytest

from tests.support.training import Training, confirmed

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.sandbox,
    pytest.mark.training,
    pytest.mark.timeout(900),
]

DATA = """\
import joblib, numpy as np
draw = np.random.default_rng(1)
x = draw.standard_normal((400, 60))
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
"""


@pytest.fixture
def training(frameworks_repository, frameworks_python, tmp_path):
    return Training(frameworks_repository, tmp_path / "work", frameworks_python)


@contextlib.contextmanager
def one_cpu():
    """Lets what is started meanwhile use a single CPU, as a container that is pinned to one does."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def two_cpus():
    return len(os.sched_getaffinity(0)) >= 2


needs_two = pytest.mark.skipif(not two_cpus(), reason="NOT TESTED: there is only one CPU here")


def details(found, cause):
    return " ".join(item["detail"] for item in found["diagnosis"] if item["cause"] == cause)


def test_an_address_in_a_vectorizer(training):
    """`equivalent`: scikit-learn keeps the address of the list of stop words."""
    run = training.record(
        "import joblib\nfrom sklearn.feature_extraction.text import TfidfVectorizer\n"
        "made = TfidfVectorizer(stop_words=['a', 'the']).fit(['a quick brown fox', 'the lazy dog'])\n"
        "joblib.dump(made, 'model.joblib')\n",
        outputs=("model.joblib",),
    )

    found = training.why(run)

    assert "equivalent" == found["verdict"]
    assert "_stop_words_id" in details(found, "container-format")
    assert "memory address" in details(found, "container-format")


@needs_two
def test_a_number_of_threads_in_a_model(training):
    """`equivalent`: boosted trees keep it, and are the same trees."""
    script = DATA + (
        "from sklearn.ensemble import HistGradientBoostingClassifier\n"
        "made = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, y)\n"
        "joblib.dump(made, 'model.joblib')\n"
    )
    one = training.record(script, "--threads", "1", outputs=("model.joblib",))
    two = training.record(script, "--threads", "2", outputs=("model.joblib",))

    found = training.why(one, "--against", two)

    assert ("equivalent", ["threads"]) == (found["verdict"], confirmed(found))
    assert "n_threads" in details(found, "container-format")


@needs_two
def test_fewer_cpus_than_there_are_now(training):
    """`close`: OpenBLAS uses as many threads as there are CPUs; `strict` refuses to pin more than that."""
    script = DATA.replace("(400, 60)", "(2000, 300)") + (
        "from sklearn.decomposition import PCA\njoblib.dump(PCA(20, svd_solver='full').fit(x), 'model.joblib')\n"
    )
    with one_cpu():
        run = training.record(script, "--profile", "none", outputs=("model.joblib",))

    found = training.why(run)

    assert ("close", ["threads"]) == (found["verdict"], confirmed(found))
    assert "could use 1 CPU when it was recorded, and 2 now" in details(found, "threads")


def test_a_kernel_that_was_chosen_in_the_shell(training):
    """`close`: with the variable put back, the recorded bytes come again."""
    script = DATA + (
        "from sklearn.linear_model import LogisticRegression\n"
        "joblib.dump(LogisticRegression(max_iter=50).fit(x, y), 'model.joblib')\n"
    )
    chosen = {"OPENBLAS_CORETYPE": "Nehalem"}
    run = training.record(script, outputs=("model.joblib",), env=chosen)

    as_it_was = training.why(run, check=0, env={"OPENBLAS_CORETYPE": None})
    found = training.why(run, "--against", "work", env={"OPENBLAS_CORETYPE": None})

    assert "identical" == as_it_was["verdict"]
    assert ("close", ["numeric-libraries"]) == (found["verdict"], confirmed(found))
    assert "OPENBLAS_CORETYPE was Nehalem" in details(found, "numeric-libraries")


def test_an_unseeded_forest(training):
    """`different`, and with the generators seeded it repeats."""
    run = training.record(
        DATA + "from sklearn.ensemble import RandomForestClassifier\n"
        "joblib.dump(RandomForestClassifier(n_estimators=5).fit(x, y), 'model.joblib')\n",
        outputs=("model.joblib",),
    )

    found = training.why(run)

    assert ("different", ["unseeded-random"]) == (found["verdict"], confirmed(found))
    assert "--seed 0" in found["diagnosis"][0]["fix"]


def test_a_vocabulary_from_a_set(training):
    """`different`: words have other columns."""
    run = training.record(
        "import joblib\nfrom sklearn.feature_extraction.text import CountVectorizer\n"
        "words = list({'quick', 'brown', 'fox', 'jumps', 'over', 'the', 'lazy', 'dog'})\n"
        "made = CountVectorizer(vocabulary={w: i for i, w in enumerate(words)})\n"
        "joblib.dump(made.fit_transform(['the quick brown fox', 'lazy dog']).toarray(), 'counts.joblib')\n",
        *("--profile", "none"),
        outputs=("counts.joblib",),
    )

    found = training.why(run)

    assert ("different", ["hash-seed"]) == (found["verdict"], confirmed(found))


def test_a_checkpoint_saved_under_another_name(training):
    """`equivalent`: torch writes the name of the file into the archive."""
    script = (
        "import os, torch\ntorch.manual_seed(0)\nlayer = torch.nn.Linear(4, 2)\n"
        "torch.save(layer.state_dict(), '{name}')\nos.replace('{name}', 'final.pt')\n"
    )
    run = training.record(script.format(name="first.pt"), outputs=("final.pt",))
    (training.folder / "train.py").write_text(script.format(name="second.pt"))

    found = training.why(run, "--against", "work")

    assert ("equivalent", ["code"]) == (found["verdict"], confirmed(found))
    assert "name of the file that was saved" in details(found, "container-format")


@needs_two
def test_an_operation_whose_threads_race(training):
    """`close`: sums come in whatever order; deterministic algorithms cure it."""
    run = training.record(
        "import torch\ntorch.manual_seed(0)\n"
        "sums = torch.zeros(50)\n"
        "for _ in range(20):\n"
        "    sums.put_(torch.randint(0, 50, (200_000,)), torch.randn(200_000), accumulate=True)\n"
        "torch.save(sums, 'sums.pt')\n",
        *("--profile", "none"),
        outputs=("sums.pt",),
    )

    found = training.why(run)

    assert ("close", ["nondeterministic-operation"]) == (found["verdict"], confirmed(found))
    assert "--profile strict" in found["diagnosis"][0]["fix"]


def test_the_order_of_a_directory(training):
    """`close`: a sum of numbers read file by file, which varying the order shows."""
    (training.folder / "data").mkdir()
    for number in range(40):
        (training.folder / "data" / f"{number}.txt").write_text(repr(1.1**number))
    run = training.record(
        "import os, numpy as np\n"
        "parts = [np.float64(open('data/' + name).read()) for name in os.listdir('data')]\n"
        "total = np.float64(0)\nfor part in parts: total += part\n"
        "np.save('total.npy', np.array([total]))\n",
        *("-i", "data"),
        outputs=("total.npy",),
    )

    found = training.why(run, "--vary", "order")

    assert [("order", "close")] == [(item["factor"], item["verdict"]) for item in found["variations"]]


@pytest.mark.parametrize("framework", ["sklearn", "xgboost", "lightgbm", "torch"])
@pytest.mark.parametrize("threads", [pytest.param(1), pytest.param(2, marks=needs_two)])
def test_a_model_is_identical_three_times(training, root, framework, threads):
    """In each of its formats, on one thread and on two, under `strict`."""
    script = (root / "tests" / "e2e" / "models" / f"{framework}.py").read_text()
    outputs = tuple(line.removeprefix("# ") for line in script.splitlines() if line.startswith("# models/"))
    run = training.record(script, "--threads", str(threads), outputs=outputs)

    answer = training.run(
        "repro", run, "--engine", "bubblewrap", "--times", "3", "--json", timeout_s=900
    ).json()

    assert [["identical"] * len(outputs)] * 3 == [
        [output["verdict"] for output in item["outputs"]] for item in answer["runs"]
    ]
    assert len(outputs) >= 3


@needs_two
def test_the_step_at_which_torch_parts(training):
    """The program shuffles with a generator of its own: `mlvc.step` has noted that the batch was another one first."""
    script = """\
import mlvc, torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)).to(torch.bfloat16)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
x = torch.randn(256, 8, dtype=torch.bfloat16)
data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
draw = torch.Generator()
draw.{seed}()
loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, generator=draw)
mlvc.step(0, model={{"model": model, "optimizer": optimizer}})
for number, batch in enumerate(loader, 1):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    mlvc.step(number, model={{"model": model, "optimizer": optimizer}}, batch=batch, loss=loss)
torch.save(model.state_dict(), "model.pt")
"""
    run = training.record(script.format(seed="seed"), outputs=("model.pt",))

    found = training.why(run, "--budget", "0")

    assert "at step 1 (step 0 is the same)" in details(found, "data-order")

    run = training.record(script.format(seed="initial_seed"), outputs=("model.pt",))

    assert "identical" == training.run("repro", run, "--engine", "bubblewrap", "--json").json()["verdict"]
