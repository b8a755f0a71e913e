"""What it costs when everybody comes back at once: CPU time a reconnect, wall time, memory. JSON, never a test.

    python bench/reconnect.py [--clients 10000] [--algorithm HS256 RS256] [--kind feed live] [--storms 1]

A server on one core; users with a token each, of 100 entitlements (``where: {symbol: {_eq: X-Hasura-Desk}}``), who each see
10 rows. All connect, greet with their token, and subscribe; then every socket is reset and all come back at once, a feed
with its cursor, while the server still learns that they were gone. Rows change meanwhile, so a feed has something to
send. RS256 is verified with a key that the issuer publishes (JWKS). ``left`` is what the server still counts when all are
gone again. Needs `make bench-tools`, two cores, and a limit of open files (`ulimit -n`) above the number of clients.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import http.server
import json
import os
import resource
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from harness import TOOLS_CORE, Fake, Json, Server, Spec, control, on_core, save, sigterm_unwinds
from storm_client import Crowd, Waits

SERVER_PORT, UPSTREAM_PORT, CONTROL_PORT = 14003, 16877, 16878  # its own: another bench may be at work
DESKS = 100
LIMIT_S = 120.0
ROW = "id symbol side price qty"
QUERIES = {
    "feed": "subscription($after: String) { trades_changes(after: $after) "
    f"{{ phase cursor changes {{ operation row {{ {ROW} }} }} }} }}",
    "live": f"subscription {{ trades(order_by: {{id: asc}}) {{ {ROW} }} }}",
}
CONFIG = """
name: reconnect
databases:
  main: {{engine: materialize, url: "postgresql://bench@127.0.0.1:{upstream}/materialize"}}
sources:
  trades:
    primary_key: id
    permissions:
      trader: {{columns: "*", where: {{symbol: {{_eq: X-Hasura-Desk}}}}}}
auth:
  admin_secrets: ["{secret}"]
  jwt: [{issuer}]
