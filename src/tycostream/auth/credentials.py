"""What a request shows of who sends it: its headers, or what a WebSocket's first message has in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tycostream.auth.denied import malformed
from tycostream.config.auth import HeaderConfig, HeaderType

PREFIX: Final = "x-hasura-"
ADMIN_SECRETS: Final = ("x-hasura-admin-secret", "x-hasura-access-key")
ROLE: Final = "x-hasura-role"


class Credentials:
    """Headers by lower-case name. One that is there twice is refused when it is looked at: which is meant is a guess,
    and a proxy before us may have guessed otherwise.

    ``transport`` and ``client_ip`` say where they came from, for logs.
    """

    def __init__(
        self, pairs: Iterable[tuple[str, object]], *, transport: str = "", client_ip: str = ""
    ) -> None:
        self.transport = transport
        self.client_ip = client_ip
        self._values: dict[str, list[object]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str) -> str | None:
        """A header's only value; RequestError if there are several, or it is no text."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise malformed(f"the header {name[:80]!r} is there {len(values)} times")
        if not isinstance(values[0], str):
            raise malformed(f"the header {name[:80]!r} is not a text")
        return values[0].strip()

    def has(self, name: str) -> bool:
        """Whether there is such a header, whatever it holds."""
        return name in self._values

    def over(self, others: Credentials) -> Credentials:
        """These, and the ``others`` that are not among them; they came from where the others did."""
        return others._with({**others._values, **self._values})

    def without_cookies(self) -> Credentials:
        """These, if a browser may have sent its cookies on behalf of a page that may not use them."""
        return self._with({name: values for name, values in self._values.items() if name != "cookie"})

    def _with(self, values: dict[str, list[object]]) -> Credentials:
        made = Credentials((), transport=self.transport, client_ip=self.client_ip)
        made._values = values
        return made

    def session_variables(self) -> dict[str, str]:
        """The X-Hasura- headers but the secret and the role: names without prefix."""
        names = [name for name in self._values if name.startswith(PREFIX) and len(name) > len(PREFIX)]
        return {
            name[len(PREFIX) :]: self.get(name) or "" for name in names if name not in (*ADMIN_SECRETS, ROLE)
        }

    def admin_secret(self) -> str | None:
        """The admin secret, by its name of today or by its old one."""
        given = [value for name in ADMIN_SECRETS if (value := self.get(name)) is not None]
        if len(given) > 1:
            raise malformed(f"{' and '.join(ADMIN_SECRETS)} are both there; send one")
        return given[0] if given else None

    def token(self, place: HeaderConfig) -> str | None:
        """The token at a place, None if nothing is there; RequestError if what is there is none."""
        if place.type is HeaderType.AUTHORIZATION:
            value = self.get("authorization")
            if value is None:
                return None
            scheme, _, token = value.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise malformed("Malformed Authorization header", hint="Authorization: Bearer …")
            return token.strip()
        if place.type is HeaderType.COOKIE:
            return self._cookie(place.name or "")
        return self.get((place.name or "").lower()) or None

    def bearer(self) -> str | None:
        """What stands after ``Authorization: Bearer``, None if there is nothing of that kind."""
        scheme, _, token = (self.get("authorization") or "").partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None

    def _cookie(self, name: str) -> str | None:
        pairs = [part.partition("=") for part in (self.get("cookie") or "").split(";")]
        found = [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]
        if len(found) > 1:
            raise malformed(f"the cookie {name[:80]!r} is there {len(found)} times")
        return (found[0] or None) if found else None


def of_payload(payload: Mapping[str, object]) -> Credentials:
    """What connection_init says: under ``headers`` as Hasura has it, else flat as GraphiQL sends it."""
    headers = payload.get("headers")
    if headers is None:
        # beside headers a flat payload may hold anything; only texts can be meant
        return Credentials((name, value) for name, value in payload.items() if isinstance(value, str))
    if not isinstance(headers, Mapping):
        raise malformed("`headers` of connection_init is no object")
    return Credentials((str(name), value) for name, value in headers.items())
