"""The benchmarks of a whole server: fakemz upstream, the load client on the other side. See README.md.

    python bench/bench.py                    # everything, three runs each, about 20 minutes
    python bench/bench.py --short            # everything, one short run each: about five minutes
    python bench/bench.py fanout ingest      # some of it
    python bench/bench.py --server other.json saturation --clients 1,10,100,500

Every run goes to results/<server>.jsonl; the table of figures to standard output. Never a test: the exit code says only
whether everything could be measured.
"""

from __future__ import annotations

import argparse
import json
import sys

from figures import Figure
from footprint import FOOTPRINT
from harness import Pace, Spec, save, sigterm_unwinds
from measures import THROUGHPUT
from saturation import saturation

ALL = {**THROUGHPUT, **FOOTPRINT}
SHORT, LONG = Pace(warmup=1, duration=3, repeats=1), Pace()


def show(figure: Figure) -> None:
    """One line of the table."""
    must = f"≤ {figure.most:,g}" if figure.most is not None else ""
    must = f"≥ {figure.least:,g}" if figure.least is not None else must
    value = f"{figure.value:,.0f}" if figure.value >= 1000 else f"{figure.value:.3g}"
    print(
        f"{figure.name:64} {value:>10} {figure.unit:7}{must:>10} {figure.verdict:3}  {figure.note}",
        flush=True,
    )


def measure(spec: Spec, names: list[str], pace: Pace) -> bool:
    """Whether all could be measured; one that could not is told and does not keep the others from running."""
    whole = True
    for name in names:
        print(f"— {name}", flush=True)
        try:
            for figure in ALL[name](spec, pace):
                show(figure)
                save(spec, "figure", {"of": name, **vars(figure), "verdict": figure.verdict})
        except (RuntimeError, KeyError, OSError, json.JSONDecodeError) as error:
            whole = False
            print(f"{name} could not be measured: {type(error).__name__}: {error}", flush=True)
    return whole


def main() -> int:
    """Read the command line, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "what", nargs="*", help=", ".join([*ALL, "saturation"]) + "; absent: all but the last"
    )
    parser.add_argument(
        "--server", help="a JSON file that describes another server (README.md); absent: this tycostream"
    )
    parser.add_argument("--short", action="store_true", help="one short run each")
    parser.add_argument("--repeats", type=int, help="how many runs; the median counts")
    parser.add_argument("--duration", type=float, help="seconds of one run")
    parser.add_argument("--clients", help="for saturation: numbers of clients, with commas", default="100")
    parser.add_argument("--filtered", action="store_true", help="for saturation: each client another symbol")
    arguments = parser.parse_args()
    if unknown := set(arguments.what) - {*ALL, "saturation"}:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    pace = SHORT if arguments.short else LONG
    pace = Pace(pace.warmup, arguments.duration or pace.duration, arguments.repeats or pace.repeats)
    spec = Spec.load(arguments.server) if arguments.server else Spec.own()
    names = arguments.what or list(ALL)
    with sigterm_unwinds():
        if "saturation" in names:
            for clients in arguments.clients.split(","):
                saturation(spec, pace, int(clients), arguments.filtered)
        return 0 if measure(spec, [name for name in names if name != "saturation"], pace) else 1


if __name__ == "__main__":
    sys.exit(main())
