"""Reports of a reproduction, without a repository. GitHub's own renderer reads the Markdown."""

import json
from html.parser import HTMLParser

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given
from hypothesis import strategies as st

from mlvc.cli.github import annotate
from mlvc.cli.markdown import as_markdown
from mlvc.cli.report import check_report_name, write_report
from mlvc.errors import UsageError
from mlvc.fsio import FileUnreadableError
from mlvc.model.ids import RunId
from mlvc.verbs.upstream import Unproven
from tests.support.answers import HOSTILE, answer, finding, missed, output, place, run
from tests.support.junit import read_junit

EXTENSIONS = ["table", "autolink", "strikethrough", "tasklist"]
OUR_TAGS = {"h2", "h3", "p", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """What a reader sees: every tag with its attributes, and the text of each element."""

    def __init__(self, document):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        html = cmarkgfm.markdown_to_html_with_extensions(
            document.decode(), Options.CMARK_OPT_UNSAFE, extensions=EXTENSIONS
        )
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))
        self.open.append(tag)
        self.texts.append((tag, ""))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.texts[-1][0] == self.open[-1]:
            self.texts[-1] = (self.open[-1], self.texts[-1][1] + data)

    def handle_comment(self, data):
        self.tags.append(("comment", data))

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)

    def of(self, tag):
        return [text for name, text in self.texts if name == tag]


def test_junit_report_has_a_case_for_each_output(tmp_path):
    """A failure for each that is not identical, with detail, causes and the line that fixes it."""
    write_report(
        tmp_path / "v.xml",
        answer(run(output("a"), output("b <&>", "different", "3 of 5 lines"), diagnosis=[finding()])),
    )

    (suite,) = read_junit(tmp_path / "v.xml")

    assert ("train", "2", "1", "1.500") == tuple(
        suite.get(key) for key in ("name", "tests", "failures", "time")
    )
    same, other = suite
    assert ("a", []) == (same.get("name"), list(same))
    assert ("b <&>", "different") == (other.get("name"), other[0].get("message"))
    told = "3 of 5 lines\nnondeterminism: two runs disagree\nfix: mlvc run --seed 0 -- true"
    assert told == other[0].text


def test_junit_says_when_and_how_long(tmp_path):
    """The time of the command is shared by its outputs, because readers add it up."""
    told = run(output("a"), output("b"), verdict="identical", started="2026-01-02T03:04:05.678901+00:00")
    write_report(tmp_path / "v.xml", answer(told))

    root = read_junit(tmp_path / "v.xml")
    assert ("2", "0", "0", "1.500") == tuple(root.get(key) for key in ("tests", "failures", "errors", "time"))
    assert "2026-01-02T03:04:05" == root[0].get("timestamp")
    assert ["0.750", "0.750"] == [case.get("time") for case in root[0]]


def test_junit_of_a_run_without_outputs(tmp_path):
    """A suite without cases would count as one that was not run."""
    write_report(tmp_path / "v.xml", answer(run(verdict="identical")))

    (suite,) = read_junit(tmp_path / "v.xml")
    assert [("(command)", [])] == [(case.get("name"), list(case)) for case in suite]


def test_junit_fails_only_what_was_not_accepted(tmp_path):
    """As the exit status does; what is not identical and good enough says so in its case."""
    told = run(output("a"), output("b", "equivalent", "header"), verdict="equivalent")
    worse = run(output("c", "close"), output("d", "different"), verdict="different", number=2)
    write_report(tmp_path / "v.xml", answer(told, worse, accept="equivalent"))

    first, second = read_junit(tmp_path / "v.xml")

    assert ("0", "2") == (first.get("failures"), second.get("failures"))
    assert [[], ["system-out"]] == [[item.tag for item in case] for case in first]
    assert "equivalent, as good as --accept asks: header" == first[1][0].text
    assert [["failure"], ["failure"]] == [[item.tag for item in case] for case in second]


