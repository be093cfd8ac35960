"""What bench/network.py makes of a run: numbers, the bound, where the time went, and their text."""

import json
import statistics

import netbox

MIB = 1 << 20
FIRST_BYTES = MIB  # a node has joined when it has received so much: more than a manifest
PARTS = 10         # of a run, for the table of how busy the links were


def bound(box, union, wanted):
    """Seconds that no schedule can beat, by name: the source's uplink once, each node's downlink, and
    all uplinks together for all that is wanted."""
    return {"source's uplink": union * 8 / box.up[0],
            "a downlink": max(want * 8 / down for want, down in zip(wanted, box.down[1:])),
            "all uplinks": sum(wanted) * 8 / sum(box.up)}


def when(rows, host, direction, count):
    """When a host's counter had grown by `count`; None if never."""
    start = rows[0][1][host][direction]
    for at, counters, _ in rows:
        if counters[host][direction] - start >= count:
            return at
    return None


def busy(box, before, after, hosts, direction):
    """How much of what these hosts' links could carry as payload they carried between two samples."""
    rates = box.down if direction else box.up
    could = sum(rates[host] for host in hosts) / 8 * netbox.PAYLOAD_SHARE * (after[0] - before[0])
    return sum(after[1][host][direction] - before[1][host][direction] for host in hosts) / could


def outcome(box, rows, *, began, finished, cpu, sent, wanted, union, duplicates):
    """`cpu`: seconds of each process, the source's first. `finished`: when, of each fetcher."""
    seconds = max(finished) - began
    bounds = bound(box, union, wanted)
    once = when(rows, 0, 0, union) or max(finished)
    joined = [(when(rows, host, 1, FIRST_BYTES) or max(finished)) - began
              for host in range(1, box.hosts)]
    inside = [row for row in rows if began <= row[0] <= max(finished)]
    inside = inside if len(inside) > 1 else rows
    peers = range(1, box.hosts)
    table = []
    for part in range(PARTS):
        low = inside[part * (len(inside) - 1) // PARTS]
        high = inside[(part + 1) * (len(inside) - 1) // PARTS]
        if high[0] > low[0]:
            table.append([busy(box, low, high, [0], 0), busy(box, low, high, peers, 0),
                          busy(box, low, high, peers, 1),
                          (high[2][0] - low[2][0]) / max(high[2][1] - low[2][1], 1e-9)])
    joined_all = began + min(joined)
    steps = [(a, b) for a, b in zip(inside, inside[1:]) if joined_all <= a[0] and b[0] <= once]
    idle = sum(b[0] - a[0] for a, b in steps if busy(box, a, b, [0], 0) < 0.9)
    return {
        "seconds": seconds, "bound": max(bounds.values()), "bound_by": max(bounds, key=bounds.get),
        "ratio": seconds / max(bounds.values()), "copies": sent / union,
        "duplicates": duplicates / sum(wanted), "finish": [at - began for at in finished],
        "first_finish": min(finished) - began, "joined": min(joined), "joined_last": max(joined),
        "sent_once": once - began, "source_idle": idle,
        "source_busy": busy(box, inside[0], inside[-1], [0], 0),
        "uplinks_busy": busy(box, inside[0], inside[-1], range(box.hosts), 0),
        "cpu_source": cpu[0], "cpu_fetchers": sum(cpu[1:]),
        "cpu_machine": (inside[-1][2][0] - inside[0][2][0])
                       / max(inside[-1][2][1] - inside[0][2][1], 1e-9),
        "parts": table}


def median(name, runs):
    """The run in the middle by makespan, whole: its numbers belong together."""
    chosen = sorted(runs, key=lambda run: run["seconds"])[(len(runs) - 1) // 2]
    return {"name": name, **chosen, "all_seconds": [run["seconds"] for run in runs],
            "all_copies": [run["copies"] for run in runs],
            "median_copies": statistics.median(run["copies"] for run in runs)}


def heading(box, size, options):
    if not options.json:
        what = f"{options.stages} stages x {options.replicas}" if options.stages else "whole copies"
        print(f"1 source, {box.hosts - 1} fetchers, {options.rate} links, {size / MIB:.0f} MiB, {what}, "
              f"{'TLS' if options.tls else 'plain'}")


def say_floor(share, options):
    if options.json:
        print(json.dumps({"name": "iperf3", "payload_share": share}), flush=True)
    else:
        print(f"iperf3: {share:.3f} of the raw rate is payload: 1 / {1 / share:.3f}")


def say(run, options, details=False):
    if options.json:
        print(json.dumps(run), flush=True)
        return
    print(f"{run['name']}: {run['seconds']:.2f} s = {run['ratio']:.3f} x the bound of "
          f"{run['bound']:.2f} s ({run['bound_by']}); source sent {run['copies']:.3f} copies; "
          f"{run['duplicates'] * 100:.2f} % came twice; CPU source {run['cpu_source']:.1f} s, fetchers "
          f"{run['cpu_fetchers']:.1f} s, machine {run['cpu_machine'] * 100:.0f} % busy", flush=True)
    if not details:
        return
    runs = ", ".join(f"{s:.2f} s ({c:.3f})" for s, c in zip(run["all_seconds"], run["all_copies"]))
    print(f"  runs (copies): {runs}\n"
          f"  first MiB at {run['joined']:.2f} s, of the last node at {run['joined_last']:.2f} s\n"
          f"  source had sent the model once at {run['sent_once']:.2f} s; until then its uplink was below "
          f"90 % for {run['source_idle']:.2f} s\n"
          f"  finished: {' '.join(f'{at:.2f}' for at in run['finish'])}\n"
          f"  over the run: source's uplink {run['source_busy'] * 100:.0f} %, all uplinks "
          f"{run['uplinks_busy'] * 100:.0f} % of what they carry\n"
          "  tenths of the run   " + " ".join(f"{n:4d}" for n in range(1, len(run["parts"]) + 1)))
    for column, label in enumerate(("source up %", "fetchers up %", "fetchers down %", "processor %")):
        print(f"  {label:<19} " + " ".join(f"{part[column] * 100:4.0f}" for part in run["parts"]))
