"""What a schema says of itself, byte for byte what graphql-core's execution says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from graphql import execute, get_introspection_query, parse

from tests.graphql.graphql_tables import PLANNER
from tests.graphql.schema_worlds import world
from tycostream.auth.session import Session
from tycostream.config.model import SourceConfig
from tycostream.errors import RequestError
from tycostream.graphql.execute import Planner
from tycostream.graphql.introspection import Answer
from tycostream.graphql.plan import Plan, StaticRoot
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS

STANDARD = get_introspection_query(
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
)
QUERIES = (
    STANDARD,
    get_introspection_query(descriptions=False),
    "{ __schema { __typename queryType { name fields { name } } mutationType { name } } }",
    "{ a: __schema { types { n: name __typename kind possibleTypes { name } interfaces { name } isOneOf } } "
    "b: __schema { directives { name locations args { name defaultValue type { kind ofType { name } } } } } }",
    '{ __type(name: "nobody") { name } it: __type(name: "query_root") { ...T fields { args { ...A } } } } '
    "fragment T on __Type { description all: fields(includeDeprecated: true) { name isDeprecated } enumValues { name } } "
    "fragment A on __InputValue { name type { ...T } defaultValue }",
    "query ($name: String!, $all: Boolean = true) { __type(name: $name) { name description @skip(if: $all) "
    "inputFields(includeDeprecated: $all) { name type { name kind } } "
    "enumValues { name description deprecationReason } } }",
)


def answered(plan: Plan) -> bytes:
    statics = [root for root in plan.roots if isinstance(root, StaticRoot)]
    assert len(statics) == len(plan.roots)
    return plan.payload([root.value for root in statics])


def told(planner: Planner, query: str, variables: dict[str, Any]) -> bytes:
    result: Any = execute(planner.schema, parse(query), variable_values=variables)
    assert not result.errors
    return msgspec.json.encode({"data": result.data})


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("name", ["trades", "trades_bool_exp", "order_by", "Int"])
def test_answers_are_those_of_graphql_core(query: str, name: str) -> None:
    variables = {"name": name} if "$name" in query else {}
    plan = PLANNER.plan(query, "IntrospectionQuery" if query in QUERIES[:2] else None, variables, Session())
    assert answered(plan) == told(PLANNER, query, variables)


@pytest.mark.parametrize("seed", range(0, 90, 6))
def test_answers_of_many_schemas(seed: int) -> None:
    given = world(seed)
    planner = Planner(given.row_types, sources=given.sources)
    assert answered(planner.plan(STANDARD, None, None, Session())) == told(planner, STANDARD, {})


def test_words_of_any_script_and_quotes() -> None:
    columns = RowType(
        "notes", (Column("id", SCALARS["int4"], comment='a "quote", ünïcode 😀, \x00 and \\'),), (0,)
    )
    planner = Planner([columns])
    assert answered(planner.plan(STANDARD, None, None, Session())) == told(planner, STANDARD, {})


def answer(planner: Planner, query: str) -> Answer:
    (root,) = planner.plan(query, None, None, Session()).roots
    assert isinstance(root, StaticRoot)
    assert isinstance(root.text, Answer)
    return root.text


def fresh() -> Planner:
    columns = (Column("id", SCALARS["int4"]), Column("x", SCALARS["float8"]))
    return Planner([RowType(f"t{n}", columns, (0,)) for n in range(12)])


def test_an_answer_is_written_once_in_pieces() -> None:
    planner = fresh()
    first = answer(planner, STANDARD)
    assert not first.step()
    assert first.size < 50_000
    assert answer(planner, STANDARD) is first  # who asks meanwhile waits for the same
    steps = 1
    while not first.step():
        steps += 1
    assert steps > 5
    assert first.step()
    assert first.size == len(b"".join(first.pieces)) > 100_000
    spelt_otherwise = STANDARD.replace("queryType", "# who\n queryType")
    assert answer(planner, spelt_otherwise) is first
    assert answer(planner, STANDARD.replace("queryType {", "queryType { kind")) is not first


def test_old_answers_are_forgotten_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = fresh()
    asked = [f"{{ __schema {{ types {{ {field} }} }} }}" for field in ("name", "kind", "description")]
    answers = [answer(planner, query) for query in asked]
    for each in answers[:2]:
        while not each.step():
            pass
    kept = answers[0].size + answers[1].size
    monkeypatch.setattr("tycostream.graphql.introspection._KEPT_BYTES_MAX", kept)
    assert answer(planner, asked[0]) is answers[0]
    monkeypatch.setattr("tycostream.graphql.introspection._KEPT_BYTES_MAX", kept - 1)
    assert answer(planner, asked[0]) is answers[0]
    assert answer(planner, asked[1]) is not answers[1]


def test_however_many_are_asked_for_few_are_kept() -> None:
    planner = fresh()
    query = "query ($name: String!) { __type(name: $name) { name } }"
    plans = [planner.plan(query, None, {"name": f"none{n}"}, Session()) for n in range(200)]
    answers = [plan.roots[0].text for plan in plans if isinstance(plan.roots[0], StaticRoot)]
    for each in answers:
        finish(each)  # type: ignore[arg-type]
    again = [planner.plan(query, None, {"name": f"none{n}"}, Session()).roots[0] for n in (199, 0)]
    assert [again[0].text is answers[199], again[1].text is answers[0]] == [True, False]  # type: ignore[union-attr]
    assert len(planner._answers._answers) == 64


def finish(found: Answer) -> None:
    while not found.step():
        pass


def test_selections_that_multiply_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tycostream.graphql.introspection._PIECE_BYTES_MAX", 1_000)
    inner = "name"
    for _ in range(2):  # graphql-core lets no more through
        inner = f"fields {{ name type {{ name ofType {{ ofType {{ ofType {{ {inner} }} }} }} }} }}"
    name = "t0"
    columns = (Column("id", SCALARS["int4"]), Column("x", SCALARS["float8"]))
    links = {f"r{n}": {"array": name, "on": {"id": "id"}} for n in range(9)}
    sources = {name: SourceConfig.model_validate({"name": name, "relationships": links})}
    planner = Planner([RowType(name, columns, (0,))], sources=sources)
    found = answer(planner, f'{{ __type(name: "query_root") {{ {inner} }} }}')
    for _ in range(2):  # whoever asks is told the same
        with pytest.raises(RequestError, match="too much introspection") as caught:
            finish(found)
        assert caught.value.hint == "ask for less in one document"
    assert found.size == 0
    assert not found.pieces


def test_an_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tycostream.graphql.introspection._BYTES_MAX", 10_000)
    with pytest.raises(RequestError, match="too much introspection"):
        finish(answer(fresh(), STANDARD))