@pytest.mark.parametrize("outputs", [[], [output("a")]], ids=["no outputs", "all outputs identical"])
def test_junit_shows_a_failed_command_whose_outputs_tell_nothing(tmp_path, outputs):
    """A suite without a failure would be green."""
    write_report(tmp_path / "v.xml", answer(run(*outputs, verdict="failed"), verdict="failed"))

    (suite,) = read_junit(tmp_path / "v.xml")

    assert (str(len(outputs) + 1), "1") == (suite.get("tests"), suite.get("failures"))
    assert ("(command)", "failed", "exit 1\n") == (
        suite[-1].get("name"),
        suite[-1][0].get("message"),
        suite[-1][0].text + "\n",
    )


def test_every_report_says_what_a_run_stands_on_and_what_was_not_executed(tmp_path):
    """What was not reproduced upstream is no verdict on the run, and still the reader's business."""
    stands = run(
        output("a"), verdict="identical", unproven=[Unproven("mid.csv", RunId(b"\x01" * 32), "different")]
    )
    told = answer(stands, missed=[missed("too few CPUs <&>", name=None)])
    for name in ("v.xml", "v.md", "v.html"):
        write_report(tmp_path / name, told)

    root = read_junit(tmp_path / "v.xml")
    error = root.find(".//error")
    assert ("too-few-cpus", "too few CPUs <&>") == (error.get("message"), error.text)
    for name, message in (("v.md", "too few CPUs <&>"), ("v.html", "too few CPUs &lt;&amp;&gt;")):
        text = (tmp_path / name).read_text()
        assert message in text
        assert "mid.csv" in text
        assert "010101010101" in text
    (line,) = annotate(told)
    assert "::error title=mlvc repro::run 000000000000 could not be executed: too few CPUs <&>" == line


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_can_be_parsed_whatever_a_name_or_message_holds(tmp_path, text):
    """XML has no form for some characters."""
    write_report(
        tmp_path / "v.xml",
        answer(
            run(output(text, "different", text), name=text, diagnosis=[finding(text, text)], started=text)
        ),
    )

    assert 1 == len(read_junit(tmp_path / "v.xml"))


def test_every_report_names_the_places_that_differ(tmp_path):
    """With what was measured of each, and the rule that ignores it."""
    measured = place(
        differing=12, total=512, norm="3.1e-07", largest="0.002", ulps=4, recorded="0.5", reproduced="0.25"
    )
    ignored = place("$._stop_words_id", "value", rule="sklearn.stop-words-id")
    told = answer(run(output("m.bin", "different", "2 places", [measured, ignored])))
    for name in ("v.xml", "v.md", "v.json", "v.html"):
        write_report(tmp_path / name, told)

    failure = read_junit(tmp_path / "v.xml").find(".//failure").text
    assert [
        "2 places",
        "  layer1.weight: numeric, 0.5 -> 0.25, 12 of 512 elements, norm-wise 3.1e-07, largest 0.002, 4 ulp",
        "  $._stop_words_id: value, ignored by sklearn.stop-words-id",
    ] == failure.splitlines()
    for name in ("v.md", "v.html"):
        text = (tmp_path / name).read_text()
        for fact in ("layer1.weight", "3.1e-07", "0.002", "0.25", "512", "sklearn.stop-words-id"):
            assert fact in text, (name, fact)
    (item,) = json.loads((tmp_path / "v.json").read_text())["runs"]
    assert 512 == item["outputs"][0]["differences"][0]["total"]
    assert "0123456789abcdef" == item["record"]["code"]["sha"]


def test_markdown_has_the_verdict_first_then_the_table_then_the_fix():
    """What is wrong stands above what is right."""
    page = Page(
        as_markdown(
            answer(
                run(output("a"), output("b", "different", "3 of 5 lines"), diagnosis=[finding()]),
                run(output("c"), verdict="identical", name=None, number=1 << 250),
            )
        )
    )

    assert ["mlvc repro: different"] == page.of("h2")
    assert ["1 of 2 runs gave identical outputs."] == page.of("p")
    shown = page.of("code")
    assert ["train", "b", "000000000000", "3 of 5 lines"] == shown[:4]
    assert ["train", "two runs disagree", "mlvc run --seed 0 -- true"] == shown[-3:]
    assert "040000000000" in shown
    assert ["h2", "p", "table"] == [name for name, _ in page.tags if name in {"h2", "p", "table"}][:3]


