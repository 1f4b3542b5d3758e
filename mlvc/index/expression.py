"""The language of `mlvc runs --where`: a text becomes a tree of comparisons. Pure; knows no SQL.

    metrics.mae < 11 and (params.depth in (4, 6) or not env.pandas < '1.1')

Page: docs/reference/expressions.md
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any, Literal, cast

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError

from mlvc.errors import UsageError

__all__ = [
    "FIELDS",
    "All",
    "Any_",
    "Comparison",
    "Expression",
    "ExpressionError",
    "Field",
    "Not",
    "Value",
    "parse_expression",
    "parse_field",
]

Value = str | float | bool
Kind = Literal["text", "number", "id", "truth", "time", "version", "value", "data"]
_LONGEST = 100_000
_MOST_COMPARISONS = 200
"""SQLite takes expressions that are 1,000 deep; nobody types so many."""

FIELDS: dict[str, Kind] = {
    "id": "id",
    "plan": "id",
    "name": "text",
    "status": "text",
    "exit_code": "number",
    "started": "time",
    "duration_ms": "number",
    "profile": "text",
    "threads": "number",
    "seed": "number",
    "engine": "text",
    "directory": "text",
    "author": "text",
    "verdict": "text",
    "python": "version",
    "environment": "id",
    "code.sha": "id",
    "code.tree": "id",
    "code.dirty": "truth",
    "input": "data",
    "output": "data",
}
"""Each field that has no name of the user's in it, with how it compares."""

_NAMED: dict[str, Kind] = {"params": "value", "metrics": "value", "env": "version"}

_GRAMMAR = r"""
start: either
either: both (_OR both)*
both: term (_AND term)*
?term: _NOT term -> negation
     | "(" either ")"
     | comparison
comparison: FIELD OPERATOR value
          | FIELD _IN "(" value ("," value)* ")" -> membership
value: NUMBER -> number
     | TEXT   -> text
     | TRUTH  -> truth

_OR.2: /or\b/i
_AND.2: /and\b/i
_NOT.2: /not\b/i
_IN.2: /in\b/i
TRUTH.2: /(true|false)\b/i
FIELD: /[A-Za-z_]\w*(\.([\w-]+|"([^"]|"")*"))*/
OPERATOR: "==" | "!=" | "<=" | ">=" | "=" | "<" | ">"
NUMBER: /[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?/
TEXT: /'([^']|'')*'/s | /"([^"]|"")*"/s
%ignore /\s+/
"""


class ExpressionError(UsageError):
    """An expression that cannot be read, or compares what cannot be compared."""

    code = "bad-expression"

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="as in: metrics.mae < 11 and params.depth = 6; see docs/reference/expressions.md"
        )


@dataclass(frozen=True, slots=True)
class Field:
    """What a run has.

    Attributes:
        head: `params`, `metrics`, `env`, or one of `FIELDS`.
        name: The name after the head; empty for one of `FIELDS`.
        kind: How it compares.
    """

    head: str
    name: str
    kind: Kind

    def __str__(self) -> str:
        """Returns it as a column's heading."""
        return f"{self.head}.{self.name}" if self.name else self.head


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against values, one of which it must fit.

    Attributes:
        field: The field.
        operator: `=`, `!=`, `<`, `<=`, `>` or `>=`.
        values: One, or for `in` several.
    """

    field: Field
    operator: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801  # `Any` is taken
    """At least one part holds."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Expression


Expression = Comparison | All | Any_ | Not


def parse_expression(text: str) -> Expression:
    """Returns what a text says.

    Raises:
        ExpressionError: It is none, or too long.
    """
    if len(text) > _LONGEST:
        raise ExpressionError(f"an expression of {len(text):,} characters is too long")
    try:
        # The transformer makes a pair of the tree, which lark's types do not know.
        found, count = cast("tuple[Expression, int]", _parser().parse(text))
    except UnexpectedInput as exc:
        is_end = isinstance(exc, UnexpectedToken) and exc.token.type == "$END"
        place = "at its end" if is_end else f"at {_shown(text[exc.pos_in_stream :])}"
        raise ExpressionError(f"the expression cannot be read {place}") from None
    except VisitError as exc:
        if isinstance(exc.orig_exc, ExpressionError):
            raise exc.orig_exc from None
        raise
    if count > _MOST_COMPARISONS:
        raise ExpressionError(
            f"an expression with {count:,} comparisons is too long; {_MOST_COMPARISONS} are read"
        )
    return found


