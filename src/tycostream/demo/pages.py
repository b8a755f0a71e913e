"""What the demo serves beside the API: the page at ``/demo``, its files, and example queries for GraphiQL."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

STATIC: Final = Path(__file__).with_name("static")
# The page is held to what it promises: nothing from elsewhere, nothing inline.
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # asked for again with its ETag, so that a new version is seen at once
}

EXAMPLES: Final[list[str]] = [
    """# A query: Hasura's schema. Numeric and bigint come as strings, exact to the last digit.
query Winners {
  positions(where: {profit: {_gt: "0"}}, order_by: {profit: desc}, limit: 5) {
    symbol
    quantity
    last_price
    profit
  }
}
""",
    """# A live query: the same words with `subscription` give the whole result again after each change.
subscription TopPositions {
  positions(order_by: {profit: desc}, limit: 5) {
    symbol
    last_price
    profit
    updated_at
  }
}
""",
    """# Rows of several tables, nested and live: a new result whenever one of them looks different.
subscription Related {
  instruments(where: {trades: {quantity: {_gte: 400}}}, order_by: {position: {profit: desc}}, limit: 3) {
    symbol
    position {
      profit
    }
    trades(order_by: {id: desc}, limit: 2) {
      side
      price
      quantity
    }
  }
}
""",
    """# A view, live: PostgreSQL computes it again when its tables change, and only what is different is told.
subscription Pnl {
  live_pnl(order_by: {pnl: desc}, limit: 5) {
    symbol
    trades
    net_position
    latest_price
    pnl
  }
}
""",
    """# A change feed: a consistent snapshot first (phase snapshot, then ready), then every change, a transaction at a time.
# Pass the last cursor as `after` to resume exactly where you stopped.
subscription BigTrades {
  trades_changes(where: {quantity: {_gte: 400}}) {
    phase
    cursor
    changes {
      operation
      row {
        id
        symbol
        side
        price
        quantity
        executed_at
      }
    }
  }
}
""",
    """# One row by its primary key; try it with `subscription` too.
query OnePosition {
  positions_by_pk(instrument_id: 14) {
    symbol
    quantity
    average_price
    last_price
    profit
  }
}
""",
    """# Slower on purpose: at most one set per second, holding the net of what happened meanwhile.
subscription EverySecond @coalesce(ms: 1000, strategy: throttle) {
  positions_changes(snapshot: false) {
    phase
    changes {
      operation
      changed
      row {
        symbol
        last_price
      }
      old {
        last_price
      }
    }
  }
}
""",
]
"""GraphQL documents that work with ``demo.yaml``, one per tab of GraphiQL."""


class _Files(StaticFiles):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                assert isinstance(headers, list)
                headers += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            await send(message)

        await super().__call__(scope, receive, send_with_headers)  # type: ignore[arg-type]


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "demo.html", headers=_HEADERS)


def routes() -> list[BaseRoute]:
    """``/demo`` and ``/demo/static/*``, for the application's list of routes."""
    return [
        Route("/demo", _page, methods=["GET"]),
        Mount("/demo/static", _Files(directory=STATIC), name="demo-static"),
    ]
