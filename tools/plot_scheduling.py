#!/usr/bin/env python3
"""Runs the swarm simulator for docs/scheduling.md: tables to stdout, plots into docs/.

    tools/plot_scheduling.py [SWARM_SIM]

One run after the other, a few minutes in all; the same program gives the same figures.
"""

import json
import pathlib
import subprocess
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "tests" / "simulator" / "scenarios"
SETS = {"rarest-first": "#999999", "small-windows": "#e69f00", "leases": "#56b4e9",
        "late-binding": "#0072b2"}  # told apart by the colour-blind, too
SLOW_LINKS = ("model.piece=256KiB", "model.pieces=800", "defaults.up=200mbit",
              "defaults.down=200mbit")
COMPARED = (
    ("8 × 1 Gbit/s", "broadcast-8", ()),
    ("8 × 200 Mbit/s, 256 KiB", "broadcast-8", SLOW_LINKS),
    ("24 × 1 Gbit/s", "broadcast-64", ("nodes.1.count=24", "model.pieces=500")),
    *((name, name, ()) for name in
      ("two-sources", "leaving", "hoarder", "staggered", "mixed", "pipeline-4x2",
       "tensor-parallel", "home-upload", "racks", "wifi", "slow-node")))
ORDERED = ("layers-order", "broadcast-8", "pipeline-4x2")
NODES = (8, 16, 24, 32)
SWEEP_PIECES = 300

WIDTH, LEFT, RIGHT = 760, 180, 60
BAR, GAP = 8, 10
FONT = 'font-family="sans-serif" font-size="11" fill="#222222"'


def run(program, scenario, settings):
    command = [program, "--json"]
    for setting in settings:
        command += ["--set", setting]
    command.append(str(SCENARIOS / f"{scenario}.json"))
    # A run that is not complete ends with 1 and has its figures, too.
    out = subprocess.run(command, text=True, stdout=subprocess.PIPE, timeout=600).stdout
    return json.loads(out)


def cell(result):
    ratio = f"{result['ratio']:.3f}" if result["complete"] else "not complete"
    return f"{ratio}, {result['source_copies']:.2f}, {result['duplicate_bytes'] / (1 << 20):.0f}"


def print_row(*cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(*cells):
    print()
    print_row(*cells)
    print("|" + "---|" * len(cells))


def compare(program):
    print_head("scenario", "bound", *SETS)
    results = []
    for label, scenario, settings in COMPARED:
        by_set = {name: run(program, scenario, (*settings, f"rules.set={name}")) for name in SETS}
        any_of = by_set["late-binding"]
        print_row(label, f"{any_of['bound_seconds']:.2f} s, {any_of['bound']}",
                  *(cell(result) for result in by_set.values()))
        results.append((label, by_set))
    print_head("half of the nodes done after", *SETS)
    for label, by_set in results:
        if label in ("wifi", "slow-node", "home-upload"):
            print_row(label, *(f"{result['median_seconds']:.2f} s" for result in by_set.values()))
    return results


def compare_orders(program):
    print_head("scenario", "order", "first layer", "all", "ratio", "source copies")
    for scenario in ORDERED:
        for order in ("rarest", "layers"):
            result = run(program, scenario, (f"rules.order={order}",))
            print_row(scenario, order, f"{result['first_layer_seconds']:.2f} s",
                      f"{result['seconds']:.2f} s", f"{result['ratio']:.3f}",
                      f"{result['source_copies']:.2f}")


def sweep(program):
    print_head("nodes", *SETS)
    results = {name: [] for name in SETS}
    for nodes in NODES:
        settings = (f"nodes.1.count={nodes}", f"model.pieces={SWEEP_PIECES}")
        row = [run(program, "broadcast-64", (*settings, f"rules.set={name}")) for name in SETS]
        print_row(str(nodes), *(cell(result) for result in row))
        for name, result in zip(SETS, row):
            results[name].append(result["ratio"])
    return results


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
    """What is beyond the bound, in percent; a bar that would leave the plot ends with its figure."""
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
        for j, (rules, colour) in enumerate(SETS.items()):
            beyond = 100 * (by_set[rules]["ratio"] - 1)
            parts.append(rect(LEFT, y + j * BAR, min(max(beyond, 0), most) * scale, BAR - 1, colour))
            if beyond > most:
                parts.append(text(WIDTH - RIGHT + 4, y + j * BAR + BAR, f"{beyond:.0f} %"))
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
    draw_bars(compare(program), "scheduling-rules.svg")
    compare_orders(program)
    draw_sweep(sweep(program), "scheduling-nodes.svg")


if __name__ == "__main__":
    main()
