"""What `mlvc doctor` sees in R scripts."""

import pytest

from mlvc.verbs.r_scripts import RLook, look_at_r


def told(places):
    return [(place.line, place.what) for place in places]


def test_calls_that_draw():
    """By any package's name, over lines; no method, no mention, no comment, no text."""
    look = look_at_r(
        b"""x <- rnorm(10)
y <- dplyr::slice_sample (df, n = 3)
# sample(1)
deck$sample(3); "runif(1)"; r"(rexp(1) "quoted")"; f <- sample; `rt(1)`
z <- base::sample(
  c(1e5, 2), size = 1L)
"""
    )

    assert [(1, "rnorm()"), (2, "slice_sample()"), (5, "sample()")] == told(look.draws)
    assert not look.is_seeding


@pytest.mark.parametrize(
    ("source", "is_seeding"),
    [
        ("set.seed(42)", True),
        ("base::set.seed(seed = args$seed, kind = 'default')", True),
        ("withr::with_seed(1, rnorm(2))", True),
        ("set.seed(NULL)", False),
        ("set.seed(as.integer(Sys.time()))", False),
        ("set.seed(1, kind = NULL)", True),
        ("# set.seed(1)", False),
        ("set.seed", False),
    ],
)
def test_seeds(source, is_seeding):
    """One of the clock or the process is another one each time."""
    assert is_seeding == look_at_r(source.encode()).is_seeding


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('read.csv("/data/x.csv", sep = ";")', 'read.csv("/data/x.csv")'),
        ("readr::read_csv(file = '~/x.csv')", 'read_csv("~/x.csv")'),
        (r'setwd("C:\\me")', r'setwd("C:\\me")'),
        ('readRDS(file.path("/mnt", name))', 'file.path("/mnt")'),
        ('source(r"(/shared/util.R)")', 'source("/shared/util.R")'),
        ('load("/a\x1b[31m%")', 'load("/a%1B[31m%25")'),
        ('read.csv("data/x.csv")', None),
        ('gsub("/a/b", "", x)', None),
        ("read.csv(path)", None),
        ('read.csv("https://example.org/x.csv")', None),
    ],
)
def test_absolute_paths(source, what):
    """Where something is read; a text elsewhere is none."""
    assert ([] if what is None else [(1, what)]) == told(look_at_r(source.encode()).paths)


def test_packages_that_a_script_installs():
    """By what is called, with its package where the name says little."""
    look = look_at_r(
        b'install.packages("x")\nremotes::install_github("a/b")\nBiocManager::install("c")\nmachine::install()'
    )

    assert [(1, "install.packages()"), (2, "install_github()"), (3, "install()")] == told(look.installs)


@pytest.mark.parametrize(
    "source",
    [
        b"\xff\x00 read.csv(",
        b'"' + b'\\"' * 300_000,
        b'"' + b'\\"' * 300_000 + b"\\",
        b'r"(' * 300_000,
        b"r'--" * 200_000,
        b"`" * 300_001,
        b"(" * 300_000,
        b"set.seed(" * 100_000,
    ],
)
def test_any_bytes(source):
    """Read once, whatever is never closed in it."""
    assert RLook(source.startswith(b"set.seed")) == look_at_r(source)
