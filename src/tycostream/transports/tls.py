"""TLS on the port: one context for as long as the socket listens, and the certificate of now within it."""

from __future__ import annotations

import ssl
from typing import Any, Final

from tycostream.clock import Clock, Timer
from tycostream.config.certificate import Certificate, Misfit, minimum_version, served_context
from tycostream.config.door import TlsConfig
from tycostream.errors import TycoError
from tycostream.observe.events import CertificateExpires, CertificateServed, Emit

_DAY_S: Final = 86_400.0
_WARN_DAYS: Final = 21
_WARN_SHARE: Final = 1 / 3  # of its life: some are made for a week


class TlsPort:
    """Gives each handshake the certificate of now, and says when it is about to expire.

    ``renew`` never disturbs a connection: those that are there keep what they agreed on.
    """

    def __init__(self, tls: TlsConfig, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._timer: Timer | None = None
        self._tls = tls
        self._current, self._certificate = self.prepared(tls)
        # The one that listens: it only hands on, and is never without a certificate.
        self.context, _ = served_context(tls)
        self.context.sni_callback = self._choose
        self._serve()

    def _choose(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def prepared(self, tls: TlsConfig) -> tuple[ssl.SSLContext, Certificate]:
        """What would serve a certificate; TycoError, with a remedy, if it cannot be served now."""
        try:
            context, certificate = served_context(tls)
        except Misfit as misfit:
            message = f"the {'key' if misfit.setting == 'key' else 'certificate'} of server.tls {misfit}"
            hint = f"name a chain and its key in PEM form in server.tls.{misfit.setting}"
            raise TycoError("tls-certificate", message, hint=hint) from None
        now_s = self._clock.time()
        named = f"the certificate of server.tls for {', '.join(certificate.names)}"
        if now_s >= certificate.until_s:
            raise TycoError(
                "tls-certificate",
                f"{named} has expired {_days(now_s - certificate.until_s)} ago",
                hint="no client takes it; renew it, and name the new one in server.tls",
            )
        if now_s < certificate.from_s:
            raise TycoError(
                "tls-certificate",
                f"{named} is not valid yet, for {_days(certificate.from_s - now_s)} more",
                hint="look at the time of this machine, or name the one that is valid",
            )
        return context, certificate

    def renew(self, tls: TlsConfig) -> None:
        """Serve another certificate from the next handshake on, if it is another; TycoError if it cannot be served."""
        if tls == self._tls:
            return
        self._current, self._certificate = self.prepared(tls)
        self._tls = tls
        self.context.minimum_version = minimum_version(tls)
        self._serve()

    def close(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _serve(self) -> None:
        left_s = self._certificate.until_s - self._clock.time()
        self._emit(CertificateServed(", ".join(self._certificate.names), _whole_days(left_s)))
        self._look()

    def _look(self) -> None:
        """Once a day, and at the second at which it expires."""
        self.close()
        certificate = self._certificate
        left_s = certificate.until_s - self._clock.time()
        soon_s = min(_WARN_DAYS * _DAY_S, _WARN_SHARE * (certificate.until_s - certificate.from_s))
        if left_s <= soon_s:
            names = ", ".join(certificate.names)
            self._emit(CertificateExpires(names, _whole_days(left_s), expired=left_s <= 0))
        until_end_s = left_s if left_s > 0 else _DAY_S
        until_soon_s = left_s - soon_s if left_s > soon_s else _DAY_S
        self._timer = self._clock.call_later(min(_DAY_S, until_end_s, until_soon_s), self._look)


def _whole_days(seconds: float) -> int:
    return int(seconds // _DAY_S)


def _days(seconds: float) -> str:
    days = _whole_days(seconds)
    return f"{days} day{'' if days == 1 else 's'}" if days else "less than a day"
