"""How much one core can do: the upstream's rate rises until messages come late, then the last step is halved twice."""

from __future__ import annotations

from figures import BY_SYMBOL
from harness import Fake, Json, Pace, Server, Spec, load, save

LADDER = (1000, 2000, 5000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000)


def _held(report: Json, rate: float, clients: int, filtered: bool) -> bool:
    """Whether the server kept up: everything delivered, in time, and the upstream not held back."""
    upstream = report["upstream_events_per_s"] > 0.97 * rate and report["upstream_queued_bytes"] < 200_000
    delivered = filtered or report["rows"] >= 0.97 * report["upstream_events_window"] * clients
    return bool(upstream and delivered and report["lat_ms"]["p99"] < 1000 and report["drain_s"] < 1)


def saturation(spec: Spec, pace: Pace, clients: int, filtered: bool) -> None:
    """Print every step; the ladder counts delivered changes, or upstream rows where each client filters."""
    good, bad, bisections = 0.0, 0.0, 0
    per = 1 if filtered else clients
    with Fake(5000, batch_ms=20), Server(spec) as server:
        steps = [step / per for step in LADDER]
        while steps:
            rate = steps.pop(0)
            options: Json = {"vars": BY_SYMBOL, "mod": 500} if filtered else {}
            try:
                report = load(
                    server,
                    "filtered" if filtered else "query",
                    clients=clients,
                    warmup=pace.warmup,
                    duration=pace.duration,
                    ready_cmd=f"rate {rate}",
                    drain=5,
                    **options,
                )
                held = _held(report, rate, clients, filtered)
            except RuntimeError as error:  # clients that were cut off: more than enough
                print(f"  {error}")
                report, held = {}, False
            save(
                spec,
                "saturation",
                {"clients": clients, "filtered": filtered, "rate": rate, "ok": held, "r": report},
            )
            share = report.get("server", {}).get("cpu_share", -1)
            print(
                f"{clients} clients, {rate:.0f} upstream rows/s: {'kept up' if held else 'did NOT keep up'}, {report.get('rows_per_s', 0):.0f} delivered/s, share {share:.2f}",
                flush=True,
            )
            if held:
                good = rate
            else:
                bad, steps = rate, []
            if not steps and bad and good and bisections < 2:
                bisections += 1
                steps = [(good * bad) ** 0.5]
    print(
        f"one core, {clients} clients: {good:.0f} upstream rows/s, {good * per:.0f} {'rows' if filtered else 'delivered changes'}/s"
    )
