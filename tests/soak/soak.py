"""Everything that can fail by chance, again and again with new seeds, side by side.

    ./dev soak --minutes 60 [--seed S] [--only simulation,kills,links,locks]

Each lane runs one kind of test in a loop until the time is over: the simulation, and
the tests of real processes, longer than `./dev test` runs them. Every child is bounded
in time. At the end a table says what was done, and for each failure the one command
that plays it again. Exit code 1 if anything failed.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback

SOURCE = pathlib.Path(__file__).resolve().parents[2]
E2E = SOURCE / "tests" / "e2e"
PYTHON = "/usr/bin/python3"
COUNTED = "counted: "
SIMULATED = re.compile(r"seeds (\d+) to \d+: (\d+) runs, (\d+) failed")
# Every lane has seeds of its own, so that what it does depends on nobody else.
SEED_STEP = 1_000_003


class Outcome:
    def __init__(self, seed, code, seconds, text, replay):
        self.seed, self.code, self.seconds = seed, code, seconds
        self.text, self.replay = text, replay

    @property
    def failed(self):
        return self.code != 0


def family(pid):
    """The process and all that it has started, and they."""
    parents = collections.defaultdict(list)
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # It ended meanwhile.
                continue
            parents[int(stat.rsplit(")", 1)[1].split()[1])].append(int(entry.name))
    found = [pid]
    for member in found:
        found.extend(parents[member])
    return found


def end(process):
    """Kills a child that takes too long, with the programs that it has started."""
    kill(family(process.pid))


def kill(pids):
    for pid in reversed(pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def run_bounded(argv, env, bound_s):
    """(exit code, what it printed, seconds). A child that is too slow has failed."""
    begun = time.monotonic()
    with subprocess.Popen(list(map(str, argv)), cwd=SOURCE, env={**os.environ, **env},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as child:
        try:
            text, _ = child.communicate(timeout=bound_s)
            code = child.returncode
        except subprocess.TimeoutExpired:
            end(child)
            text, _ = child.communicate()
            text += f"\nsoak: ended after {bound_s:.0f} s\n"
            code = 1
    return code, text, time.monotonic() - begun


class Lane(threading.Thread):
    """One kind of test in a loop. Subclasses say what one run is."""

    name_of = ""

    def __init__(self, options, number, deadline):
        super().__init__(daemon=True)
        self.options, self.deadline = options, deadline
        self.seed = options.seed + number * SEED_STEP
        self.outcomes = []
        self.counted = collections.defaultdict(list)
        self.start()

    @property
    def left_s(self):
        return self.deadline - time.monotonic()

    def run(self):
        while not self.outcomes or self.left_s >= self.least_s():
            try:
                outcome = self.one()
                self.count(outcome.text)
            except Exception:  # pylint: disable=broad-except
                # A lane that cannot run is no lane that found nothing.
                outcome = Outcome(self.seed, 1, 0, traceback.format_exc(), [])
            self.outcomes.append(outcome)
            if outcome.failed:
                self.keep(outcome)
            say(f"{self.name_of:<11} seed {outcome.seed:<12} {outcome.seconds:6.0f} s  "
                f"{'FAILED' if outcome.failed else 'ok'}")
            if outcome.seconds < 1:
                return  # Nothing ran: again would be the same.

    def keep(self, outcome):
        folder = self.options.logs
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name_of}-{outcome.seed}.log").write_text(outcome.text)

    def count(self, text):
        for line in text.splitlines():
            if line.startswith(COUNTED):
                for what, figure in json.loads(line[len(COUNTED):]).items():
                    self.counted[what].extend(figure if isinstance(figure, list) else [figure])

    def least_s(self):
        """Without so much time left nothing is begun any more."""
        raise NotImplementedError

    def one(self):
        raise NotImplementedError


class Simulation(Lane):
    """Minutes of seeds; each slice goes on where the last one ended."""

    name_of = "simulation"
    slice_minutes = 10

    def least_s(self):
        return 60

    def one(self):
        minutes = max(1, min(self.slice_minutes, round(self.left_s / 60)))
        argv = [self.options.bin / "ptdoc_simulate", "--from", self.seed, "--minutes", minutes,
                "--jobs", self.options.jobs]
        seed = self.seed
        code, text, seconds = run_bounded(argv, {}, 60 * minutes + 300)
        done = SIMULATED.search(text)
        self.seed += max(1, int(done.group(2)) if done else 1)
        if done:
            self.counted["seeds"].append(int(done.group(2)))
            self.counted["seeds failed"].append(int(done.group(3)))
        replays = re.findall(r"\./dev simulate --seed \d+[^\n]*", text)
        again = f"./dev simulate --from {seed} --minutes {minutes} --jobs {self.options.jobs}"
        return Outcome(seed, code, seconds, text, sorted(set(replays)) or [again])


class RealProcesses(Lane):
    """A test of tests/e2e with a seed and settings of its own."""

    test = ""
    # Where the time allows it, longer than `./dev test` would.
    usual, longer = {}, {}
    usual_s, longer_s = 0, 0

    def settings(self):
        return (self.longer, self.longer_s) if self.left_s > 3 * self.longer_s else (
            self.usual, self.usual_s)

    def least_s(self):
        return self.usual_s

    def one(self):
        given, expected_s = self.settings()
        seed, self.seed = self.seed, self.seed + 1
        env = {**given, "PTDOC_SEED": str(seed), "PTDOC_TEST_DEADLINE_S": "120"}
        code, text, seconds = run_bounded(
            [PYTHON, E2E / f"{self.test}.py"],
            {**env, "PTDOC_BIN": str(self.options.bin), "PYTHONDONTWRITEBYTECODE": "1"},
            5 * expected_s + 300)
        shown = " ".join(f"{name}={value}" for name, value in env.items())
        return Outcome(seed, code, seconds, text,
                       [f"{shown} {PYTHON} tests/e2e/{self.test}.py"])


class Kills(RealProcesses):
    name_of = "kills"
    test = "crash_test"
    usual_s, longer_s = 30, 90
    longer = {"PTDOC_CRASH_KILLS": "300", "PTDOC_CRASH_ROWS": "60000"}


class Links(RealProcesses):
    name_of = "links"
    test = "link_faults_test"
    usual_s, longer_s = 100, 300
    longer = {"PTDOC_LINK_ROUNDS": "10", "PTDOC_LINK_ROUND_S": "20"}


class Locks(RealProcesses):
    name_of = "locks"
    test = "app_locks_test"
    usual_s, longer_s = 100, 420
    longer = {"PTDOC_HOLD_S": "240", "PTDOC_DEFERRED": "5000"}


LANES = (Simulation, Kills, Links, Locks)


def say(text):
    print(text, flush=True)


def figure_text(figures):
    numbers = [figure for figure in figures if isinstance(figure, (int, float))]
    if all(isinstance(number, int) for number in numbers):
        return f"{sum(numbers)}"
    return f"median {statistics.median(numbers):.2f}, most {max(numbers):.2f}"


def show(lanes, seconds):
    say(f"\n{'':11} {'runs':>5} {'failed':>7} {'minutes':>8}  what was counted")
    for lane in lanes:
        failed = sum(outcome.failed for outcome in lane.outcomes)
        minutes = sum(outcome.seconds for outcome in lane.outcomes) / 60
        say(f"{lane.name_of:<11} {len(lane.outcomes):>5} {failed:>7} {minutes:>8.1f}")
        for what, figures in lane.counted.items():
            say(f"{'':34} {what}: {figure_text(figures)}")
    say(f"\n{seconds / 60:.1f} minutes in all")
    for lane in lanes:
        for outcome in lane.outcomes:
            if outcome.failed:
                say(f"\nFAILED: {lane.name_of}, seed {outcome.seed} "
                    f"({lane.options.logs}/{lane.name_of}-{outcome.seed}.log). Again with:")
                for command in outcome.replay:
                    say(f"  {command}")


def parse():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None, help="where the seeds begin")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the simulation")
    parser.add_argument("--only", default="", help="lanes, with commas: "
                        + ",".join(lane.name_of for lane in LANES))
    parser.add_argument("--bin", type=pathlib.Path, default=SOURCE / "build" / "bin")
    parser.add_argument("--logs", type=pathlib.Path, default=SOURCE / "build" / "soak")
    options = parser.parse_args()
    options.bin = options.bin.resolve()
    if options.seed is None:
        options.seed = int(time.time())
    chosen = [name for name in options.only.split(",") if name]
    unknown = set(chosen) - {lane.name_of for lane in LANES}
    if unknown:
        parser.error(f"no such lane: {', '.join(sorted(unknown))}")
    options.lanes = [lane for lane in LANES if not chosen or lane.name_of in chosen]
    return options


def main():
    options = parse()
    begun = time.monotonic()
    say(f"soak for {options.minutes:g} minutes; again with: "
        f"./dev soak --minutes {options.minutes:g} --seed {options.seed}")
    lanes = [kind(options, LANES.index(kind), begun + 60 * options.minutes)
             for kind in options.lanes]
    try:
        for lane in lanes:
            lane.join()
    except KeyboardInterrupt:
        kill(family(os.getpid())[1:])
        return 1
    show(lanes, time.monotonic() - begun)
    return 1 if any(outcome.failed for lane in lanes for outcome in lane.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
