"""The HTML report: one small page that a browser needs nothing else for, whatever its texts hold."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlvc.cli.html_report import as_html
from tests.support.answers import HOSTILE, answer, finding, output, place, run

VOID = {"meta", "br"}
OUR_TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "h2",
        "h3",
        "p",
        "section",
        "div",
        "br",
    ),
    *("span", "code", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("ul", "li", "dl", "dt", "dd", "strong", "svg", "desc", "g", "path", "rect", "text"),
}
OUR_ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "scope",
        "tabindex",
        "xmlns",
        "role",
        "id",
    ),
    *("viewbox", "width", "height", "aria-labelledby", "aria-describedby", "transform", "text-anchor"),
    *("x", "y", "rx", "d"),
}


class Page(HTMLParser):
    """A page as a browser takes it; every element must be closed where it was opened."""

    def __init__(self, told):
        super().__init__()
        self.document = as_html(told).decode()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(self.document)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append([tag, ""])

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        if self.open and self.texts[-1][0] == self.open[-1]:
            self.texts[-1][1] += data

    def handle_comment(self, data):
        raise AssertionError(data)

    def count(self, tag):
        return self.tags.count(tag)

    def of(self, tag):
        return [text for name, text in self.texts if name == tag]

    def pictures(self):
        return [
            ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", self.document, re.DOTALL)
        ]


def full(text):
    """An answer that holds a text wherever one comes from outside."""
    told = run(
        output(
            text, "different", text, [place(text, "numeric", norm=text, largest=text, dtype=text, total=4)]
        ),
        output(text + "2", "close", text, [place(text, "value", recorded=text, reproduced=text, rule=text)]),
        name=text,
        diagnosis=[finding(text, text), finding(text, text, status="confirmed", experiment=text)],
        inputs=[("in", 1)],
        extra_files=(text,),
        host={"cpu_model": text, "os": text},
    )
    told["record"]["inputs"][0]["path"] = text
    told["record"]["argv"] = [text]
    told["record"]["host"] = {"cpu_model": text}
    return answer(told, run(output("b"), verdict="identical", number=2))


def check_harmless(text):
    page, plain = Page(full(text)), Page(full("plain"))

    assert plain.tags == page.tags
    assert {name for name, _ in page.attributes} <= OUR_ATTRIBUTES
    assert set(page.tags) <= OUR_TAGS
    links = {value for _, value in page.attributes if value and "://" in value}
    assert links == {"http://www.w3.org/2000/svg"}
    assert all(char.isprintable() or char == "\n" for char in page.document)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_or_message_leaves_its_place(text):
    """The page has the same elements as with a plain text, only our attributes, and nothing that cannot be seen."""
    check_harmless(text)


@given(
    st.text(alphabet=st.sampled_from("<>\"'&;/=!-[]() \n\t\x00\x1b\u202e\ud800axs"), min_size=1, max_size=30)
)
def test_no_text_leaves_its_place(text):
    """The same for anything that is made of what means something."""
    check_harmless(text)


def test_page_asks_nothing_of_anybody():
    """No script, no link, no image, no font; and a policy that forbids them all."""
    page = Page(full("x"))

    assert not {"script", "link", "img", "iframe", "a", "form", "object"} & set(page.tags)
    policy = dict(page.attributes)["content"]
    assert [True, False] == [
        "default-src 'none'" in policy or "default-src 'none'" in page.document,
        "@import" in page.document or "url(" in page.document,
    ]


def test_verdict_comes_first_then_lineage_then_what_is_wrong():
    """The worst run stands above the others."""
    page = Page(
        answer(
            run(output("a"), verdict="identical", name="fine"),
            run(output("b", "different"), name="bad", number=2),
        )
    )

    assert ["different"] == [text for name, text in page.texts if name == "span"][:1]
    assert ["mlvc repro: "] == page.of("h1")
    headings = re.findall(r"<h2>(.*?)</h2>", page.document)
    assert "From code, data and environment to outputs" == headings[0]
    assert ["bad" in headings[1], "fine" in headings[2]] == [True, True]
    assert "1 of 2 runs gave identical outputs." in page.of("p")


def test_lineage_leads_from_code_data_and_environment_to_outputs():
    """One box for data that one run makes and another reads; a repetition of a run is the same run."""
    first = run(output("mid.csv"), verdict="identical", name="prepare", inputs=[("raw.csv", 1)], number=1)
    second = run(
        output("model.bin", "different"), name="train", inputs=[("mid.csv", 0), ("more.csv", 2)], number=2
    )
    page = Page(answer(first, second, second))
    (picture, *_) = page.pictures()

    boxes = sorted(
        item.find("{*}title").text
        for item in picture.iter("{http://www.w3.org/2000/svg}g")
        if item.get("text-anchor")
    )
    assert [
        "code 0123456789ab tree 030303030303",
        "data more.csv 020202020202",
        "data raw.csv 010101010101",
        "environment 040404040404",
        "output mid.csv identical",
        "output model.bin different",
        "run prepare identical",
        "run train different",
    ] == boxes
    edges = [item for item in picture.iter() if item.get("class") == "edge"]
    assert 3 + 1 + 4 + 1 == len(edges)
    table = re.search(r"The same as a table.*?</table>", page.document, re.DOTALL)[0]
    assert 1 + 9 == table.count("<tr>")


def test_every_picture_has_a_name_a_description_and_a_table():
    """Ids are used once in a page, and what a picture refers to is in it."""
    differences = [place(f"layer{n}", norm=f"1e-{n}", differing=n, total=10) for n in range(1, 5)]
    page = Page(answer(run(output("a", "close", "", differences), output("b", "close", "", differences))))

    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    pictures = page.pictures()
    assert 1 + 2 * 2 == len(pictures)
    for picture in pictures:
        assert picture.get("aria-labelledby") == picture.find("{*}title").get("id")
        assert picture.get("aria-describedby") == picture.find("{*}desc").get("id")
        assert picture.find("{*}title").text
        assert picture.find("{*}desc").text
    assert 2 == page.document.count("Places that differ, the gravest first")


@pytest.mark.parametrize(
    ("norm", "width"),
    [
        ("1", "320"),
        ("1e-8", "160"),
        ("0", "1"),
        ("1e-300", "1"),
        ("5e3", "320"),
        ("nan", "320"),
        ("inf", "320"),
        ("?", "320"),
    ],
)
def test_bars_are_on_a_logarithmic_scale(norm, width):
    """From 1e-16 to 1; what is no number is the worst."""
    page = Page(answer(run(output("a", "close", "", [place(norm=norm)]))))

    (bar,) = [item for item in page.pictures()[1].iter() if item.get("class") == "bar"]
    assert width == bar.get("width")


def test_page_stays_small():
    """However many runs, outputs, places, inputs and findings there are; what is left out is counted."""
    hostile = "<&\"'>" * 1000
    differences = [place(f"{n}{hostile}", recorded=hostile, norm="1", total=3) for n in range(100)]
    outputs = [
        output(f"{n}{hostile}", "different", hostile, differences if n < 20 else ()) for n in range(2_000)
    ]
    runs = [
        run(
            *outputs,
            name=hostile,
            diagnosis=[finding(hostile, hostile)] * 500,
            inputs=[(f"{n}", 1) for n in range(300)],
        ),
        *(run(*outputs[:50], number=number) for number in range(2, 60)),
    ]
    page = Page(answer(*runs))

    assert len(page.document) < 3_000_000
    for text in (
        "1,940 more outputs",
        "76 more places",
        "39 more runs",
        "488 more findings",
        "292 more inputs",
    ):
        assert text in page.document


def test_ten_thousand_equal_outputs_are_a_few_lines():
    """The usual case is small."""
    page = Page(answer(run(*[output(f"out/{n}.npy") for n in range(10_000)], verdict="identical")))

    assert len(page.document) < 40_000


def test_findings_say_how_sure_they_are():
    """Confirmed first, by which experiment; then likely; then what was not tested."""
    told = run(
        output("a", "different"),
        diagnosis=[
            finding("c", status="untested"),
            finding("b"),
            finding("a", status="confirmed", experiment="re-run 3 with one thread gave the recorded bytes"),
        ],
    )
    told["variations"] = [{"factor": "hash-seed", "verdict": "", "detail": "no time"}]
    page = Page(answer(told))

    headings = [text for text in page.of("h3") if not text.startswith(("Where", "How it was"))]
    assert [
        "What explains it, confirmed by an experiment",
        "What may explain it",
        "What was not tested",
        "How it behaves elsewhere",
    ] == headings
    assert "experiment: re-run 3 with one thread gave the recorded bytes" in page.document
    assert "<td>not tried</td>" in page.document


def test_run_without_outputs_says_how_the_command_ended():
    """There is nothing else to show."""
    page = Page(answer(run(verdict="failed"), verdict="failed"))

    assert "The run has no outputs; its command ended with 1." in page.of("p")
