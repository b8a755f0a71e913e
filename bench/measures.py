"""The measurements: each runs the tools and gives figures beside what design 7 asks for."""

from __future__ import annotations

import time

from figures import BY_SYMBOL, Figure, Figures, Measure, per_row_us, split
from harness import (
    CONTROL_PORT,
    Fake,
    Json,
    Limit,
    Pace,
    Server,
    Spec,
    control,
    finish,
    load,
    load_command,
    load_limit,
    median,
    save,
    start_load,
)


def _timing(pace: Pace, rate: float) -> Json:
    return {"warmup": pace.warmup, "duration": pace.duration, "ready_cmd": f"rate {rate}"}


def against_limit(spec: Spec, pace: Pace, kind: str, clients: int, rate: int, batch_ms: int) -> list[Json]:
    """Server and limit in turn, same bytes and writes: one transaction a change, ``rate`` per second, a tick each ``batch_ms``."""
    pairs = []
    for rep in range(pace.repeats):
        with Fake(200, rep + 1, batch_ms=batch_ms, per_tx=1), Server(spec) as server:
            ours = load(server, clients=clients, **_timing(pace, rate))
        size = round(ours["bytes"] / max(1, ours["msgs"]))
        with Limit(size, batch_ms) as limit:
            least = load_limit(limit, spec, clients=clients, **_timing(pace, rate))
        pairs.append({"ours": ours, "limit": least})
        save(spec, kind, {"clients": clients, "rate": rate, "rep": rep, "size": size, **pairs[-1]})
    return pairs


def fanout(spec: Spec, pace: Pace) -> Figures:
    """One change a transaction, one write a message: CPU against the limit, and against what tycostream 0.x needed."""
    for clients, rate, batch_ms, peer in ((100, 100, 10, 37.0), (500, 20, 50, 58.0), (1000, 10, 100, None)):
        pairs = against_limit(spec, pace, "fanout", clients, rate, batch_ms)
        mine = median([per_row_us(pair["ours"]) for pair in pairs])
        least = median([per_row_us(pair["limit"]) for pair in pairs])
        name = f"fan-out to {clients}"
        yield Figure(f"{name}: CPU per delivered change", mine, "µs", note=split(pairs[-1]["ours"]))
        yield Figure(f"{name}: the limit", least, "µs", note=split(pairs[-1]["limit"]))
        if clients != 500:
            yield Figure(f"{name}: against the limit", mine / least, "×", most=1.8)
        if peer is not None:
            wanted = 5 if clients == 100 else 7
            yield Figure(
                f"{name}: less than the peer's {peer:g} µs elsewhere", peer / mine, "×", least=wanted
            )


def limit(spec: Spec, pace: Pace) -> Figures:
    """The limit alone: what the tools and the kernel cost."""
    for clients, rate, batch_ms in ((100, 100, 10), (1000, 10, 100)):
        reports = []
        for rep in range(pace.repeats):
            with Limit(230, batch_ms) as program:
                reports.append(load_limit(program, spec, clients=clients, **_timing(pace, rate)))
            save(spec, "limit", {"clients": clients, "rate": rate, "rep": rep, "limit": reports[-1]})
        value = median([per_row_us(report) for report in reports])
        yield Figure(f"limit, {clients} clients: CPU per message", value, "µs", note=split(reports[-1]))


def burst16(spec: Spec, pace: Pace) -> Figures:
    """Sixteen transactions come in one tick: one write per socket."""
    pairs = against_limit(spec, pace, "burst16", 100, 800, 20)
    mine, least = (median([per_row_us(pair[who]) for pair in pairs]) for who in ("ours", "limit"))
    yield Figure(
        "16 changes a tick, 100 clients: CPU each", mine, "µs", most=1.3, note=split(pairs[-1]["ours"])
    )
    yield Figure("16 changes a tick: the limit", least, "µs", note=split(pairs[-1]["limit"]))


def batch100(spec: Spec, pace: Pace) -> Figures:
    """A hundred changes in one transaction, which is one message."""
    reports = []
    for rep in range(pace.repeats):
        with Fake(5000, rep + 1, batch_ms=100, per_tx=100), Server(spec) as server:
            reports.append(load(server, clients=100, **_timing(pace, 1000)))
        save(spec, "batch100", {"rep": rep, "r": reports[-1]})
    value = median([per_row_us(report) for report in reports])
    yield Figure("100 changes a transaction, 100 clients: CPU each", value, "µs", note=split(reports[-1]))
    yield Figure("100 changes: less than the peer's 37 µs elsewhere", 37 / value, "×", least=20)


