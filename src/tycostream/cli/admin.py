"""`tycostream sessions`, `state` and `revoke`: the admin API of a running server on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode, urlsplit

import typer

from tycostream.cli.common import run
from tycostream.errors import TycoError

Url = Annotated[
    str,
    typer.Option("--url", envvar="TYCOSTREAM_URL", help="Where the server is; https:// unless it is here."),
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--admin-secret",
        envvar="TYCOSTREAM_ADMIN_SECRET",
        help="One of auth.admin_secrets; better in the environment, for others see command lines.",
        show_envvar=True,
    ),
]
AdminToken = Annotated[
    str | None,
    typer.Option("--token", envvar="TYCOSTREAM_TOKEN", help="Or a token of the role admin."),
]
AsJson = Annotated[bool, typer.Option("--json", help="What the server says, as it says it.")]
_HERE: Final = "http://127.0.0.1:4000"
_TIMEOUT_S: Final = 30.0
_BYTES_MAX: Final = 64 * 2**20


def sessions(
    url: Url = _HERE,
    admin_secret: Secret = None,
    token: AdminToken = None,
    role: Annotated[str, typer.Option(help="Of this role only.")] = "",
    user: Annotated[str, typer.Option(help="Of this user only.")] = "",
    source: Annotated[str, typer.Option(help="With an operation over this source only.")] = "",
    client_ip: Annotated[str, typer.Option(help="From this address only.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="As many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List who is connected to a server, and what runs for him.

    Example: tycostream sessions --role trader --json
    """
    wanted = {"role": role, "user": user, "source": source, "client_ip": client_ip}
    given = {name: value for name, value in wanted.items() if value}
    found: list[Any] = []
    total, after = 0, None
    while len(found) < limit:
        page = {"limit": str(min(1000, limit - len(found)))} | ({"after": after} if after else {})
        answer = _asked(url, f"sessions?{urlencode(given | page)}", admin_secret, token)
        found += answer["connections"]
        total, after = answer["total"], answer["next"]
        if after is None:
            break
    if as_json:
        typer.echo(json.dumps({"connections": found, "total": total, "next": after}, indent=2))
    else:
        _print_sessions(found, total, more=after is not None)


def state(
    url: Url = _HERE, admin_secret: Secret = None, token: AdminToken = None, as_json: AsJson = False
) -> None:
    """Say how a server is: its databases and sources, who is answered together, and how much goes through.

    Exits with 1 unless every source is live. Example: tycostream state --url https://api.example.com
    """
    answer = _asked(url, "state", admin_secret, token)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print_state(answer)
    if not answer["ready"]:
        raise typer.Exit(1)


