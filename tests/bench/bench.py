"""Speed, as ratios to floors measured in the same run: ./dev bench [KEY...] [--json]

A floor is a straight-line program (floor.cc) that does the same work with the
same rows, and with nothing but SQLite and gRPC. Ours are the built programs as
they ship: tokens, conflict check, receipts and audit on. Both alternate on this
machine, so that the ratio holds where the figures beside it do not.
"""
import argparse
import json
import pathlib
import resource
import signal
import sys
import tempfile
import time

from crowd import fanout, idle, many
from growth import growth
from latency import app_latency, capture, live
from network import slow_links, wire
from report import GROUPS, explanation, results_of, table
from setting import Bench, Sizes
from transfer import large, push_and_pull

ROUNDS = 3
# A million rows take minutes.
ROUNDS_LARGE = 1
SHARED = {"push": push_and_pull, "pull": push_and_pull, "push_depth": large, "snapshot": large}
ALONE = {"live": live, "capture": capture, "app_latency": app_latency, "wire": wire,
         "link": slow_links, "idle": idle, "fanout": fanout, "many": many}


def one_round(bench, groups, number):
    """{key: Figure} of the groups; those that prepare the same share it."""
    ours_first = number % 2 == 0
    found = {}
    for measure in (push_and_pull, large):
        wanted = [group for group in groups if SHARED.get(group) is measure]
        if wanted:
            say(", ".join(wanted))
            found.update(measure(bench, wanted, ours_first))
    for group in groups:
        if group in ALONE:
            say(group)
            found.update(ALONE[group](bench, ours_first))
    return found


def say(what):
    """Of what is done, on the standard error: the result may go elsewhere."""
    print(f"{time.strftime('%H:%M:%S')}   {what} ...", file=sys.stderr, flush=True)


def measure_all(bench, groups, count, count_large):
    rounds = {}
    for number in range(max(count, count_large)):
        wanted = [group for group in groups
                  if number < (count_large if SHARED.get(group) is large else count)]
        if not wanted:
            continue
        print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
        for key, figure in one_round(bench, wanted, number).items():
            rounds.setdefault(key, []).append(figure)
    return rounds


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="folder of sync-service and device-agent")
    parser.add_argument("--floor", help="the program floor (default: of --bin)")
    parser.add_argument("--out", required=True, help="where the JSON goes")
    parser.add_argument("--json", action="store_true", help="print the JSON, not the table")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--rounds-large", type=int, default=ROUNDS_LARGE,
                        help="of push_depth and snapshot")
    parser.add_argument("--rows", type=int, help="of every key, in place of 20,000, and of "
                        "1,000,000 for push_depth and snapshot")
    parser.add_argument("--devices", type=int, help="at most, of idle, fanout, many and growth")
    parser.add_argument("--writes", type=int, help="of live and app_latency, in place of 500")
    parser.add_argument("keys", nargs="*", metavar="KEY",
                        help=f"of {', '.join(GROUPS)}; none: all. growth: how the cost grows, "
                        "a table of its own")
    args = parser.parse_args()
    known = (*GROUPS, "growth")
    unknown = [key for key in args.keys if key not in known]
    if unknown:
        parser.error(f"no such key: {', '.join(unknown)}; there are {', '.join(known)}")
    if min(args.rounds, args.rounds_large) < 1 or (args.rows or 1000) < 1000:
        parser.error("at least 1 round and 1,000 rows")
    if (args.devices or 2) < 2 or (args.writes or 50) < 50:
        parser.error("at least 2 devices and 50 writes")
    return args


def allow_many_sockets():
    """For the programs that are started: a service needs one for each device."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write(path, results):
    path.write_text(json.dumps(results, indent=2) + "\n")


def main():
    args = arguments()
    # So that the programs are stopped when this one is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    allow_many_sockets()
    out = pathlib.Path(args.out).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    binaries = pathlib.Path(args.bin).resolve()
    sizes = Sizes(args.rows, args.devices, args.writes)
    # Beside the result: a temporary folder in memory would make every fsync free.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=out.parent) as scratch:
        bench = Bench(binaries, args.floor or binaries / "floor", scratch, sizes)
        if "growth" in args.keys:
            growth(bench, args.devices, out.with_name("growth.json"))
        groups = [group for group in GROUPS if group in args.keys or not args.keys]
        rounds = measure_all(bench, groups, args.rounds, args.rounds_large)
    if not rounds:
        return
    results = results_of(rounds)
    text = explanation(results, args.rounds, sizes)
    write(out, results)
    if args.json:
        print(json.dumps(results, indent=2))
        return
    print("\n" + table(results))
    print(text)
    print(f"\n{out}")


if __name__ == "__main__":
    main()
