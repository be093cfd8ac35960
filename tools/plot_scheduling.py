#!/usr/bin/env python3
"""Runs the swarm simulator for docs/scheduling.md: all of its tables to stdout, its plots into docs/.

    tools/plot_scheduling.py [SWARM_SIM]

It makes as many runs at a time as there are cores, for some minutes in all. The clock is virtual: what
else the machine does changes how long that takes, and no figure.
"""

import concurrent.futures
import functools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "tests" / "simulator" / "scenarios"
SETS = {"rarest-first": "#999999", "small-windows": "#e69f00", "leases": "#56b4e9",
        "late-binding": "#0072b2"}  # told apart by the colour-blind, too
SLOW_LINKS = ("model.piece=256KiB", "model.pieces=800", "defaults.up=200mbit",
              "defaults.down=200mbit")
NODES_24 = ("nodes.1.count=24", "model.pieces=500")
COMPARED = (
    ("8 × 1 Gbit/s", "broadcast-8", ()),
    ("8 × 200 Mbit/s, 256 KiB", "broadcast-8", SLOW_LINKS),
    ("24 × 1 Gbit/s", "broadcast-64", NODES_24),
    *((name, name, ()) for name in
      ("two-sources", "leaving", "hoarder", "staggered", "mixed", "pipeline-4x2",
       "tensor-parallel", "home-upload", "racks", "wifi", "slow-node")))
ORDERED = (
    ("8 × 1 Gbit/s", "broadcast-8", ()), ("24 × 1 Gbit/s", "broadcast-64", NODES_24),
    *((name, name, ()) for name in
      ("layers-order", "pipeline-4x2", "mixed", "staggered", "wifi", "two-sources")))
NODES = (8, 16, 24, 32)
SWEEP_PIECES = 300
LAG_NODES, LAG_PIECES = (8, 16, 24, 32), (300, 1000)
PIECE_SECONDS = (1 << 20) * 8 / 1e9  # of 1 MiB at 1 Gbit/s
# Rules that can be left out, and where that shows.
LEFT_OUT = (
    ("leases", ("rules.leases=false",), (("8 × 1 Gbit/s", "broadcast-8", ()),
                                         ("24 × 1 Gbit/s", "broadcast-64", NODES_24),
                                         ("hoarder", "hoarder", ()))),
    ("late binding", ("rules.late_binding=false",), (("24 × 1 Gbit/s", "broadcast-64", NODES_24),
                                                     ("two-sources", "two-sources", ()))),
    ("a limit over all peers", ("rules.in_all=10s", "rules.in_all_min=4GiB"),
     (("24 × 1 Gbit/s", "broadcast-64", NODES_24),)),
    ("sites", ("nodes.1.site=x", "nodes.2.site=x"), (("racks", "racks", ()),)))
SEEDS = 5

WIDTH, LEFT, RIGHT = 760, 180, 80
BAR, GAP = 8, 10
FONT = 'font-family="sans-serif" font-size="11" fill="#222222"'


class Simulator:
    """Answers come as futures: all runs are asked for before the first is awaited."""

    def __init__(self, program):
        self.program = program
        self.pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

    @functools.cache
    def run(self, scenario, settings):
        return self.pool.submit(lambda: self._runs(scenario, settings)[0])

    @functools.cache
    def medians(self, scenario, settings):
        """Of several seeds: the median of the ratios, the least, the largest, and the median of copies."""
        def found():
            runs = self._runs(scenario, settings, "--repeat", str(SEEDS))
            ratios = [run["ratio"] for run in runs]
            return (statistics.median(ratios), min(ratios), max(ratios),
                    statistics.median(run["source_copies"] for run in runs))
        return self.pool.submit(found)

    def _runs(self, scenario, settings, *options):
        command = [self.program, "--json", *options]
        for setting in settings:
            command += ["--set", setting]
        command.append(str(SCENARIOS / f"{scenario}.json"))
        # A run that is not complete ends with 1 and has its figures, too.
        out = subprocess.run(command, text=True, stdout=subprocess.PIPE, timeout=3600).stdout
        return [run for run in map(json.loads, out.splitlines()) if "seed" in run]


