"""Which relationships foreign keys suggest, and under which names."""

from __future__ import annotations

from typing import Any

import pytest

from tycostream.config.suggested import Suggestion, singular, suggested
from tycostream.config.table_facts import Reference, TableFacts


def table(title: str, *references: Reference, key: tuple[str, ...] = ("id",), **columns: str) -> TableFacts:
    return TableFacts("public", title, (("id", "int4"), *columns.items()), key, {}, references=references)


def to(name: str, *columns: str, referenced: tuple[str, ...] = ("id",), always: bool = False) -> Reference:
    return Reference(columns, "public", name, referenced, always)


def names(of: str, *tables: TableFacts) -> dict[str, tuple[Any, ...]]:
    """Name → (source, many, our columns)."""
    named = {each.name: each for each in tables}
    found = suggested(named[of], named, {column for column, _ in named[of].columns})
    assert len({each.name for each in found}) == len(found)
    return {each.name: (each.source, each.many, tuple(mine for mine, _ in each.on)) for each in found}


TEAMS = table("teams", name="text")
MATCHES = table(
    "matches",
    to("teams", "home_team_id", always=True),
    to("teams", "awayTeamId"),
    to("teams", "umpire"),
    home_team_id="int4",
    awayTeamId="int8",
    umpire="int4",
)


def test_a_row_that_is_named_is_called_by_the_column_or_by_what_it_is() -> None:
    assert names("matches", TEAMS, MATCHES) == {
        "home_team": ("teams", False, ("home_team_id",)),
        "awayTeam": ("teams", False, ("awayTeamId",)),
        "team": ("teams", False, ("umpire",)),
    }


def test_several_keys_from_one_table_are_told_apart_on_the_way_back() -> None:
    assert names("teams", TEAMS, MATCHES) == {
        "matches_by_home_team_id": ("matches", True, ("id",)),
        "matches_by_awayTeamId": ("matches", True, ("id",)),
        "matches_by_umpire": ("matches", True, ("id",)),
    }


def test_a_key_that_is_the_primary_key_leads_back_to_one_row() -> None:
    profile = table("profiles", to("teams", "id", always=True))
    assert names("teams", TEAMS, profile) == {"profile": ("profiles", False, ("id",))}
    named = {"teams": TEAMS, "profiles": profile}
    assert suggested(profile, named, {"id"}) == [
        Suggestion("team", "teams", many=False, on=(("id", "id"),), required=True)
    ]


def test_a_table_may_lead_to_itself() -> None:
    staff = table("staff", to("staff", "boss_id"), boss_id="int4")
    assert names("staff", staff) == {
        "boss": ("staff", False, ("boss_id",)),
        "staff": ("staff", True, ("id",)),
    }


def test_names_of_columns_and_of_aggregates_are_not_taken() -> None:
    fills = table("fills", to("trades", "trade_id"), trade_id="int4", trade="text")
    assert set(names("fills", fills, table("trades"))) == {"trade_by_trade_id"}
    trades = table("trades", fills_aggregate="text", fills_by_trade_id="text")
    assert set(names("trades", fills, trades)) == {"fills_by_trade_id_2"}


@pytest.mark.parametrize(
    "fills",
    [
        table("fills", to("trades", "trade_id"), trade_id="text"),
        table("fills", to("trades", "trade_id")),
        table("fills", to("trades", "trade_id", referenced=("number",)), trade_id="int4"),
        table("fills", to("others", "trade_id"), trade_id="int4"),
    ],
    ids=["types without a common equality", "a column left out", "theirs left out", "no source"],
)
def test_what_cannot_be_joined_is_not_suggested(fills: TableFacts) -> None:
    assert names("fills", fills, table("trades")) == names("trades", fills, table("trades")) == {}


def test_enums_join_their_own_kind_only() -> None:
    side, other = ("side", ("buy", "sell")), ("way", ("buy", "sell"))
    sides = TableFacts("public", "sides", (("side", "side"),), ("side",), {"side": side})
    key = to("sides", "side", referenced=("side",))
    for enum, expected in ((side, {"side_by_side"}), (other, set())):
        trades = TableFacts("public", "trades", (("side", "x"),), (), {"side": enum}, references=(key,))
        assert set(names("trades", sides, trades)) == expected


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("trades", "trade"), ("Tracks", "Track"), ("countries", "country"), ("COUNTRIES", "COUNTRY"), ("boxes", "box"),
        ("addresses", "address"), ("address", "address"), ("status", "status"), ("news", "news"), ("series", "series"),
        ("s", "s"), ("staff", "staff"), ("ties", "tie"),
    ],
)  # fmt: skip
def test_singulars(many: str, one: str) -> None:
    assert singular(many) == one
