"""Whether two builds of swarm_sim give the same results, byte for byte: for changes that are to
change no behaviour. Runs all scenarios but the long ones, each with two seeds and once with the
manifest learned from peers.

    /usr/bin/python3 tests/simulator/compare.py BEFORE/swarm_sim AFTER/swarm_sim [SCENARIO...]
"""

import pathlib
import subprocess
import sys

SCENARIOS = pathlib.Path(__file__).resolve().parent / "scenarios"
LONG = ("long-", "broadcast-1000")
WAYS = (("--seed", "1"), ("--seed", "2"), ("--set", "learn=true"))


def run(program, scenario, way):
    return subprocess.Popen([program, "--json", *way, scenario], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def same(programs, scenario, way):
    """Both run at the same time; a run that was not complete ends with 1, and counts as well."""
    runs = [run(program, scenario, way) for program in programs]
    results = [(*process.communicate(), process.returncode) for process in runs]
    for program, (_, errors, code) in zip(programs, results):
        if code not in (0, 1):
            sys.exit(f"{program}: {errors.decode().strip()}")
    return results[0] == results[1]


def main(before, after, *names):
    scenarios = [pathlib.Path(name) for name in names] or sorted(
        path for path in SCENARIOS.glob("*.json") if not path.stem.startswith(LONG))
    different = 0
    for scenario in scenarios:
        for way in WAYS:
            equal = same((before, after), scenario, way)
            different += not equal
            print(f"{scenario.stem:20} {' '.join(way):18} {'equal' if equal else 'DIFFERENT'}", flush=True)
    print(f"{len(scenarios) * len(WAYS)} runs, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