def median_cell(medians_of):
    ratio, least, most, copies = medians_of
    return f"{ratio:.3f} ({least:.3f} to {most:.3f}), {copies:.2f}"


def lag(simulator):
    rows = [(nodes, [simulator.run("broadcast-64", (f"nodes.1.count={nodes}", f"model.pieces={pieces}"))
                     for pieces in LAG_PIECES]) for nodes in LAG_NODES]
    yield
    print_head("nodes", "least lag", *(f"lag, {pieces} pieces" for pieces in LAG_PIECES))
    for nodes, runs in rows:
        lags = [run.result()["seconds"] - run.result()["bound_seconds"] for run in runs]
        least = math.floor(math.log2(nodes)) * PIECE_SECONDS
        print_row(str(nodes), *(f"{1000 * seconds:.0f} ms" for seconds in (least, *lags)))


def leave_out(simulator):
    rows = [(rule, label, simulator.medians(scenario, own),
             simulator.medians(scenario, (*own, *settings)))
            for rule, settings, where in LEFT_OUT for label, scenario, own in where]
    yield
    print_head("left out", "scenario", "with it", "without it")
    for rule, label, *both in rows:
        print_row(rule, label, *(median_cell(one.result()) for one in both))


def cell(result):
    ratio = f"{result['ratio']:.3f}" if result["complete"] else "not complete"
    return f"{ratio}, {result['source_copies']:.2f}, {result['duplicate_bytes'] / (1 << 20):.0f}"


def print_row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(*cells):
    print()
    print_row(*cells)
    print("|" + "---|" * len(cells))


def compare(simulator):
    asked = [(label, {name: simulator.run(scenario, (*settings, f"rules.set={name}")) for name in SETS})
             for label, scenario, settings in COMPARED]
    yield
    print_head("scenario", "bound", *SETS)
    results = []
    for label, runs in asked:
        by_set = {name: run.result() for name, run in runs.items()}
        any_of = by_set["late-binding"]
        print_row(label, f"{any_of['bound_seconds']:.2f} s, {any_of['bound']}",
                  *(cell(result) for result in by_set.values()))
        results.append((label, by_set))
    print_head("half of the nodes done after", *SETS)
    for label, by_set in results:
        if label in ("wifi", "slow-node", "home-upload"):
            print_row(label, *(f"{result['median_seconds']:.2f} s" for result in by_set.values()))
    draw_bars(results, "scheduling-rules.svg")


def compare_orders(simulator):
    rows = [(label, order, simulator.run(scenario, (*settings, f"rules.order={order}")))
            for label, scenario, settings in ORDERED for order in ("rarest", "layers")]
    yield
    print_head("scenario", "order", "first layer", "all", "ratio", "source copies")
    for label, order, run in rows:
        result = run.result()
        print_row(label, order, f"{result['first_layer_seconds']:.2f} s", f"{result['seconds']:.2f} s",
                  f"{result['ratio']:.3f}", f"{result['source_copies']:.2f}")


def sweep(simulator):
    rows = [(nodes, [simulator.run("broadcast-64", (f"nodes.1.count={nodes}",
                                                    f"model.pieces={SWEEP_PIECES}", f"rules.set={name}"))
                     for name in SETS]) for nodes in NODES]
    yield
    print_head("nodes", *SETS)
    results = {name: [] for name in SETS}
    for nodes, runs in rows:
        row = [run.result() for run in runs]
        print_row(str(nodes), *(cell(result) for result in row))
        for name, result in zip(SETS, row):
            results[name].append(result["ratio"])
    draw_sweep(results, "scheduling-nodes.svg")


def text(x, y, words, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}{FONT}>{escape(words)}</text>'


