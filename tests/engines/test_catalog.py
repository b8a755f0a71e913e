"""From catalogue and configuration to columns: the rules that all engines share."""

from __future__ import annotations

import pytest

from tycostream.config.model import ColumnConfig, SourceConfig
from tycostream.engines.catalog import CatalogColumn, choose_columns, closest
from tycostream.errors import Action, UpstreamError
from tycostream.rows import Column

SOURCE = SourceConfig(name="s")
ENUMS = {"side": ("buy", "sell")}
KNOWN = {
    column.name: column
    for column in (
        CatalogColumn("id", "bigint", nullable=False, comment="which"),
        CatalogColumn("side", "text", nullable=False),
        CatalogColumn("mood", '"my schema".mood', nullable=False, labels=("happy", "sad")),
        CatalogColumn("odd", "hstore"),
        CatalogColumn("many", "integer[]"),
        CatalogColumn("home", "jsonb", nullable=False),
        CatalogColumn("moods", "mood[]", labels=("happy", "sad")),
        CatalogColumn("sides", "text[]", nullable=False),
    )
}


def choose(
    chosen: dict[str, str | None], key: tuple[str, ...] = (), source: SourceConfig = SOURCE
) -> tuple[Column, ...]:
    return choose_columns(source, "public.s", KNOWN, chosen, key, ENUMS, lambda enum, label: None)


def refused(
    chosen: dict[str, str | None], key: tuple[str, ...] = (), source: SourceConfig = SOURCE
) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        choose(chosen, key, source)
    assert caught.value.action is Action.FAIL
    return caught.value


def test_the_closest_name_is_asked_for() -> None:
    assert closest("trade", ["quotes", "trades"]) == "did you mean trades?"
    assert closest("zzz", ["quotes", "trades"]) == ""


def test_columns_come_in_the_order_of_the_choice_with_the_configurations_words() -> None:
    source = SourceConfig(name="s", column_config={"id": ColumnConfig(name="number", comment="which one")})
    side, number = choose({"side": "side", "id": None}, ("id",), source)
    assert (side.name, side.field, side.scalar.enum) == ("side", "side", ("buy", "sell"))
    assert (number.name, number.field, number.comment) == ("id", "number", "which one")
    assert choose({"id": "BigInt"})[0].comment == "which"


def test_an_enum_column_may_be_null_unless_it_is_of_the_key() -> None:
    assert choose({"side": "side"})[0].nullable, "a label that is not listed is shown as null"
    assert not choose({"side": "side"}, ("side",))[0].nullable
    assert not choose({"side": None})[0].nullable


def test_a_label_that_is_not_listed_is_no_key() -> None:
    side, sides = (choose({name: "side"}, (name,))[0].scalar for name in ("side", "sides"))
    assert side.parse("sell") == 1
    for scalar, text in ((side, "hold"), (side, "hold"), (sides, "{hold}")):
        with pytest.raises(ValueError, match="expected one of buy, sell"):
            scalar.parse(text)
    assert choose({"side": "side"})[0].scalar.parse("hold") is None


def test_an_enum_of_the_database_has_its_own_labels_and_name() -> None:
    (mood,) = choose({"mood": None})
    assert mood.scalar.enum == ("happy", "sad")
    assert mood.scalar.graphql == "mood"
    (narrowed,) = choose({"mood": "side"})
    assert narrowed.scalar.enum == ("buy", "sell")


def test_arrays_and_types_that_nobody_knows() -> None:
    assert choose({"many": "Array"})[0].scalar.name == "_int4"
    moods = [choose({"moods": wanted})[0].scalar for wanted in (None, "Array", "side")]
    assert [(s.graphql, s.labels) for s in moods] == [
        ("[mood!]", ("happy", "sad")), ("[mood!]", ("happy", "sad")), ("[side!]", ("buy", "sell")),
    ]  # fmt: skip
    (sides,) = choose({"sides": "side"})
    assert (sides.scalar.json(sides.scalar.parse("{buy,hold}")), sides.nullable) == ('["buy",null]', False)
    assert choose({"odd": None})[0].scalar is not None


def test_what_does_not_fit_is_named_with_a_remedy() -> None:
    missing = refused({"sid": None})
    assert (missing.code, missing.hint) == ("column-missing", "did you mean side?")
    assert missing.message == "source s: public.s has no column sid"
    assert missing.detail == "columns that exist: id, side, mood, odd, many, home, moods, sides"
    assert refused({"id": None}, ("nothing",)).hint == "correct the column's name"
    configured = SourceConfig(name="s", column_config={"ib": ColumnConfig(name="x")})
    assert refused({"id": None}, (), configured).code == "column-missing"
    left_out = refused({"side": None}, ("id",))
    assert left_out.code == "key-column-left-out"
    assert "add id to `columns:`" in left_out.hint
    other = refused({"id": "String"})
    assert other.message == "source s: column id is bigint in the database, and String in the configuration"
    assert other.hint.startswith("write Integer or BigInt")
    assert "needs a text or enum column" in refused({"id": "side"}).hint


def test_a_json_column_may_be_an_object_of_the_file() -> None:
    source = SourceConfig(name="s", types={"place": {"city": "String"}})
    home, other = (choose({"home": wanted}, (), source)[0] for wanted in ("place", "[place]"))
    assert (home.scalar.name, home.nullable, home.document and home.document.name) == ("jsonb", True, "place")
    assert other.document is not None
    assert other.document.name == "[place]"
    assert choose({"home": "JSON"}, (), source)[0].document is None
    refusal = refused({"side": "place"}, (), source)
    assert refusal.code == "column-type"
    assert refusal.hint.startswith("an object type needs a json or jsonb column")
