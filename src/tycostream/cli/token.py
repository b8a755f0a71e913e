"""`tycostream token create`, `list` and `revoke`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tycostream.cli.common import DEFAULT_CONFIG, ConfigPath, load, run
from tycostream.errors import TycoError

if TYPE_CHECKING:
    from tycostream.config.model import Config
    from tycostream.state.base import StateStore
    from tycostream.state.tokens import ApiToken

token_cli = typer.Typer(
    help="API tokens: who shows one is asked nothing else. They are kept in `state` of the configuration.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]
_VALUE_CHARACTERS_MAX: Final = 4096
_NOT_VARIABLES: Final = ("role", "admin-secret", "access-key")


def create(
    name: Annotated[str, typer.Argument(help="What it is for; shown in lists.")],
    role: Annotated[str, typer.Option(help="The role of its sessions.")],
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", "-v", metavar="NAME=VALUE", help="A session variable; repeatable."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(help="How long it is good (90d), or until when (2027-01-31); absent: for ever."),
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is written to standard output, this once: what is kept cannot be turned back into it.

    Example: TOKEN=$(tycostream token create nightly-report --role trader -v x-hasura-desk-id=fx --expires 90d)
    """
    from tycostream.auth.api_token import digest, new_id, new_secret
    from tycostream.clock import SystemClock
    from tycostream.state.tokens import ApiToken, add

    loaded = load(config)
    now_s = SystemClock().time()
    token = ApiToken(
        new_id(),
        _text(name, "the name"),
        _text(role, "the role"),
        _variables(variable or []),
        now_s,
        None if expires is None else _expiry(expires, now_s),
    )
    secret = new_secret()
    _in_state(loaded, lambda store: store.write(add(token, digest(secret) or "")))
    if as_json:
        typer.echo(json.dumps(_shown(token, now_s) | {"token": secret}, indent=2))
    else:
        until = "does not expire" if token.expires_s is None else f"expires {_time(token.expires_s)}"
        typer.echo(
            f"token {token.id} ({token.name}): role {token.role}, {until}; it is shown only now", err=True
        )
        typer.echo(secret)
    roles = {
        "admin",
        *loaded.inherited_roles,
        *(each for one in loaded.sources.values() for each in one.permissions),
    }
    if role not in roles:
        typer.echo(
            f"no source has permissions for the role {role}: who shows this token sees nothing", err=True
        )


