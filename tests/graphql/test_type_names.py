"""Type names of sources that share a schema."""

from __future__ import annotations

import pytest
from graphql import GraphQLSchema

from tycostream.errors import TycoError
from tycostream.graphql.schema import build_schema
from tycostream.graphql.type_names import TypeNames
from tycostream.rows import Column, RowType
from tycostream.scalars import SCALARS, enum_scalar


def mood(source: str, *labels: str) -> GraphQLSchema:
    columns = (Column("id", SCALARS["int8"]), Column("mood", enum_scalar("mood", labels, lambda label: None)))
    return build_schema([RowType(source, columns)])


def plain(source: str) -> GraphQLSchema:
    return build_schema([RowType(source, (Column("id", SCALARS["int8"]),))])


def test_sources_share_what_is_the_same() -> None:
    names = TypeNames()
    names.claim("a", mood("a", "calm", "wild"))
    names.claim("b", mood("b", "calm", "wild"))
    names.claim("c", plain("c"))


def test_enums_of_one_name_and_different_labels() -> None:
    names = TypeNames()
    names.claim("a", mood("a", "calm", "wild"))
    with pytest.raises(TycoError) as caught:
        names.claim("b", mood("b", "wild", "calm"))
    assert caught.value.code == "enum-ambiguous"
    assert caught.value.told == (
        "sources a and b have enums called 'mood' with different labels\n"
        "Detail: of a: calm, wild; of b: wild, calm"
    )
    assert "give the column of b that name in `columns:`" in caught.value.hint


def test_an_enum_that_graphql_shows_as_a_scalar_has_labels_too() -> None:
    names = TypeNames()
    names.claim("a", mood("a", "not a name", "wild"))
    names.claim("b", mood("b", "not a name", "wild"))
    with pytest.raises(TycoError) as caught:
        names.claim("c", mood("c", "wild", "not a name"))
    assert caught.value.code == "enum-ambiguous"


@pytest.mark.parametrize("columns_first", [True, False])
def test_a_column_s_type_and_a_source_of_its_name(columns_first: bool) -> None:
    names, made = TypeNames(), [("a", mood("a", "calm")), ("mood", plain("mood"))]
    first, second = made if columns_first else made[::-1]
    names.claim(*first)
    with pytest.raises(TycoError, match="the type 'mood' of source") as caught:
        names.claim(*second)
    assert caught.value.code == "type-name-taken"
    assert "rename the source that is called like the type" in caught.value.hint


def test_a_source_may_change_and_go_and_a_refusal_leaves_nothing() -> None:
    names = TypeNames()
    names.claim("a", mood("a", "calm"))
    names.claim("a", mood("a", "calm", "wild"))
    with pytest.raises(TycoError):
        names.claim("b", mood("b", "calm"))
    names.claim("a", mood("a", "tame"))  # nothing of b's is in its way
    names.release("a")
    names.claim("b", mood("b", "calm"))
    names.release("a")


def test_types_that_are_about_to_change_are_in_nobody_s_way() -> None:
    names = TypeNames()
    names.claim("a", mood("a", "calm"))
    names.claim("b", mood("b", "calm"))
    names.release_types(["mood", "nobody_has_it"])
    names.claim("b", mood("b", "calm", "wild"))
    names.claim("a", mood("a", "calm", "wild"))
    names.release("a")
    names.release("b")
    names.claim("c", mood("c", "tame"))
