"""The planners of an App, by role: made when they are first asked for, and a bounded number of them."""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from tycostream.auth.permissions import granting
from tycostream.auth.session import ADMIN, Session
from tycostream.config.model import Config
from tycostream.config.relationships import fields_of
from tycostream.errors import RequestError
from tycostream.graphql.execute import InvalidRequest, Planner
from tycostream.graphql.plan import Plan, Request, resumed
from tycostream.graphql.trusted import TrustedDocuments
from tycostream.live.live_source import permitted_no_more
from tycostream.observe.events import Emit, PermissionUnfit
from tycostream.rows import RowType

_UNKNOWN: Final = re.compile(r"field '([^']*)' not found in type: '([^']*)'")
_OF_ROWS: Final = ("", "_bool_exp", "_order_by")  # types of a source that have its relationships as fields
_PLANNERS_MAX: Final = 16  # besides those of the roles that the configuration names
_WAITING: Final = "its database has not described it yet; /readyz says what it waits for"


class Planners:
    """Plans what anybody asks, as far as his role sees the sources that are described.

    ``row_types`` are those; ``clear`` says that they, or the configuration, are others.
    """

    def __init__(self, config: Config, row_types: Mapping[str, RowType], emit: Emit) -> None:
        self._config = config
        self._row_types = row_types
        self._emit = emit
        self._known: OrderedDict[str, Planner] = OrderedDict()  # as they were asked for
        self._permissions = 0  # how often permissions were changed
        self._unfit: set[PermissionUnfit] = set()

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        """What is planned from now on is planned anew."""
        self._known.clear()

    def reconfigure(self, config: Config, *, permissions: bool) -> None:
        """Take on another configuration; ``permissions``: in it a role may see something else."""
        self._config = config
        self.clear()
        if permissions:
            self._permissions += 1
            self._unfit.clear()

    def of(self, role: str) -> Planner:
        """The planner of what a role sees. RequestError if no source is known by now."""
        if not self._row_types:
            raise RequestError("source-not-ready", "no source is known yet", hint=_WAITING)
        planner = self._known.get(role)
        if planner is None:
            planner = self._known[role] = self._make(role)
            self._tell_unfit(planner)
        self._known.move_to_end(role)
        named = {each for source in self._config.sources.values() for each in source.permissions}
        named |= self._config.inherited_roles.keys()
        while len(self._known) > len(named) + _PLANNERS_MAX:  # what sees nothing may have any name
            self._known.popitem(last=False)
        return planner

    def _make(self, role: str) -> Planner:
        config = self._config
        names = [name for name in config.sources if name in self._row_types]
        if role != ADMIN and not any(self._shown_to(role, name) for name in names):
            names = []
        return Planner(
            [self._row_types[name] for name in names],
            sources=config.sources,
            limits=config.limits,
            stringify_numbers=config.server.stringify_numbers,
            multi_root_subscriptions=config.server.multi_root_subscriptions,
            role=role,
            trusted=TrustedDocuments(config.query_collections, config.allowlist or None, role),
            introspection=role not in config.introspection.disabled_for_roles,
            inherited=config.inherited_roles,
        )

    def _shown_to(self, role: str, source: str) -> bool:
        """Whether a permission shows anything of a source to a role."""
        return bool(granting(role, self._config.sources[source].permissions, self._config.inherited_roles))

    def _tell_unfit(self, planner: Planner) -> None:
        for misfit in planner.misfits:
            event = PermissionUnfit(misfit.source, misfit.role, misfit.message)
            if event not in self._unfit:
                self._unfit.add(event)
                self._emit(event)

    def plan(self, request: Request) -> Plan:
        """The bound plan of an operation; InvalidRequest if it has none."""
        session = request.session
        try:
            plan = self.of(session.role).plan(
                request.query, request.operation_name, request.variables, session
            )
        except InvalidRequest as invalid:
            raise InvalidRequest([self._explained(error, session) for error in invalid.errors]) from None
        if request.after is not None:
            plan = resumed(plan, request.after)
        return dataclasses.replace(plan, permissions=self._permissions, request=request)

    def as_permitted(self, plan: Plan) -> Plan:
        """The plan by the permissions of now; RequestError if it is not permitted any more."""
        if plan.for_admin or plan.permissions == self._permissions or plan.request is None:
            return plan
        try:
            return self.plan(plan.request)
        except InvalidRequest as invalid:
            raise permitted_no_more(invalid.errors[0].message) from None

    def _explained(self, error: RequestError, session: Session) -> RequestError:
        """An unknown field that will be there once a database has described a source is not the client's mistake."""
        match = _UNKNOWN.fullmatch(error.message)
        name = self._awaited(match[1], match[2]) if match else None
        if name is None or not (session.admin or self._shown_to(session.role, name)):
            return error
        said = f"the source {name!r} is not known yet"
        return RequestError("source-not-ready", said, path=error.path, hint=_WAITING)

    def _awaited(self, field: str, type_name: str) -> str | None:
        """The source without which a type has not got a field that it will have."""
        sources = self._config.sources
        if type_name in ("query_root", "subscription_root"):
            named = [name for name, each in sources.items() if field in each.root_fields.values()]
        else:
            named = [
                each.target
                for end in _OF_ROWS
                if (source := sources.get(type_name.removesuffix(end))) is not None
                for name, each in source.relationships.items()
                if field in fields_of(name, each)
            ]
        return next((name for name in named if name not in self._row_types), None)
