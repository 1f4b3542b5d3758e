"""A page for a browser or a printer: one file, without a script, that asks nothing of the network.

Its policy forbids both, whatever stands in it. Texts may be foreign: `text` and `code` make them visible, shorten and
escape them, and nothing else may bring them in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from mlvc.cli.drawing import STYLE
from mlvc.cli.render import visible

__all__ = ["code", "figure", "page", "table", "text"]

_LONGEST_CELL = 120
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #59636e; --line: #d1d9e0; --paper: #ffffff;
  --good: #1a7f37; --fair: #9a6700; --bad: #c21c2c; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.5rem; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
code, dd { overflow-wrap: anywhere; } code { font-size: 0.9em; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); }
.faint, caption, figcaption { color: var(--faint); }
table { border-collapse: collapse; margin: 0.75rem 0; font-size: 0.9rem; }
caption { text-align: left; padding-bottom: 0.25rem; }
th, td { border: 1px solid var(--line); padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; }
dt { color: var(--faint); } dd { margin: 0; }
figure { margin: 1rem 0; min-width: 0; } .row { display: flex; flex-wrap: wrap; gap: 0 2rem; }
.scroll { overflow-x: auto; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --paper: #0d1117;
    --good: #3fb950; --fair: #d29922; --bad: #ff7b72; }
}
@media print {
  main { max-width: none; padding: 0; } body, table { font-size: 10px; }
  .scroll { overflow: visible; } svg { max-width: 100%; height: auto; }
  figure, tr, li { break-inside: avoid; } h2, h3, caption { break-after: avoid; }
}
"""


def page(title: str, heading: str, body: Iterable[str]) -> Iterator[str]:
    """Yields the lines of a page; all three are HTML already, and the title plain text of it."""
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{_STYLE}{STYLE}</style>\n</head>"
    yield f"<body>\n<main>\n<h1>{heading}</h1>"
    yield from body
    yield "</main>\n</body>\n</html>"


def text(shown: str, longest: int = _LONGEST_CELL) -> str:
    """Returns a text as HTML, in one line of bounded length."""
    return escape(visible(shown, longest))


def code(shown: str, longest: int = _LONGEST_CELL) -> str:
    """Returns what stands as it is typed; nothing for an empty text."""
    return f"<code>{text(shown, longest)}</code>" if shown else ""


def figure(picture: str, caption: str) -> str:
    """Returns a picture that scrolls where it is wide; both are HTML already."""
    return (
        f'<figure><div class="scroll" tabindex="0">{picture}</div><figcaption>{caption}</figcaption></figure>'
    )


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table whose first column names its rows; cells are HTML already."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f"<table><caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
