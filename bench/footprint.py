"""What a server costs before it delivers anything: start, memory, snapshots, connections that only stand."""

from __future__ import annotations

import subprocess
import time

from figures import BY_SYMBOL, Figure, Figures, Measure
from harness import (
    CONTROL_PORT,
    HERE,
    Fake,
    Json,
    Pace,
    Server,
    Spec,
    finish,
    get_status,
    load,
    load_command,
    median,
    save,
    start_load,
    wait_for,
)
from watch import Watch


def memory(spec: Spec, pace: Pace) -> Figures:
    """Resident memory of the server: per cached row, per connection, per further operation."""
    rows = []
    for _ in range(min(pace.repeats, 2)):
        sizes = []
        for count in (1000, 501_000):
            with Fake(count), Server(spec) as server:
                time.sleep(0.5)
                sizes.append(server.rss_kb())
        rows.append((sizes[1] - sizes[0]) * 1024 / 500_000)
        save(spec, "memory", {"rows": 500_000, "rss_kb": sizes, "bytes_per_row": rows[-1]})
    yield Figure(
        "memory per cached row",
        median(rows),
        "B",
        most=450,
        note="7 columns, 500,000 rows, no index asked for",
    )
    for name, clients, ops, most, query in (
        ("connection that subscribes", 1000, 1, 16.0, "tail"),
        ("further operation, same query", 20, 500, 2.0, "tail"),
        ("further operation, each another filter", 20, 500, None, "filtered"),
    ):
        count = clients * ops
        with Fake(10), Server(spec) as server:
            options: Json = {"vars": BY_SYMBOL} if query == "filtered" else {}
            load(server, query, clients=1, warmup=0, duration=0.2, **options)
            if ops > 1:  # the connections themselves are not what is asked for
                held = load_command(
                    server,
                    spec.url,
                    spec.queries[query],
                    CONTROL_PORT,
                    spec,
                    {"clients": clients, "warmup": 0, "duration": 30, "no_subscribe": True},
                )
                standing = start_load(held)
                time.sleep(2)
            before = server.rss_kb()
            report = load(
                server,
                query,
                clients=clients,
                ops=ops,
                wave1=clients,
                ramp=400,
                warmup=0,
                hold=1,
                duration=0.2,
                **options,
            )
            after = report["server"]["rss_kb"]["after_hold"]
            if ops > 1:
                standing.terminate()
                standing.communicate(timeout=10)
        size = (after - before) / count
        save(
            spec,
            "memory",
            {"what": name, "count": count, "before_kb": before, "after_kb": after, "r": report},
        )
        yield Figure(
            f"memory per {name}", size, "KiB", most=most, note=f"{count} of them on {clients} sockets"
        )


def start(spec: Spec, pace: Pace) -> Figures:
    """Wall time of `--version`, and of `serve` until it is ready beside its database."""
    if spec.version:
        times = []
        for _ in range(5):
            begin = time.monotonic()
            subprocess.run(spec.version, check=True, capture_output=True, timeout=30, cwd=HERE)
            times.append(time.monotonic() - begin)
        yield Figure("--version", median(times), "s", most=0.3)
    ready = []
    for _ in range(3):
        with Fake(1000), Server(spec) as server:
            ready.append(server.ready_s)
    save(spec, "start", {"ready_s": ready})
    yield Figure("serve until ready", median(ready), "s", most=2.5)


def snapshot(spec: Spec, pace: Pace, rows: int = 500_000) -> Figures:
    """A late joiner's snapshot while others are served; and how long loading from upstream holds the loop."""
    rates, waits, held, loading = [], [], [], []
    for rep in range(pace.repeats):
        with Fake(rows, rep + 1, batch_ms=10, per_tx=1), Server(spec, wait=False) as server:
            begin = time.monotonic()
            wait_for(lambda: get_status(spec.port, "/healthz") > 0, "the server", server.process)
            watch = Watch(spec.port)
            watch.start()
            wait_for(server.ready, "the server", server.process, 180)
            loading.append(rows / (time.monotonic() - begin))
            held.append(watch.longest_ms)
            watch.stop()
            others_options: Json = {
                "clients": 10,
                "warmup": 0.5,
                "duration": 15,
                "ready_cmd": "rate 100",
            }
            others = start_load(
                load_command(server, spec.url, spec.queries["tail"], CONTROL_PORT, spec, others_options)
            )
            time.sleep(2.5)
            joiner = load(
                server,
                clients=1,
                snapshot_rows=rows,
                ready_timeout=60,
                quiet_ms=50,
                warmup=0,
                duration=0.1,
                drain=0.1,
                end_cmd="stats",
            )
            beside = finish(others, 60)
        save(
            spec,
            "snapshot",
            {"rows": rows, "rep": rep, "joiner": joiner, "others": beside, "held_ms": held[-1]},
        )
        rates.append(rows / joiner["wave1"]["snapshot_ms_max"] * 1000)
        waits.append(beside["lat_ms"]["p99"])
    yield Figure(f"snapshot of {rows} to a late joiner", median(rates), "rows/s", least=250_000)
    yield Figure(
        "others' p99 meanwhile",
        median(waits),
        "ms",
        most=50,
        note=f"p999 {beside['lat_ms']['p999']} max {beside['lat_ms']['max']} ms over 15 s",
    )
    yield Figure(
        "longest answer of /healthz while loading from upstream",
        median(held),
        "ms",
        most=50,
        note=f"{median(loading):.0f} rows/s from the start of the process",
    )


def idle(spec: Spec, pace: Pace) -> Figures:
    """What connections cost that only stand: memory and CPU."""
    for subscribe in (True, False):
        with Fake(10), Server(spec) as server:
            load(server, "tail", clients=1, warmup=0, duration=0.2)
            options: Json = {} if subscribe else {"no_subscribe": True}
            before = server.rss_kb()
            report = load(
                server,
                "tail",
                clients=1000,
                wave1=1000,
                ramp=400,
                warmup=0,
                hold=2,
                duration=pace.duration,
                **options,
            )
        kib = (report["server"]["rss_kb"]["after_hold"] - before) / 1000
        save(spec, "idle", {"subscribe": subscribe, "before_kb": before, "r": report})
        name = "1,000 idle subscribers" if subscribe else "1,000 idle connections"
        yield Figure(f"{name}: memory each", kib, "KiB", most=16)
        yield Figure(f"{name}: share of a core", report["server"]["cpu_share"], "")


FOOTPRINT: dict[str, Measure] = {"start": start, "memory": memory, "snapshot": snapshot, "idle": idle}