def list_tokens(
    every: Annotated[
        bool, typer.Option("--all", help="Those that have expired or were revoked too.")
    ] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """List the tokens that are good. When one was last used is written down once a minute.

    Example: tycostream token list --all --json
    """
    from tycostream.clock import SystemClock
    from tycostream.state.tokens import listed

    now_s = SystemClock().time()
    tokens = [
        token
        for token in _in_state(load(config), lambda store: store.read(listed()))
        if every or token.state(now_s) == "active"
    ]
    if as_json:
        typer.echo(json.dumps([_shown(token, now_s) for token in tokens], indent=2))
    elif tokens:
        _print_table(tokens, now_s)
    else:
        typer.echo("there is no token" if every else "there is no token that is good; --all lists the others")


def revoke(
    which: Annotated[
        list[str], typer.Argument(metavar="ID|NAME…", help="Ids or names, as `token list` has them.")
    ],
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Revoke tokens: all or, if one of them is not there, none. Their connections end within a second.

    Example: tycostream token revoke nightly-report 3f9a1c0b77de
    """
    from tycostream.clock import SystemClock
    from tycostream.state.tokens import listed
    from tycostream.state.tokens import revoke as revocation

    async def work(store: StateStore) -> tuple[list[ApiToken], frozenset[str]]:
        tokens = _chosen(which, await store.read(listed()))
        ids = [token.id for token in tokens]
        return tokens, await store.write(revocation(ids, SystemClock().time()))

    tokens, fresh = _in_state(load(config), work)
    if as_json:
        listing = [{"id": each.id, "name": each.name, "revoked_now": each.id in fresh} for each in tokens]
        typer.echo(json.dumps(listing, indent=2))
        return
    for token in tokens:
        said = "revoked" if token.id in fresh else "was revoked before"
        typer.echo(f"token {token.id} ({token.name}): {said}")


def _in_state(config: Config, work: Callable[[StateStore], Awaitable[Any]]) -> Any:
    from tycostream.state.opening import open_state

    if config.state is None:
        raise TycoError(
            "state-missing",
            "the configuration says nowhere where tokens are kept",
            hint="write `state: sqlite:///tycostream.db`, or a PostgreSQL's url for several servers, and `auth: {}`",
        )
    url = config.state

    async def opened() -> Any:
        store = open_state(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return run(opened())


def _chosen(which: Sequence[str], tokens: Sequence[ApiToken]) -> list[ApiToken]:
    """The tokens that are meant, each once; TycoError if that is not clear."""
    found: dict[str, ApiToken] = {}
    for text in which:
        meant = [token for token in tokens if token.id == text]
        meant = meant or [token for token in tokens if token.name == text and token.revoked_s is None]
        meant = meant or [token for token in tokens if token.name == text][:1]  # revoked before
        if not meant:
            raise TycoError(
                "token-missing",
                f"there is no token {text!r}",
                hint="`tycostream token list --all` lists them",
            )
        if len(meant) > 1:
            ids = ", ".join(token.id for token in meant)
            raise TycoError(
                "token-unclear", f"{len(meant)} tokens have the name {text!r}: {ids}", hint="name their ids"
            )
        found[meant[0].id] = meant[0]
    return list(found.values())


def _text(text: str, what: str) -> str:
    if not text.strip() or text != text.strip() or not text.isprintable() or len(text) > 200:
        raise typer.BadParameter(
            f"{what} must be printable text of at most 200 characters, without spaces around it"
        )
    return text


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        short = name.strip().lower().removeprefix("x-hasura-")
        if not equals or not short or not short.isprintable() or " " in short:
            raise typer.BadParameter(f"{pair[:80]!r} is not NAME=VALUE, such as x-hasura-desk-id=fx")
        if short in _NOT_VARIABLES:
            raise typer.BadParameter(
                f"{name!r} is no session variable" + ("; see --role" if short == "role" else "")
            )
        if short in found:
            raise typer.BadParameter(f"the variable {name!r} is there twice")
        if len(value) > _VALUE_CHARACTERS_MAX:
            raise typer.BadParameter(
                f"the value of {name!r} has more than {_VALUE_CHARACTERS_MAX} characters"
            )
        found[short] = value
    return found


def _expiry(text: str, now_s: float) -> float:
    """Seconds since 1970. A date without a time of day is its beginning, one without a zone is UTC."""
    from pydantic import TypeAdapter, ValidationError

    from tycostream.config.values import Duration

    try:
        lasting: timedelta = TypeAdapter(Duration).validate_python(text)
        at_s = now_s + lasting.total_seconds()
    except ValidationError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is neither a duration (90d) nor a date (2027-01-31)"
            ) from None
        at_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    if at_s <= now_s:
        raise typer.BadParameter(f"{text!r} is past already")
    return at_s


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _shown(token: ApiToken, now_s: float) -> dict[str, Any]:
    times = {
        "created": token.created_s,
        "expires": token.expires_s,
        "used": token.used_s,
        "revoked": token.revoked_s,
    }
    told = {
        name: None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
        for name, seconds in times.items()
    }
    variables = {f"x-hasura-{name}": value for name, value in token.variables.items()}
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "variables": variables,
        "state": token.state(now_s),
        **told,
    }


def _print_table(tokens: Sequence[ApiToken], now_s: float) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "role", "variables", "created", "expires", "last used", ""):
        table.add_column(column, overflow="fold")
    for token in tokens:
        state = token.state(now_s)
        table.add_row(
            token.id,
            escape(token.name),
            escape(token.role),
            escape(", ".join(f"{name}={value}" for name, value in token.variables.items())),
            _time(token.created_s),
            "never" if token.expires_s is None else _time(token.expires_s),
            "never" if token.used_s is None else _time(token.used_s),
            {"active": "", "expired": "[yellow]expired[/]", "revoked": "[red]revoked[/]"}[state],
        )
    Console(width=None if Console().is_terminal else 200).print(table)