def _ingest_once(spec: Spec, pace: Pace, mix: str, watched: bool, seed: int) -> Json:
    """Upstream as fast as the server reads; CPU and lines over the window."""
    with Fake(5000, seed, mix=mix, per_tx=100) as fake, Server(spec) as server:
        client = None
        if watched:
            options: Json = {
                "clients": 1,
                "warmup": 0,
                "duration": pace.warmup + pace.duration + 2,
            }
            cmd = load_command(server, spec.url, spec.queries["query"], CONTROL_PORT, spec, options)
            client = start_load([*cmd, "--end-cmd", "stats"])
            time.sleep(1.5)
        try:
            control("rate -1")
            time.sleep(pace.warmup)
            before, cpu, begin = fake.stats(), server.cpu_s(), time.monotonic()
            time.sleep(pace.duration)
            after, used, wall = fake.stats(), server.cpu_s() - cpu, time.monotonic() - begin
            control("rate 0")
            record = {
                "changes": after["events"] - before["events"],
                "lines": after["lines"] - before["lines"],
                "cpu_s": used,
                "wall_s": wall,
                "rss_kb": server.rss_kb(),
                "queued_bytes": after["queued_bytes"],
            }
            if client is not None:
                record["client"] = finish(client, 60)
        finally:
            if client is not None and client.poll() is None:
                client.kill()
    return record


def ingest(spec: Spec, pace: Pace) -> Figures:
    """Rows per second of CPU into a store. An update is two lines of SUBSCRIBE and one change; both are stated."""
    for watched, wanted in ((False, 150_000), (True, 80_000)):
        who = "one live cohort" if watched else "nobody watching"
        for mix, what in (("50:0:50", "inserts and deletes"), ("5:90:5", "nine in ten updates")):
            runs = [_ingest_once(spec, pace, mix, watched, rep + 1) for rep in range(pace.repeats)]
            for run in runs:
                save(spec, "ingest", {"watched": watched, "mix": mix, **run})
            lines = median([run["lines"] / run["cpu_s"] for run in runs])
            changes = median([run["changes"] / run["cpu_s"] for run in runs])
            share = median([run["cpu_s"] / run["wall_s"] for run in runs])
            name = f"ingest, {who}, {what}"
            yield Figure(f"{name}: lines per CPU second", lines, "/s", note=f"share {share:.2f}")
            yield Figure(f"{name}: changes per CPU second", changes, "/s", least=wanted)


def _filters(
    spec: Spec,
    pace: Pace,
    kind: str,
    fake: Json,
    options: Json,
    wanted: float = 0.95,
) -> list[Json]:
    """``wanted``: how many messages an upstream row must make; a server that delivers nothing is no fast one."""
    reports = []
    for rep in range(pace.repeats):
        with Fake(seed=rep + 1, **fake) as _, Server(spec) as server:
            reports.append(
                load(
                    server,
                    "filtered",
                    **{**_timing(pace, 2000), "all_first": True, "ready_timeout": 120, **options},
                )
            )
        save(spec, kind, {"rep": rep, **options, "r": reports[-1]})
        if reports[-1]["rows"] < wanted * reports[-1]["upstream_events_window"]:
            raise RuntimeError(
                f"{reports[-1]['rows']} rows arrived of {reports[-1]['upstream_events_window']}"
            )
    return reports


def _per_event(reports: list[Json]) -> float:
    return median([report["server"]["cpu_us_per_upstream_event"] for report in reports])


