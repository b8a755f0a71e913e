"""``path:`` on JSON columns: Hasura's language of paths, in rows, live results and change feeds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.graphql.graphql_tables import PLANNER, refusals, root
from tycostream.graphql.plan import Phase
from tycostream.json_path import json_path
from tycostream.scalars import SCALARS

INFO = SCALARS["jsonb"].parse('{"a": {"b": [10, {"c d": 1.50}]}, "n": null, "s": "x\\ny"}')
ROW = (1, "s", None, None, None, None, INFO)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("$.a.b[0]", ("a", "b", "0")),
        ("a.b", ("a", "b")),
        (".a", ("a",)),
        ("[0]", ("0",)),
        ("$[007]", ("7",)),
        ("$.[1].x", ("1", "x")),
        ("a[0]b", ("a", "0", "b")),
        ('$["any key"]', ("any key",)),
        ("$['it\\'s']", ("it's",)),
        ('["a\\\\b\\"]"]', ('a\\b"]',)),
        ("$['']", ("",)),
        ("_x-1.é", ("_x-1", "é")),
    ],
)
def test_paths(text: str, steps: tuple[str, ...]) -> None:
    assert json_path(text) == steps


@pytest.mark.parametrize(
    "text", ["", "$$", "$.", "a..b", "1a", "$.a b", "[a]", "[-1]", "['a]", "[", "a]", "$['a\\']", "-a", "a.$", "a\x00"]
)  # fmt: skip
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"^parse json path error: ") as caught:
        json_path(text)
    assert str(caught.value) == (
        f"parse json path error: {text}. Accept letters, digits, underscore (_) or hyphen (-) only. "
        'Use quotes enclosed in bracket (["..."]) if there is any special character'
    )


def test_a_path_is_short() -> None:
    with pytest.raises(ValueError, match="a path of more than 100 steps"):
        json_path("a." * 500_000 + "a")
    with pytest.raises(ValueError, match=r"x…\. Accept letters"):
        json_path("!" + "x" * 10_000)


def test_members_are_written_as_they_stand() -> None:
    query = """query($p: String) {trades {
        id info whole: info(path: "$") b: info(path: "$.a.b") c: info(path: "a.b[1]['c d']") n: info(path: "n")
        s: info(path: "s") none: info(path: "x.y") last: info(path: $p) absent: info(path: $q)}}"""
    query = query.replace("$p: String", "$p: String, $q: String")
    found = root(query, {"p": "$.a['b']['-1']"}).encoder
    text = found.row(ROW).decode()
    assert text == (
        f'{{"id":1,"info":{INFO},"whole":{INFO},"b":[10, {{"c d": 1.50}}],"c":1.50,"n":null,"s":"x\\ny",'
        f'"none":null,"last":{{"c d": 1.50}},"absent":{INFO}}}'
    )
    assert json.loads(found.row((*ROW[:6], None)))["b"] is None


def test_selections_of_other_paths_are_other_cohorts() -> None:
    one, two, same = (root(f'{{trades {{info(path: "{p}")}}}}').key for p in ("$.a", "$.b", "a"))
    assert one != two
    assert one == same


def feed(selection: str) -> Any:
    return root(
        f"subscription {{trades_changes {{phase changes {{operation changed {selection}}}}}}}"
    ).encoder


def test_a_feed_tells_of_the_members_that_are_selected() -> None:
    def row(info: str | None) -> tuple[Any, ...]:
        return (*ROW[:6], None if info is None else SCALARS["jsonb"].parse(info))

    found = feed('row {m: info(path: "$.m")} old {m: info(path: "$.m")}')
    before, after, other = row('{"m": 1}'), row('{"m": [2]}'), row('{"m": 1, "x": 2}')
    assert found.differs(before, after)
    assert not found.differs(before, other)
    assert found.differs(before, row(None))
    assert not found.differs(row("{}"), row(None))  # null either way
    entry = found.change(before, after)
    assert json.loads(found.result(Phase.LIVE, [entry], complete=True, resync=False, cursor=None)) == {
        "phase": "live",
        "changes": [{"operation": "update", "changed": ["info"], "row": {"m": [2]}, "old": {"m": 1}}],
    }
    both = feed('row {m: info(path: "$.m") qty}')
    assert both.differs(before, (*before[:3], 7, *before[4:]))
    assert not both.differs(before, other)


@pytest.mark.parametrize(
    ("query", "message", "path"),
    [
        ('{t: trades {i: info(path: "a b")}}', "parse json path error: a b. Accept", "$.selectionSet.trades.selectionSet.info.args"),
        ("{trades {info(path: null)}}", "unexpected null value for type 'String'", "$.selectionSet.trades.selectionSet.info.args.path"),
        ("{trades {info(path: 1)}}", "String cannot represent a non string value: 1", "$.selectionSet.trades.selectionSet.info.args.path"),
        ('{trades {qty(path: "$")}}', "'qty' has no argument named 'path'", "$.selectionSet.trades.selectionSet.qty.args.path"),
        ('subscription {trades_changes {changes {old {info(path: "")}}}}', "parse json path error: .", "$.selectionSet.trades_changes.selectionSet.changes.selectionSet.old.selectionSet.info.args"),
        ('{trades_by_pk(id: 1) {info(path: "[")}}', "parse json path error: [.", "$.selectionSet.trades_by_pk.selectionSet.info.args"),
        ('{trades {info(path: "a") info(path: "b")}}', "Fields 'info' conflict", "$.selectionSet.trades.selectionSet.info"),
    ],
)  # fmt: skip
def test_refusals(query: str, message: str, path: str) -> None:
    (error,) = refusals(query)
    assert error["message"].startswith(message)
    assert error["extensions"] == {"path": path, "code": "validation-failed"}


def test_the_schema_has_it_where_hasura_has_it() -> None:
    for name in ("trades", "trades_old"):
        fields: Any = PLANNER.schema.type_map[name].fields  # type: ignore[attr-defined]
        assert {field for field in fields if fields[field].args} == {"info"}
        argument = fields["info"].args["path"]
        assert (str(argument.type), argument.description) == ("String", "JSON select path")
