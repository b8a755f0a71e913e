"""Ten thousand clients on one core, of which a thousand read slowly and a hundred a second come back. JSON, never a test.

    python bench/ten_thousand.py [--clients 10000] [--slow 1000] [--cuts 100] [--sets 5] [--duration 60] [--config YAML]

All follow one change feed. Rows take turns and carry the number of their change (``fakemz --sequence``), so that the load
tool knows of each set whether anything is missing or told twice. Once all have their snapshot, the slow begin to read 1 KiB
a second through a small window, and the others are cut off in turn, every second one without a goodbye; who was cut comes
back with the cursor of its last set. In the end the slow may read as they like, and everybody must be level with the source.

Beside the latency of those who are not slow (commit in fakemz to the client's read): how far memory went (see
tycostream.testing.drift), the longest answer of /healthz, CPU time of server and load. ``must`` says what was to be
reached. Needs `make bench-tools`, two cores, and `ulimit -n` above the number of clients.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

from harness import (
    CONTROL_PORT,
    TOOLS_CORE,
    Fake,
    Json,
    Server,
    Spec,
    load_command,
    on_core,
    save,
    sigterm_unwinds,
    start_load,
)
from watch import Watch

from tycostream.testing.drift import drift

SERVER_PORT = 14004
P99_MS, GROWTH = 250.0, 0.03  # what was to be reached; RSS is flat if it grows by less than this share
CONFIG = """
name: ten_thousand
databases:
  main: {{engine: materialize, url: "postgresql://bench@127.0.0.1:16875/materialize"}}
sources:
  trades: {{primary_key: id}}
{more}
"""
QUERY = (
    "subscription($after: String) { trades_changes(after: $after) { cursor phase complete "
    "changes { operation row { id symbol side price qty executed_at sent_ns } } } }"
)


def measured(given: argparse.Namespace) -> Json:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "tycostream.yaml"
        config.write_text(CONFIG.format(more=given.config))
        cmd = [sys.executable, "-m", "tycostream", "serve", "--config", str(config)]
        url = f"ws://127.0.0.1:{SERVER_PORT}/graphql"
        spec = Spec("ten_thousand", [*cmd, "--port", str(SERVER_PORT)], url, queries={"query": QUERY})
        pace = {"batch_ms": round(1000 / given.sets), "per_tx": given.changes}
        with Fake(given.rows, 1, sequence=True, **pace) as _, Server(spec) as server:
            command = load_command(server, url, QUERY, CONTROL_PORT, spec, _options(given))
            watch = Watch(SERVER_PORT, 0.05)
            process = start_load(command)
            watch.start()
            try:
                out, err = process.communicate(timeout=given.clients / given.ramp + given.duration + 180)
            finally:
                watch.stop()
                if process.poll() is None:
                    process.kill()
            if not out.strip():
                raise RuntimeError(f"load: {err[-500:]}")
            return _summary(given, json.loads(out), watch, json.loads(out)["ready_after_s"])


def _options(given: argparse.Namespace) -> Json:
    return {
        "clients": given.clients,
        "wave1": given.clients,
        "ramp": given.ramp,
        "ready_timeout": given.clients / given.ramp + 90,
        "vars": '{"after":{cursor}}',
        "seq_key": "qty",
        "seq_rows": given.rows,
        "slow": given.slow,
        "slow_bps": given.slow_bps,
        "cut_rate": given.cuts,
        "warmup": given.warmup,
        "duration": given.duration,
        "ready_cmd": f"rate {given.sets * given.changes}",
        "drain": 30,
        "quiet_ms": 1500,
        "timeline": True,
    }


def _summary(given: argparse.Namespace, report: Json, watch: Watch, ready_after_s: float) -> Json:
    begin = ready_after_s + given.warmup
    timeline = [each for each in report["timeline"] if begin < each["s"] < begin + given.duration]
    memory = drift([(each["s"], float(each["rss_kb"])) for each in timeline])
    server, unsteady, lat = report["server"], report["unsteady"], report["lat_ms"]
    whole = not (
        report["dead"]
        or report["errors"]
        or report["ready_timeout"]
        or unsteady["gaps"]
        or unsteady["duplicates"]
        or unsteady["fast_not_level"]
        or unsteady["slow_not_level"]
        or unsteady["not_back"]
    )
    window_s = report["window_s"]
    expected = given.sets * (given.clients - given.slow)
    return {
        "clients": given.clients,
        "slow": given.slow,
        "cuts_per_s": given.cuts,
        "sets_per_s": given.sets,
        "window_s": window_s,
        "lat_ms": lat,
        "slow_lat_ms": unsteady["slow_lat_ms"],
        "back_ms": unsteady["back_ms"],
        "messages_per_s": report["msgs_per_s"],
        "messages_per_s_due": expected,
        "unsteady": unsteady,
        "lost": {key: report.get(key) for key in ("dead", "errors", "error_sample", "close_sample")},
        "rss_mb": [round(each["rss_kb"] / 1024, 1) for each in timeline[:: max(1, len(timeline) // 10)]],
        "rss_per_client_kib": round(
            (server["rss_kb"]["ready"] - server["rss_kb"]["start"]) / given.clients, 1
        ),
        "rss_growth": round(memory.growth / memory.level, 4),
        "cpu_share": server["cpu_share"],
        "cpu_user_s": server["user_s"],
        "cpu_sys_s": server["sys_s"],
        "load_cpu_share": round(report["load_cpu_s"] / window_s, 3),
        "core_busy": report["core_busy"],
        "healthz_ms": _quantiles(watch.waits_ms),
        "ready_after_s": ready_after_s,
        "machine_load": round(os.getloadavg()[0], 1),
        "timeline": timeline,
        "must": {
            "whole": whole,
            "p99_under_250_ms": lat["p99"] < P99_MS,
            "rss_flat": memory.growth < GROWTH * memory.level,
            "messages": report["msgs_per_s"] > 0.97 * expected,
        },
    }


def _quantiles(waits: list[float]) -> Json:
    ordered = sorted(waits) or [0.0]
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 1) for name, q in at.items()}


def main() -> None:
    """Print one JSON object, without the timeline, which goes to results/ with the rest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=1_000)
    parser.add_argument("--slow-bps", type=int, default=1_024, help="bytes a second that a slow one reads")
    parser.add_argument("--cuts", type=float, default=100, help="so many a second are cut off and come back")
    parser.add_argument("--sets", type=int, default=5, help="change sets a second")
    parser.add_argument("--changes", type=int, default=1, help="changes in each")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--ramp", type=float, default=300, help="connections a second at the start")
    parser.add_argument("--warmup", type=float, default=5)
    parser.add_argument("--duration", type=float, default=60)
    parser.add_argument("--config", default="", help="more of the configuration, as YAML")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.clients + 500 > most:
        parser.error(f"{given.clients} clients need more open files than {most}: ulimit -n")
    on_core(TOOLS_CORE)
    with sigterm_unwinds():
        result = measured(given)
    save(Spec.own(), "ten_thousand", result)
    print(json.dumps({key: value for key, value in result.items() if key != "timeline"}, indent=1))


if __name__ == "__main__":
    main()