def equality(spec: Spec, pace: Pace) -> Figures:
    """Each row meets one of 10 filters, or one of 10,000; over ten sockets both."""
    costs = {}
    for count in (10, 10_000):
        fake: Json = {"rows": 10_000, "symbols": count, "per_tx": 1, "batch_ms": 10}
        options: Json = {"clients": 10, "ops": count // 10, "vars": BY_SYMBOL, "mod": count}
        reports = _filters(spec, pace, "equality", fake, options)
        costs[count] = _per_event(reports)
        yield Figure(
            f"one of {count} equality filters: CPU per row", costs[count], "µs", note=split(reports[-1])
        )
    yield Figure("10,000 equality filters against 10", costs[10_000] / costs[10], "×", most=1.5)


def filtered(spec: Spec, pace: Pace) -> Figures:
    """Clients on different symbols, as the peer was measured."""
    for clients, peer, wanted in ((100, 316, None), (500, 1858, 50)):
        fake: Json = {"rows": 5000, "symbols": 500, "batch_ms": 20}
        options: Json = {"clients": clients, "vars": BY_SYMBOL, "mod": 500}
        reports = _filters(spec, pace, "filtered", fake, options, wanted=0.9 * clients / 500)
        value = _per_event(reports)
        yield Figure(f"{clients} clients, each a symbol: CPU per row", value, "µs", note=split(reports[-1]))
        yield Figure(
            f"{clients} symbols: less than the peer's {peer} µs elsewhere", peer / value, "×", least=wanted
        )


def ranges(spec: Spec, pace: Pace) -> Figures:
    """A hundred range filters, of which each row meets about one."""
    fake: Json = {"rows": 5000, "per_tx": 1, "batch_ms": 10}
    variables = '{"w":{"qty":{"_gte":{n}0,"_lte":{n}9}}}'
    reports = _filters(spec, pace, "ranges", fake, {"clients": 10, "ops": 10, "vars": variables})
    yield Figure("100 range filters: CPU per row", _per_event(reports), "µs", note=split(reports[-1]))


def livequery(spec: Spec, pace: Pace) -> Figures:
    """A live query of 1,000 rows; everything between the row and the socket, per push."""
    reports = []
    for rep in range(pace.repeats):
        with Fake(1000, rep + 1, mix="0:100:0", per_tx=1, batch_ms=50), Server(spec) as server:
            reports.append(load(server, "live", clients=1, **_timing(pace, 20)))
        save(spec, "livequery", {"rep": rep, "r": reports[-1]})
    last = reports[-1]
    value = median([report["server"]["cpu_s_per_m_msgs"] for report in reports])
    size = last["bytes"] / max(1, last["msgs"]) / 1000
    note = f"{size:.0f} KB, {last['msgs_per_s']:.1f} pushes/s, user {last['server']['user_s']} sys {last['server']['sys_s']} s"
    yield Figure("live query of 1,000 rows: CPU per push", value, "µs", most=400, note=note)


def latency(spec: Spec, pace: Pace) -> Figures:
    """From fakemz's clock to the client's at half of what one core can do, and the limit's at the same pace."""
    p50, p99, base50, base99, notes = [], [], [], [], ""
    clients, batch_ms = 100, 10
    for rep in range(pace.repeats):
        with Fake(200, rep + 1, batch_ms=batch_ms, per_tx=1), Server(spec) as server:
            trial = load(server, clients=clients, warmup=1, duration=3, ready_cmd="rate 100")
            # whole changes per tick: the next lower pace that keeps them
            per_tick = max(1, int(0.5 / trial["server"]["cpu_share"]))
            rate = 100 * per_tick
            for _ in range(4):  # the cost of a change falls as ticks fill, so the share is found by trying
                ours = load(server, clients=clients, **_timing(pace, rate))
                if 0.4 <= ours["server"]["cpu_share"] <= 0.6:
                    break
                rate = max(100, int(rate * 0.5 / ours["server"]["cpu_share"]) // 100 * 100)
        with Limit(round(ours["bytes"] / max(1, ours["msgs"])), batch_ms) as program:
            least = load_limit(program, spec, clients=clients, **_timing(pace, rate))
        save(spec, "latency", {"rep": rep, "rate": rate, "ours": ours, "limit": least})
        p50.append(ours["lat_ms"]["p50"])
        p99.append(ours["lat_ms"]["p99"])
        base50.append(least["lat_ms"]["p50"])
        base99.append(least["lat_ms"]["p99"])
        notes = f"{clients} clients, {rate} changes/s, share {ours['server']['cpu_share']:.2f}"
    yield Figure("commit to client at half load, p50", median(p50), "ms", most=2, note=notes)
    yield Figure("commit to client at half load, p99", median(p99), "ms", most=10)
    yield Figure("the limit's at the same pace, p50", median(base50), "ms")
    yield Figure("the limit's at the same pace, p99", median(base99), "ms")


def firstmessage(spec: Spec, pace: Pace) -> Figures:
    """Subscribe, first message, complete; one after the other on one connection, the source being warm."""
    p50, p99 = [], []
    for rep in range(pace.repeats):
        with Fake(5000, rep + 1), Server(spec) as server:
            options: Json = {"vars": BY_SYMBOL, "mod": 500, "serial": 500}
            report = load(server, "filtered", clients=1, warmup=0, duration=0.2, **options)
        save(spec, "firstmessage", {"rep": rep, "r": report})
        p50.append(report["first_ms"]["p50"])
        p99.append(report["first_ms"]["p99"])
    yield Figure("subscribe to first message, p50", median(p50), "ms", most=2)
    yield Figure("subscribe to first message, p99", median(p99), "ms")


THROUGHPUT: dict[str, Measure] = {
    "limit": limit,
    "fanout": fanout,
    "burst16": burst16,
    "batch100": batch100,
    "ingest": ingest,
    "equality": equality,
    "filtered": filtered,
    "ranges": ranges,
    "livequery": livequery,
    "latency": latency,
    "firstmessage": firstmessage,
}
