"""For each limit a small value of it, and operations that reach it and go beyond: what the tests and the page agree on."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

Variables = dict[str, Any]


class Case(NamedTuple):
    """``at`` is accepted, ``over`` is refused at ``path``."""

    at: tuple[str, Variables]
    over: tuple[str, Variables]
    path: str = "$.query"


WHERE: Final = "query($w: trades_bool_exp) {trades(where: $w) {id}}"
FRAGMENT: Final = "fragment f on trades_change_set {changes {...g}} fragment g on trades_change {operation}"
ARGS: Final = "$.selectionSet.trades.args"

# setting → its value, and its messages: N is the limit
LIMITS: Final[dict[str, tuple[int, dict[str, Case]]]] = {
    "depth_limit": (
        2,
        {
            "the document nests fields more than N levels deep": Case(
                ("subscription {trades_changes {phase}}", {}),
                ("subscription {trades_changes {...f}} " + FRAGMENT, {}),
            )
        },
    ),
    "node_limit": (
        1,
        {
            "the document selects more than N nodes, fields that have fields": Case(
                ("{trades {id symbol qty}}", {}), ("{trades {id} positions {book}}", {})
            )
        },
    ),
    "field_limit": (
        3,
        {
            "the document selects more than N fields": Case(
                ("{trades {...f ...f}} fragment f on trades {id}", {}),
                ("{trades {...f ...f}} fragment f on trades {id symbol}", {}),
            )
        },
    ),
    "alias_limit": (
        1,
        {
            "the document gives more than N aliases": Case(
                ("{a: trades {id}}", {}), ("{a: trades {b: id}}", {})
            )
        },
    ),
    "token_limit": (
        6,
        {"the document has more than N tokens": Case(("{trades {id}}", {}), ("{trades {id qty}}", {}))},
    ),
    "condition_limit": (
        2,
        {
            "more than N comparisons in the conditions of an operation": Case(
                ("{trades(where: {qty: {_gt: 1, _lt: 9}}) {id}}", {}),
                ("{trades(where: {qty: {_gt: 1, _lt: 9}}) {id} x: trades(where: {id: {_eq: 1}}) {id}}", {}),
                f"{ARGS}.where.id._eq",
            )
        },
    ),
    "list_limit": (
        2,
        {
            "a list of more than N values": Case(
                ("{trades(where: {id: {_in: [1, 2]}}) {id}}", {}),
                ("{trades(where: {id: {_in: [1, 2, 3]}}) {id}}", {}),
                f"{ARGS}.where.id._in",
            )
        },
    ),
    "value_limit": (
        4,
        {
            "the variables hold more than N values": Case(
                (WHERE, {"w": {"id": {"_eq": 1, "_neq": 2}}}),
                (WHERE, {"w": {"id": {"_eq": 1, "_neq": 2, "_gt": 3}}}),
                "$.variables",
            ),
            "more than N values in the arguments of an operation": Case(
                ("{trades(where: {id: {_in: 1}}) {id}}", {}),
                ("{trades(where: {id: {_in: 1}}) {id} x: trades(limit: 1) {id}}", {}),
                "$.variables",
            ),
        },
    ),
}