def revoke_sessions(
    url: Url = _HERE,
    admin_secret: Secret = None,
    token: AdminToken = None,
    token_id: Annotated[str, typer.Option(help="Of the token with this id.")] = "",
    user: Annotated[str, typer.Option(help="Of this user.")] = "",
    role: Annotated[str, typer.Option(help="Of this role.")] = "",
    variable: Annotated[
        list[str] | None,
        typer.Option(
            "--variable", "-v", metavar="NAME=VALUE", help="With this session variable; repeatable."
        ),
    ] = None,
    connection: Annotated[str, typer.Option(help="The one with this id, and its token.")] = "",
    as_json: AsJson = False,
) -> None:
    """End sessions, within a second on every server of one `state`, and make their tokens useless. All that is given must hold.

    Example: tycostream revoke --user 7
    """
    variables = {}
    for text in variable or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise TycoError("usage", f"--variable {text!r} is not NAME=VALUE", hint="-v x-hasura-org-id=5")
        variables[name] = value
    wanted = {"token": token_id, "user": user, "role": role, "connection": connection, "variables": variables}
    body = {name: value for name, value in wanted.items() if value}
    if not body:
        raise TycoError("usage", "say whose: --token-id, --user, --role, --variable or --connection")
    answer = _asked(url, "revoke", admin_secret, token, body)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    ended, api = answer["connections"], answer["api_tokens"]
    where = (
        "and those of all servers of its state"
        if answer["shared"]
        else "of this server alone: it has no state"
    )
    typer.echo(f"ended {_counted(ended, 'session')} {where}; {_counted(api, 'API token')} revoked for good")
    typer.echo(f"tokens of before are refused until {answer['remembered_until'] or 'for ever'}")


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _asked(
    url: str, path: str, secret: str | None, token: str | None, body: Mapping[str, Any] | None = None
) -> Any:
    """What the server says; TycoError if it does not."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TycoError(
            "url-invalid", "--url is no address of a server", hint=f"{_HERE}, https://api.example.com"
        )
    headers = (
        {"X-Hasura-Admin-Secret": secret} if secret else {"Authorization": f"Bearer {token}"} if token else {}
    )
    _expect_privacy(parts.scheme, parts.hostname, headers)
    status, answer = run(_answer(f"{url.rstrip('/')}/v1/admin/{path}", headers, body))
    if status == 200:
        return answer
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors:
        raise TycoError("no-admin-api", f"there is no admin API of tycostream at --url: it answers {status}")
    said, hint = errors[0]["message"], errors[0]["extensions"].get("hint", "")
    if status == 401:
        hint = hint or "set TYCOSTREAM_ADMIN_SECRET, or TYCOSTREAM_TOKEN"
    raise TycoError(errors[0]["extensions"]["code"], said, hint=hint)


def _expect_privacy(scheme: str, host: str, headers: Mapping[str, str]) -> None:
    from tycostream.config.loopback import is_loopback

    if headers and scheme == "http" and not is_loopback(host):
        raise TycoError(
            "url-insecure", "a secret is sent to another machine over https:// only", hint="--url https://…"
        )


async def _answer(url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None) -> tuple[int, Any]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                "GET" if body is None else "POST",
                url,
                headers=headers,
                json=body,
                allow_redirects=False,  # the secret is for this server and no other
            ) as answer,
        ):
            text = await answer.content.read(_BYTES_MAX)
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise TycoError(
            "server-unreachable",
            "the server does not answer",
            detail=reason,
            hint="is it there? --url says where",
        ) from None


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # what clients call their operations must not do anything to a terminal
        table.add_row(*(escape("".join(c if c.isprintable() else "?" for c in str(cell))) for cell in row))
    Console().print(table)


def _print_sessions(found: Sequence[Any], total: int, *, more: bool) -> None:
    rows = []
    for each in found:
        told = [f"{one['kind']} {','.join(one['sources'])} {one['rows']}" for one in each["operations"][:3]]
        left = each["operations_total"] - len(told)
        rest = [f"and {left} more"] if left > 0 else []
        who = each["role"] or "(not said yet)", each["user"]
        rows.append(
            (each["id"], each["transport"], each["client_ip"], *who, each["since"], "; ".join(told + rest))
        )
    columns = ("id", "transport", "address", "role", "user", "since", "operations: kind, sources, rows sent")
    if rows:
        _print_table(columns, rows)
    typer.echo(f"{len(found)} of {_counted(total, 'connection')}" + ("; --limit shows more" if more else ""))


def _print_state(answer: Any) -> None:
    ready = "every source is live" if answer["ready"] else "NOT READY"
    rates = answer["rates"]
    typer.echo(
        f"tycostream {answer['version']}, up {answer['uptime_s']:.0f} s: {ready};"
        f" {_counted(answer['connections'], 'connection')}, {_counted(answer['operations'], 'operation')},"
        f" {_counted(answer['cohorts_total'], 'cohort')}"
    )
    typer.echo(
        f"a second: {rates['changes']:.1f} changes, {rates['messages']:.1f} messages, {rates['bytes']:.0f} bytes\n"
    )
    _print_table(
        ("database", "engine", "state", "breaker", "why"),
        [
            (each["name"], each["engine"], each["state"], each["breaker"], each["reason"])
            for each in answer["databases"]
        ],
    )
    typer.echo()
    _print_table(
        ("source", "state", "rows", "bytes", "log bytes", "cohorts", "why"),
        [
            (
                each["name"],
                each["state"],
                each["rows"],
                each["bytes"],
                each["log_bytes"],
                each["cohorts"],
                each["reason"] or each["remark"],
            )
            for each in answer["sources"]
        ],
    )
    if answer["cohorts"]:
        typer.echo()
        _print_table(
            ("cohort", "sources", "role", "members"),
            [
                (each["kind"], ",".join(each["sources"]), each["role"], each["members"])
                for each in answer["cohorts"][:20]
            ],
        )