def parse_field(text: str) -> Field:
    """Returns the field that a text names.

    Raises:
        ExpressionError: There is none.
    """
    head, _, rest = text.partition(".")
    if head in _NAMED and rest:
        parts = rest.split('"')
        # Inside quotes a dot and a doubled quote are part of the name.
        name = rest if len(parts) == 1 else _unquoted(rest)
        return Field(head, name, _NAMED[head])
    if text in FIELDS:
        return Field(text, "", FIELDS[text])
    known = ", ".join(["params.NAME", "metrics.NAME", "env.PACKAGE", *FIELDS])
    raise ExpressionError(f"a run has no {_shown(text)}; it has {known}")


def _unquoted(text: str) -> str:
    return "".join(
        part.replace('""', '"') if index % 2 else part for index, part in enumerate(_split_quotes(text))
    )


def _split_quotes(text: str) -> list[str]:
    """Returns the pieces of a text, outside and inside quotes in turns; doubled quotes inside stay."""
    pieces, piece, inside, position = [], "", False, 0
    while position < len(text):
        char = text[position]
        if char == '"' and inside and text[position + 1 : position + 2] == '"':
            piece += '""'
            position += 2
            continue
        if char == '"':
            pieces.append(piece)
            piece, inside = "", not inside
        else:
            piece += char
        position += 1
    return [*pieces, piece]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


@v_args(inline=True)
class _Reader(Transformer[Token, Any]):
    """Turns what was read into pairs of an expression and the number of its comparisons."""

    number = float
    start = staticmethod(lambda found: found)

    def text(self, token: Token) -> str:
        return token[1:-1].replace(token[0] * 2, token[0])

    def truth(self, token: Token) -> bool:
        return token.lower() == "true"

    def comparison(self, field: Token, sign: Token, value: Value) -> tuple[Expression, int]:
        return _comparison(str(field), {"==": "="}.get(str(sign), str(sign)), (value,)), 1

    def membership(self, field: Token, *values: Value) -> tuple[Expression, int]:
        return _comparison(str(field), "=", values), len(values)

    def negation(self, part: tuple[Expression, int]) -> tuple[Expression, int]:
        found, count = part
        # Twice is not at all, so that no chain of them is deep.
        return (found.part if isinstance(found, Not) else Not(found)), count

    def both(self, *parts: tuple[Expression, int]) -> tuple[Expression, int]:
        return _joined(All, parts)

    def either(self, *parts: tuple[Expression, int]) -> tuple[Expression, int]:
        return _joined(Any_, parts)


def _joined(join: type[All | Any_], parts: tuple[tuple[Expression, int], ...]) -> tuple[Expression, int]:
    if len(parts) == 1:
        return parts[0]
    return join(tuple(part for part, _ in parts)), sum(map(operator.itemgetter(1), parts))


def _comparison(field_text: str, sign: str, values: tuple[Value, ...]) -> Comparison:
    field = parse_field(field_text)
    expected: dict[Kind, tuple[type, str]] = {
        "number": (float, "a number"),
        "truth": (bool, "true or false"),
        "value": (object, ""),
    }
    wanted, said = expected.get(field.kind, (str, "a text in quotes"))
    for value in values:
        if not isinstance(value, wanted):
            raise ExpressionError(f"{field} is compared with {said}, not with {_shown(str(value))}")
    is_ordered = field.kind not in {"id", "truth", "data"} and not isinstance(values[0], bool)
    if sign not in {"=", "!="} and not is_ordered:
        raise ExpressionError(f"{field} {sign} {_shown(str(values[0]))} has no meaning: use = or !=")
    if field.kind == "data" and sign == "!=":
        raise ExpressionError(f"{field} has several values: write not {field} = …")
    return Comparison(field, sign, values)


@functools.cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Reader())