def line(x1, y1, x2, y2, stroke, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" stroke-width="{width}"/>')


def rect(x, y, width, height, fill):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" fill="{fill}"/>'


def legend(y):
    for i, (name, colour) in enumerate(SETS.items()):
        yield rect(LEFT + i * 130, y - 9, 10, 10, colour)
        yield text(LEFT + i * 130 + 15, y, name)


def write_svg(name, height, parts):
    body = "\n".join((rect(0, 0, WIDTH, height, "#ffffff"), *parts))
    (ROOT / "docs" / name).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}">\n{body}\n</svg>\n', encoding="utf-8")


def draw_bars(results, name):
    """What is beyond the bound, in percent; beside bars that would leave the plot stands how much."""
    most = 60
    top, group = 70, len(SETS) * BAR + GAP
    height = top + len(results) * group + 20
    scale = (WIDTH - LEFT - RIGHT) / most
    parts = [text(LEFT, 20, "Time beyond the lower bound (simulated, seed 1)", more='font-weight="bold" '),
             *legend(40)]
    for percent in range(0, most + 1, 10):
        x = LEFT + percent * scale
        parts += [line(x, top - 6, x, height - 20, "#dddddd"),
                  text(x, height - 6, f"{percent} %", "middle")]
    for i, (label, by_set) in enumerate(results):
        y = top + i * group
        parts.append(text(LEFT - 8, y + len(SETS) * BAR / 2 + 4, label, "end"))
        beyond = [100 * (by_set[rules]["ratio"] - 1) for rules in SETS]
        for j, (percent, colour) in enumerate(zip(beyond, SETS.values())):
            parts.append(rect(LEFT, y + j * BAR, min(max(percent, 0), most) * scale, BAR - 1, colour))
        if max(beyond) > most:
            parts.append(text(WIDTH - RIGHT + 4, y + len(SETS) * BAR / 2 + 4,
                              f"{min(beyond):.0f}–{max(beyond):.0f} %"))
    parts.append(line(LEFT, top - 6, LEFT, height - 20, "#222222"))
    write_svg(name, height, parts)


def draw_sweep(results, name):
    top, height = 70, 380
    bottom = height - 40
    most = max(max(ratios) for ratios in results.values())
    ticks = [1 + 0.1 * i for i in range(int((most - 1) / 0.1) + 2)]

    def x_of(nodes):
        return LEFT + (nodes - NODES[0]) / (NODES[-1] - NODES[0]) * (WIDTH - LEFT - RIGHT - 100)

    def y_of(ratio):
        return bottom - (ratio - 1) / (ticks[-1] - 1) * (bottom - top)

    parts = [text(LEFT, 20, f"Time through lower bound, {SWEEP_PIECES} pieces of 1 MiB, 1 Gbit/s "
                  "(simulated, seed 1)", more='font-weight="bold" '), *legend(40)]
    for ratio in ticks:
        parts += [line(LEFT - 10, y_of(ratio), WIDTH - RIGHT - 80, y_of(ratio), "#dddddd"),
                  text(LEFT - 16, y_of(ratio) + 4, f"{ratio:.1f}", "end")]
    parts += [text(x_of(nodes), bottom + 18, f"{nodes} nodes", "middle") for nodes in NODES]
    for rules, ratios in results.items():
        points = [(x_of(nodes), y_of(ratio)) for nodes, ratio in zip(NODES, ratios)]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{SETS[rules]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{SETS[rules]}"/>'
                  for x, y in points]
    parts.append(line(LEFT - 10, bottom, WIDTH - RIGHT - 80, bottom, "#222222"))
    write_svg(name, height, parts)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build" / "bin" / "swarm_sim")
    simulator = Simulator(program)
    # Each asks for its runs up to its `yield`, and prints its table after it.
    tables = [make(simulator) for make in (compare, sweep, compare_orders, lag, leave_out)]
    for table in tables:
        next(table)
    for table in tables:
        next(table, None)


if __name__ == "__main__":
    main()
