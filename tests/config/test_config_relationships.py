"""`relationships:`: what it says, and each way in which the file alone can be wrong about it."""

from __future__ import annotations

import pytest

from tycostream.config.load import loads
from tycostream.config.model import RelationshipConfig
from tycostream.config.reload import compare, report
from tycostream.errors import ConfigError

DATABASE = "databases: {main: {url: 'host=db'}}\n"
SOURCES = """sources:
  trades:
    columns: [id, instrument_id]
    column_config: {instrument_id: {name: instrumentId}}
    fields: {day: {sql: "executed_at::date"}}
    relationships:
      %s
  instruments: {columns: [id]}
  fills: {column_config: {trade_id: {name: trade}}}
"""


def problems(relationships: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(DATABASE + SOURCES % relationships, "t.yaml", {})
    return [str(problem) for problem in caught.value.problems]


def test_a_relationship_leads_to_one_row_or_to_many() -> None:
    text = "instrument: {object: instruments, on: {instrument_id: id}}\n      "
    text += "fills: {array: fills, on: {id: trade_id, day: day}, comment: parts}"
    found = loads(DATABASE + SOURCES % text, "t.yaml", {}).sources["trades"].relationships
    assert found == {
        "instrument": RelationshipConfig(object="instruments", on={"instrument_id": "id"}),
        "fills": RelationshipConfig(array="fills", on={"id": "trade_id", "day": "day"}, comment="parts"),
    }
    assert [(each.target, each.many) for each in found.values()] == [("instruments", False), ("fills", True)]


def test_a_source_may_lead_to_itself() -> None:
    text = DATABASE + "sources: {staff: {relationships: {boss: {object: staff, on: {boss_id: id}}}}}"
    assert loads(text, "t.yaml", {}).sources["staff"].relationships["boss"].target == "staff"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "x: {object: instrument, on: {id: id}}",
            "8:19: sources.trades.relationships.x.object: there is no source 'instrument'; did you mean instruments?",
        ),
        (
            "x: {array: y, on: {id: id}}",
            "8:18: sources.trades.relationships.x.array: there is no source 'y'; name one of `sources:`",
        ),
        (
            "x: {on: {id: id}}",
            "8:7: sources.trades.relationships.x: names no source; write `object: …` for one row, or `array: …` for any number",
        ),
        (
            "x: {object: fills, array: fills, on: {id: id}}",
            "8:26: sources.trades.relationships.x.array: leads to one row (`object`) or to any number of rows (`array`), "
            "not both; remove one of them",
        ),
        (
            "x: {object: instruments, on: {}}",
            "8:36: sources.trades.relationships.x.on: names no columns; write ours with theirs: {instrument_id: id}",
        ),
        ("x: {object: instruments}", "8:7: sources.trades.relationships.x.on: is missing"),
        ("x:", "8:7: sources.trades.relationships.x.on: is missing"),
        (
            "x: {object: instruments, on: id}",
            "8:36: sources.trades.relationships.x.on: is a text, but must be a mapping of `key: value` lines",
        ),
        (
            "x: {object: instruments, on: {instrumentid: id}}",
            "8:37: sources.trades.relationships.x.on.instrumentid: 'instrumentid' is not among the `columns` of trades; "
            "did you mean instrument_id?",
        ),
        (
            "x: {object: instruments, on: {id: symbol}}",
            "8:41: sources.trades.relationships.x.on.id: 'symbol' is not among the `columns` of instruments; "
            "add it there, or name another",
        ),
        (
            "x: {array: fills, on: {id: a, instrument_id: a}}",
            "8:52: sources.trades.relationships.x.on.instrument_id: 'a' is compared with 'id' already; name every column once",
        ),
        (
            "fills: {array: fills, on: {id: a}, required: true}",
            "8:42: sources.trades.relationships.fills.required: is for an `object` only: an array is never null; remove it",
        ),
        (
            "id: {object: instruments, on: {instrument_id: id}}",
            "8:7: sources.trades.relationships.id: 'id' is the name of column 'id' already; choose another",
        ),
        (
            "instrumentId: {object: instruments, on: {instrument_id: id}}",
            "8:7: sources.trades.relationships.instrumentId: 'instrumentId' is the name of column 'instrument_id' already; "
            "choose another",
        ),
        (
            "day: {object: instruments, on: {instrument_id: id}}",
            "8:7: sources.trades.relationships.day: 'day' is the name of column 'day' already; choose another",
        ),
        (
            "a_aggregate: {object: instruments, on: {id: id}}\n      a: {array: fills, on: {id: id}}",
            "9:7: sources.trades.relationships.a: its field 'a_aggregate': 'a_aggregate' is the name of "
            "relationship 'a_aggregate' already; choose another",
        ),
        (
            "a-b: {object: instruments, on: {id: id}}",
            "8:7: sources.trades.relationships.a-b: 'a-b' is not a GraphQL name: letters, digits and underscores, "
            "not starting with a digit",
        ),
        (
            "_not: {object: instruments, on: {id: id}}",
            "8:7: sources.trades.relationships._not: '_not' is a word of `where`",
        ),
        (
            "x: {object: instruments, on: {id: id}, unique: true}",
            "8:46: sources.trades.relationships.x.unique: is not a setting "
            "(allowed here: object, array, on, required, comment)",
        ),
    ],
)
def test_what_is_wrong_with_one(text: str, expected: str) -> None:
    assert problems(text) == [f"t.yaml:{expected}"]


MANY = """databases:
  one: {url: 'host=db'}
  two: {url: 'host=db'}
  mz: {engine: materialize, url: 'host=db'}
  level: {engine: materialize, url: 'host=db', consistency: database}
  rw: {engine: risingwave, url: 'host=db', manage: true}
sources:
"""


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        ("database: one", "database: one", ""),
        ("database: level", "database: level, query: SELECT 1", ""),
        ("database: one", "database: two", "nothing ties databases one and two to one moment"),
        ("database: rw", "database: rw", "each source of a RisingWave has a moment of its own"),
        (
            "database: mz",
            "database: mz",
            "each source of mz has a moment of its own without `consistency: database`",
        ),
        (
            "database: one",
            "database: one, query: SELECT 1",
            "b is computed again some time after its tables changed",
        ),
        (
            "database: one, fields: {y: {sql: x}}",
            "database: one",
            "a is computed again some time after its tables changed",
        ),
    ],
)
def test_required_takes_sources_that_are_shown_at_one_moment(ours: str, theirs: str, why: str) -> None:
    text = f"{MANY}  a: {{{ours}, relationships: {{r: {{object: b, on: {{x: x}}, required: true}}}}}}\n  b: {{{theirs}}}"
    if not why:
        assert loads(text, "t.yaml", {}).sources["a"].relationships["r"].required
        return
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml", {})
    (problem,) = caught.value.problems
    assert problem.path == "sources.a.relationships.r.required"
    assert problem.message == f"promises the row at every moment, but {why}; remove it"


def test_a_reload_that_changes_one_asks_nothing_of_a_database() -> None:
    text = "x: {object: instruments, on: {instrument_id: id}}"
    old = loads(DATABASE + SOURCES % text, "t.yaml", {})
    for other in ("x: {object: instruments, on: {id: id}}", "y: {array: fills, on: {id: a}}"):
        changes = compare(old, loads(DATABASE + SOURCES % other, "t.yaml", {}))
        assert changes.only_delivered_otherwise("trades")
    assert report(changes) == ["~ source trades: relationships.x, relationships.y"]