def test_markdown_of_runs_without_outputs_has_no_table():
    """Only the verdict."""
    page = Page(as_markdown(answer(run(verdict="identical"), verdict="identical")))

    assert {"h2", "p"} == {name for name, _ in page.tags}


def check_harmless(text):
    page = Page(
        as_markdown(
            answer(
                run(
                    output(text, "different", text, [place(text, recorded=text, reproduced=text, rule=text)]),
                    name=text,
                    diagnosis=[finding(text, text), finding()],
                )
            )
        )
    )

    assert OUR_TAGS >= {name for name, _ in page.tags}, page.tags
    assert not [attributes for _, attributes in page.tags if attributes]
    # Headings and the output in six cells, headings and the place in eight; one finding with a fix below the other.
    assert (4, 6 + 8, 6 + 8) == (page.count("tr"), page.count("th"), page.count("td"))
    assert 4 == page.count("li")
    # Run, output, id and detail; run, output, place, two values and the rule; run, detail and fix of each finding.
    assert 4 + 6 + 2 * 3 == page.count("code")
    assert "mlvc run --seed 0 -- true" == page.of("code")[-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_or_message_leaves_its_place_in_the_markdown(text):
    """Neither the cell nor the line, as GitHub renders it; no link, no HTML, no comment."""
    check_harmless(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_word_of_a_stored_verdict_leaves_its_place_in_the_markdown(text):
    """What is one of a few words here may be anything in a verdict that somebody else pushed."""
    told = run(
        output("a", "different", "b", [place("c", text)]),
        diagnosis=[finding(cause=text), finding(status=text)],
    )
    page = Page(as_markdown(answer(told)))

    assert OUR_TAGS >= {name for name, _ in page.tags}, page.tags
    assert not [attributes for _, attributes in page.tags if attributes]
    assert (4, 6 + 8, 6 + 8, 4) == tuple(page.count(tag) for tag in ("tr", "th", "td", "li"))


@given(
    st.text(
        alphabet=st.sampled_from("`|\\<>[]()!*_~:@#&;-=/ \n\r\tahttpsw.\u2028\x00"), min_size=1, max_size=40
    )
)
def test_no_text_leaves_its_place_in_the_markdown(text):
    """The same for anything that is made of what means something."""
    check_harmless(text)


def test_markdown_fits_into_a_comment():
    """However many outputs and findings there are; what is left out is said."""
    hostile = "`" * 5000
    many = [output(f"{number}{hostile}", "different", hostile) for number in range(300)]
    document = as_markdown(
        answer(run(*many, name=hostile, diagnosis=[finding(hostile, hostile) for _ in range(300)]))
    ).decode()

    assert len(document) < 65_536
    assert "Cut off here" in document
    short = as_markdown(answer(run(*[output(str(number)) for number in range(300)])))
    assert "220 outputs more" in short.decode()


@pytest.mark.parametrize("name", ["v.pdf", "v", ".md", "v.MD"])
def test_report_of_an_unknown_kind_is_refused_before_anything_runs(tmp_path, name):
    """The extension tells the format."""
    with pytest.raises(UsageError, match="unknown kind of report") as refused:
        check_report_name(tmp_path / name)

    assert "use one of .html, .json, .md, .xml" == refused.value.hint


def test_report_into_no_directory_is_refused_before_anything_runs(tmp_path):
    """A reproduction may take hours."""
    with pytest.raises(UsageError, match=r"missing/v\.md"):
        check_report_name(tmp_path / "missing" / "v.md")


def test_report_that_cannot_be_written_is_one_error(tmp_path):
    """A directory stands in its place."""
    (tmp_path / "v.md").mkdir()

    with pytest.raises(FileUnreadableError, match=r"v\.md"):
        write_report(tmp_path / "v.md", answer())