"""


class Issuer:
    """Makes tokens; ``config`` is what the server is told of it."""

    def __init__(self, algorithm: str, jwks_port: int, public: rsa.RSAPublicKey | None, key: Any) -> None:
        self.algorithm = algorithm
        self._key = key
        if public is None:
            self.config: Json = {"type": algorithm, "key": key}
        else:
            self.config = {"jwk_url": f"http://127.0.0.1:{jwks_port}/jwks.json"}
        self.config["issuer"] = "bench"

    def token(self, number: int) -> str:
        """Of one user."""
        claims = {
            "x-hasura-default-role": "trader",
            "x-hasura-allowed-roles": ["trader"],
            "x-hasura-user-id": f"user-{number}",
            "x-hasura-desk": f"S{number % DESKS}",
        }
        now_s = int(time.time())
        said = {"iss": "bench", "sub": f"user-{number}", "iat": now_s, "exp": now_s + 3600}
        said["https://hasura.io/jwt/claims"] = claims
        return jwt.encode(said, self._key, self.algorithm, headers={"kid": "bench"})


@contextlib.contextmanager
def issuer(algorithm: str) -> Iterator[Issuer]:
    """One whose public key, if it has one, is published until the block ends."""
    if algorithm == "HS256":
        yield Issuer(algorithm, 0, None, secrets.token_hex(32))
        return
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key()
    numbers = public.public_numbers()
    key = {"kty": "RSA", "kid": "bench", "alg": algorithm, "use": "sig"}
    key |= {"n": _number(numbers.n), "e": _number(numbers.e)}
    body = json.dumps({"keys": [key]}).encode()

    class Published(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Published)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Issuer(
            algorithm, server.server_port, public, private
        )  # read from a text it would be checked anew for each token
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _number(value: int) -> str:
    """As a JWK has it."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def state(secret: str) -> Json:
    """What the server says of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", SERVER_PORT, timeout=60)
    try:
        connection.request("GET", "/v1/admin/state", headers={"X-Hasura-Admin-Secret": secret})
        answer = connection.getresponse()
        said: Json = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"/v1/admin/state: {answer.status} {said}")
        return said
    finally:
        connection.close()


def counted(secret: str) -> Json:
    """Connections (that of the question is HTTP, and not among them) and operations."""
    said = state(secret)
    return {
        "connections": said["connections"],
        "operations": said["operations"],
        "cohorts": said["cohorts_total"],
        "cohort_members": sum(each["members"] for each in said["cohorts"]),
    }


def storm(server: Server, crowd: Crowd) -> Json:
    """Everybody connects; figures of that."""
    cpu_s, begin = server.cpu_s(), time.monotonic()
    waits = crowd.connect(LIMIT_S)
    wall_s, cpu_s = time.monotonic() - begin, server.cpu_s() - cpu_s
    count = len(crowd.clients)
    return {
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "cpu_us_each": round(1e6 * cpu_s / count),
        "accepted_per_s": round(count / max(waits.accepted)),
        **last(waits),
        "phases": dict(waits.phases),
        "tried_again": waits.again,
        "rss_mb": round(server.rss_kb() / 1024, 1),
        "machine_load": round(os.getloadavg()[0], 1),
    }


def last(waits: Waits) -> Json:
    """When half, and all, of them had got so far."""
    found = {"accepted": waits.accepted, "let_in": waits.let_in, "first": waits.first}
    return {
        f"{name}_s": [round(sorted(each)[len(each) // 2], 2), round(max(each), 2)]
        for name, each in found.items()
    }


def measured(algorithm: str, kind: str, clients: int, storms: int) -> Json:
    """One server: all connect, and reconnect so many times."""
    secret = secrets.token_hex(16)
    with issuer(algorithm) as made, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "tycostream.yaml"
        config.write_text(
            CONFIG.format(upstream=UPSTREAM_PORT, secret=secret, issuer=json.dumps(made.config))
        )
        cmd = [sys.executable, "-m", "tycostream", "serve", "--config", str(config)]
        spec = Spec("reconnect", [*cmd, "--port", str(SERVER_PORT)], f"ws://127.0.0.1:{SERVER_PORT}/graphql")
        tokens = [made.token(number) for number in range(clients)]
        with Fake(10 * DESKS, 1, UPSTREAM_PORT, CONTROL_PORT, symbols=DESKS), Server(spec) as server:
            crowd = Crowd(SERVER_PORT, tokens, QUERIES[kind])
            result: Json = {"rss_before_mb": round(server.rss_kb() / 1024, 1)}
            result["connect"] = storm(server, crowd)
            result["standing"] = counted(secret)
            result["reconnect"] = []
            for _ in range(storms):
                control("burst 1000", CONTROL_PORT)
                crowd.listen(4)  # a cursor is of the last message, so they take in what changed
                crowd.kill()
                control("burst 1000", CONTROL_PORT)
                result["reconnect"].append(storm(server, crowd))
            result["standing_again"] = counted(secret)
            crowd.kill()
            result["left"] = gone(secret)
            result["rss_after_mb"] = round(server.rss_kb() / 1024, 1)
            return {"algorithm": algorithm, "kind": kind, "clients": clients, **result}


def gone(secret: str) -> Json:
    """What is counted once it stays as it is."""
    end_s = time.monotonic() + 30
    while (left := counted(secret))["connections"] and time.monotonic() < end_s:
        time.sleep(0.2)
    return left


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--algorithm", nargs="+", choices=("HS256", "RS256"), default=["HS256", "RS256"])
    parser.add_argument("--kind", nargs="+", choices=tuple(QUERIES), default=list(QUERIES))
    parser.add_argument("--storms", type=int, default=1)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.clients + 500 > most:
        parser.error(f"{given.clients} clients need more open files than {most}: ulimit -n")
    on_core(TOOLS_CORE)
    with sigterm_unwinds():
        for algorithm in given.algorithm:
            for kind in given.kind:
                result = measured(algorithm, kind, given.clients, given.storms)
                save(Spec.own(), "reconnect", result)
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
