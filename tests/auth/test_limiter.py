"""How much each client may ask: what each limit counts, and whom it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.auth.limiter import Limiter, network
from tycostream.auth.session import Session, Token
from tycostream.config.limits import LimitsConfig
from tycostream.errors import RequestError, TooMany
from tycostream.observe.events import Event, LimitReached
from tycostream.testing.clock import FakeClock


class World:
    """A limiter, its clock and what it told."""

    def __init__(self, **limits: Any) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.limiter = Limiter(LimitsConfig.model_validate(limits), self.clock, self.events.append)

    def refused(self, call: Any, *arguments: Any) -> TooMany:
        told = len(self.events)
        with pytest.raises(TooMany) as caught:
            call(*arguments)
        assert self.events[told:] == [LimitReached(caught.value.limit, self.events[-1].role)]  # type: ignore[union-attr]
        return caught.value


def user(name: str | None = None, role: str = "user", ip: str = "10.0.0.1") -> Session:
    return Session(role, {} if name is None else {"user-id": name}, client_ip=ip)


def test_a_rate_is_told_in_hasuras_words_and_with_the_time_to_wait() -> None:
    world = World(operations_per_user="60/m burst 2")
    for _ in range(2):
        world.limiter.operation(user("a"))
    error = world.refused(world.limiter.operation, user("a"))
    assert error.to_graphql() == {
        "message": "rate limit of 60 exceeded",
        "extensions": {
            "path": "$",
            "code": "rate-limit-exceeded",
            "hint": "try again in 1 s; limits.operations_per_user is the limit",
            "retry_after": 1,
        },
    }
    assert world.events == [LimitReached("operations_per_user", "user")]
    world.clock.advance(error.retry_after_s)
    world.limiter.operation(user("a"))


def test_a_user_is_the_session_variable_of_the_configuration() -> None:
    world = World(operations_per_user="1/h", user="x-hasura-org-id")
    world.limiter.operation(Session("user", {"org-id": "1", "user-id": "a"}))
    world.refused(world.limiter.operation, Session("user", {"org-id": "1", "user-id": "b"}))
    world.limiter.operation(Session("user", {"org-id": "2", "user-id": "a"}))


def test_who_is_named_by_a_token_only_is_that_user() -> None:
    world = World(operations_per_user="1/h")
    world.limiter.operation(Session("user", token=Token("1", "sub-a"), client_ip="10.0.0.1"))
    world.refused(world.limiter.operation, Session("user", token=Token("2", "sub-a"), client_ip="10.0.0.2"))
    world.limiter.operation(Session("user", token=Token("3", "sub-b"), client_ip="10.0.0.1"))


def test_what_others_refuse_by_a_limit_is_told_once() -> None:
    world = World()
    world.limiter.note("user", RequestError("validation-failed", "too deep", limit="depth_limit"))
    world.limiter.note("user", RequestError("validation-failed", "no such field"))
    world.limiter.note("user", TooMany("limit-exceeded", "told already", limit="queries_at_once"))
    assert world.events == [LimitReached("depth_limit", "user")]


@pytest.mark.parametrize(
    ("limit", "same", "others"),
    [
        ("operations_per_user", user("a", ip="10.0.0.9"), [user("b"), user(None), user("a", role="ops")]),
        ("operations_per_user", user("a" * 5000), [user("a" * 4999), user("a" * 64)]),
        ("operations_per_ip", user("b"), [user("a", ip="10.0.0.2"), user("a", role="ops")]),
        ("operations_per_role", user("b", ip="10.0.0.2"), [user("a", role="ops")]),
    ],
)
def test_one_clients_rate_never_hits_another(limit: str, same: Session, others: list[Session]) -> None:
    world = World(**{limit: "1/h"})
    first = (
        user("a" * len(same.variables.get("user-id", "a"))) if limit == "operations_per_user" else user("a")
    )
    world.limiter.operation(first)
    assert world.refused(world.limiter.operation, same).limit == limit
    for other in others:
        world.limiter.operation(other)


def test_who_names_no_user_is_counted_by_address_and_is_no_user_of_that_name() -> None:
    world = World(operations_per_user="1/h")
    world.limiter.operation(user(None, ip="10.0.0.1"))
    world.refused(world.limiter.operation, user(None, ip="10.0.0.1"))
    world.limiter.operation(user(None, ip="10.0.0.2"))
    world.limiter.operation(user("10.0.0.1"))


def test_roles_may_have_rates_of_their_own() -> None:
    world = World(operations_per_user="1/h", per_role={"ops": {"operations_per_user": "3/h"}})
    for role, times in (("user", 1), ("ops", 3), ("other", 1)):
        for _ in range(times):
            world.limiter.operation(user("a", role))
        assert world.refused(world.limiter.operation, user("a", role)).limit == "operations_per_user"


def test_what_a_client_is_refused_takes_nothing_from_its_role() -> None:
    world = World(operations_per_user="1/h", operations_per_role="3/h")
    world.limiter.operation(user("a"))
    for _ in range(5):
        world.refused(world.limiter.operation, user("a"))
    world.limiter.operation(user("b"))
    world.limiter.operation(user("c"))
    assert world.refused(world.limiter.operation, user("d")).limit == "operations_per_role"


def test_requests_are_counted_by_address() -> None:
    world = World(requests_per_ip="2/m")
    for _ in range(2):
        world.limiter.request("2001:db8::1")
    error = world.refused(world.limiter.request, "2001:db8::ffff:2")
    assert (error.limit, error.retry_after_s) == ("requests_per_ip", 30)
    world.limiter.request("2001:db8:0:1::1")
    world.limiter.request("10.0.0.1")


def test_secrets_are_not_looked_at_after_too_many_failures() -> None:
    world = World(wrong_secrets_per_ip="2/m")
    for _ in range(2):
        world.limiter.secret("10.0.0.1")
        world.limiter.secret("10.0.0.1")  # to look takes nothing
        world.limiter.wrong_secret("10.0.0.1")
    assert world.refused(world.limiter.secret, "10.0.0.1").code == "rate-limit-exceeded"
    world.limiter.wrong_secret("10.0.0.1")  # a token that was looked at meanwhile
    world.limiter.secret("10.0.0.2")
    world.clock.advance(30)
    world.limiter.secret("10.0.0.1")


def test_without_limits_nothing_is_counted() -> None:
    world = World()
    for _ in range(100):
        world.limiter.request("10.0.0.1")
        world.limiter.operation(user("a"))
    assert all(len(buckets) == 0 for buckets in world.limiter._buckets.values())


def test_queries_at_once_of_a_user_and_of_all() -> None:
    world = World(
        queries_at_once=3, queries_at_once_per_user=2, per_role={"ops": {"queries_at_once_per_user": 1}}
    )
    answering = world.limiter.answering
    with answering(user("a")), answering(user("a")):
        error = world.refused(answering(user("a")).__enter__)
        assert (error.code, error.message, error.busy) == (
            "limit-exceeded",
            "2 queries of one user may be answered at once",
            False,
        )
        with answering(user("b", "ops")):
            error = world.refused(answering(user("c")).__enter__)
            assert (error.limit, error.busy, error.hint) == (
                "queries_at_once",
                True,
                "try again in 1 s; limits.queries_at_once is the limit",
            )
    with answering(user("b", "ops")):
        assert world.refused(answering(user("b", "ops")).__enter__).limit == "queries_at_once_per_user"
    with pytest.raises(RuntimeError), answering(user("a")):
        raise RuntimeError("a query that failed has ended too")
    assert world.limiter._answering.total == 0


def test_a_role_has_its_limits_and_those_of_all() -> None:
    limiter = World(
        time_limit="5s", depth_limit=7, per_role={"ops": {"depth_limit": 9, "operations_max": 3}}
    ).limiter
    assert [limiter.of(role).depth_limit for role in ("user", "ops")] == [7, 9]
    assert [limiter.of(role).operations_max for role in ("user", "ops")] == [None, 3]
    assert [limiter.of(role).time_limit.total_seconds() for role in ("user", "ops")] == [5, 5]


def test_another_configuration_begins_with_full_buckets_and_the_same_one_does_not() -> None:
    world = World(operations_per_user="1/h")
    world.limiter.operation(user("a"))
    world.limiter.reconfigure(LimitsConfig.model_validate({"operations_per_user": "1/h"}))
    world.refused(world.limiter.operation, user("a"))
    world.limiter.reconfigure(LimitsConfig.model_validate({"operations_per_user": "2/h"}))
    world.limiter.operation(user("a"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "20010db800000000::/64"),
        ("2001:db8:0:0:ffff::1", "20010db800000000::/64"),
        ("2001:db8:0:1::1", "20010db800000001::/64"),
        ("fe80::1%eth0", "fe80000000000000::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("a:b", "a:b"),
    ],
)
def test_what_an_address_counts_as(address: str, expected: str) -> None:
    assert network(address) == expected


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_addresses_of_a_64_are_one_client(address: Any, host: int) -> None:
    other = type(address)((int(address) >> 64 << 64) + host)
    if address.ipv4_mapped is None and other.ipv4_mapped is None:
        assert network(str(address)) == network(str(other))
