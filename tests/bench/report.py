"""The keys of the bench, what is made of their rounds, and the table."""
import os
import statistics


class Figure:
    """What one round measured. `floor` None: there is nothing to compare with."""

    def __init__(self, ours, floor=None, plain=None, of=None):
        self.ours, self.floor, self.plain, self.of = ours, floor, plain, of

    @property
    def ratio(self):
        return self.ours / self.floor if self.floor else None


class Key:
    """One line of the table. The ratio is always ours / floor.

    `goal` is that of the ratio, or with `absolute` that of ours; None = there is none.
    """

    def __init__(self, what, unit, goal=None, at_least=False, absolute=False, digits=0):
        self.what, self.unit, self.goal = what, unit, goal
        self.at_least, self.absolute, self.digits = at_least, absolute, digits

    def met(self, value):
        if self.goal is None or value is None:
            return None
        return value >= self.goal if self.at_least else value <= self.goal

    def miss(self, value):
        """Above 1: so many times beyond the goal."""
        if self.goal is None or value is None:
            return -1.0
        low, high = (self.goal, value) if not self.at_least else (value, self.goal)
        if low == 0:
            return float("inf") if high > 0 else 0.0
        return high / low

    def goal_text(self):
        if self.goal is None:
            return "-"
        number = format(self.goal, f".{self.digits}f" if self.absolute else ".2f")
        unit = f" {self.unit}" if self.absolute else ""
        return f"{'>=' if self.at_least else '<='} {number}{unit}"


# The names of quality.md ("Speed"); a part is called after the group that it belongs to.
KEYS = {
    "push": Key("rows written offline go to the service", "rows/s", 0.8, at_least=True),
    "push_depth_rate": Key("the same from a full queue, against a short one", "rows/s", 0.8,
                           at_least=True),
    "push_depth_straight": Key("the same of a straight-line program", "rows/s"),
    "push_depth_agent": Key("most memory of the agent meanwhile", "MiB"),
    "push_depth_service": Key("most memory of the service meanwhile", "MiB"),
    "pull": Key("a fresh device takes all rows", "rows/s", 0.6, at_least=True),
    "snapshot_rate": Key("a fresh device takes very many rows", "rows/s", 0.6, at_least=True),
    "snapshot_agent": Key("most memory of the agent meanwhile", "MiB", 150, absolute=True),
    "snapshot_service": Key("most memory of the service meanwhile", "MiB", 150, absolute=True),
    "live_p50": Key("COMMIT on A until readable on B, median", "ms", 1.4, digits=2),
    "live_p99": Key("the same, 99th percentile", "ms", 1.5, digits=2),
    "capture_1000": Key("the app's insert, 1,000 a transaction", "us/row", 1.7, digits=1),
    "capture_1000_unique": Key("the same with a UNIQUE index", "us/row", 1.9, digits=1),
    "capture_1": Key("the app's insert, 1 a transaction", "us/row", 1.3, digits=1),
    "capture_1_unique": Key("the same with a UNIQUE index", "us/row", 1.9, digits=1),
    "app_latency_p99": Key("the app's commit at full speed, 99 %", "ms", 2.0, digits=2),
    "app_latency_neighbours": Key("the same; floor: others use the machine", "ms", digits=2),
    "app_latency_p50": Key("the same, median", "ms", digits=2),
    "app_latency_busy": Key("refused in spite of 250 ms patience", "commits", 0, absolute=True),
    "app_latency_push": Key("of 1,000 that read first, refused: pushing", "", 0, absolute=True,
                            digits=1),
    "app_latency_pull": Key("the same: a colleague writes now and then", "", 1, absolute=True,
                            digits=1),
    "app_latency_flood": Key("the same: very many rows come in", "", digits=1),
    "wire_push": Key("a row, pushed", "bytes", 240, absolute=True),
    "wire_push_small": Key("a row, pushed and compressed", "bytes", 130, absolute=True),
    "wire_pull_small": Key("a row, pulled and compressed", "bytes", 130, absolute=True),
    "wire_push_back": Key("what comes back meanwhile, for each row", "bytes"),
    "wire_pull": Key("a row, pulled", "bytes", 240, absolute=True),
    "wire_edit_push": Key("one field of 40, pushed, against the row", "bytes", 0.15, digits=0),
    "wire_edit_pull": Key("the same, pulled: always the whole row", "bytes"),
    "link_trips": Key("round trips of 300 ms that a push pays", "", 6, absolute=True, digits=1),
    "link_0": Key("push over a link, no round trip", "rows/s"),
    "link_50": Key("the same, 50 ms there and back", "rows/s"),
    "link_50_loss": Key("the same, 1 % of segments late", "rows/s"),
    "link_300": Key("the same, 300 ms there and back", "rows/s"),
    "idle_memory": Key("the service, for a quiet live device", "KiB", 1.3, digits=1),
    "idle_agent": Key("processor of a quiet agent", "%", 0.5, absolute=True, digits=2),
    "idle_service": Key("processor of the service, all quiet", "%", digits=2),
    "fanout": Key("COMMIT until the last live device has it", "ms", 20, digits=2),
    "many_rate": Key("all devices push at once, against one", "rows/s", 1.5, at_least=True),
    "many_fairness": Key("slowest of them / the fastest", "times", digits=2),
}
GROUPS = ("push", "push_depth", "pull", "snapshot", "live", "capture", "app_latency", "wire",
          "link", "idle", "fanout", "many")


def parts_of(group):
    if group in KEYS:
        return [group]
    # "push" stands by itself, so no part of "push_depth" can be taken for its.
    return [name for name in KEYS if name.startswith(group + "_")]


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def summary(name, rounds):
    """Of one key. Its ratio is the median of the rounds' own ratios."""
    key = KEYS[name]
    ratios = [figure.ratio for figure in rounds if figure.ratio is not None]
    ours, ratio = median(figure.ours for figure in rounds), median(ratios)
    return {
        "what": key.what,
        "unit": key.unit,
        "ours": ours,
        "floor": median(figure.floor for figure in rounds),
        "plainSqlite": median(figure.plain for figure in rounds),
        "ratio": ratio,
        "ratioMin": min(ratios, default=None),
        "ratioMax": max(ratios, default=None),
        "goal": key.goal,
        "goalIs": "at least" if key.at_least else "at most",
        "goalOf": "ours" if key.absolute else "ratio",
        "met": key.met(ours if key.absolute else ratio),
        "rounds": [{name: value for name, value in (
            ("ours", figure.ours), ("floor", figure.floor), ("ratio", figure.ratio),
            ("plainSqlite", figure.plain), ("of", figure.of)) if value is not None}
            for figure in rounds],
    }


def results_of(rounds):
    """{key: summary}: each group under its own name, with the part that is worst, and its parts."""
    results = {}
    for group in GROUPS:
        parts = {name: summary(name, rounds[name]) for name in parts_of(group) if name in rounds}
        if not parts:
            continue
        if group not in parts:
            results[group] = worst_of(parts)
        results.update(parts)
    return results


def worst_of(parts):
    """What stands for a group: its part that is farthest beyond its goal, met if all are met."""
    def miss(name):
        return KEYS[name].miss(parts[name]["ours" if KEYS[name].absolute else "ratio"])

    worst = max(parts, key=miss)
    met = [part["met"] for part in parts.values() if part["met"] is not None]
    return {**parts[worst], "worst": worst, "parts": list(parts), "met": all(met)}


def cells(name, result):
    if "worst" in result:
        return (name, f"all of it; its worst: {result['worst']}", "", "", "", "", "", "",
                "yes" if result["met"] else "NO", "")
    key = KEYS[name]
    figure = f",.{key.digits}f"

    def number(field, how=figure):
        return "-" if result[field] is None else format(result[field], how)

    spread = "-" if result["ratio"] is None else \
        f"{result['ratioMin']:.2f}-{result['ratioMax']:.2f}"
    met = {None: "-", True: "yes", False: "NO"}[result["met"]]
    return (name if name in GROUPS else f"  {name}", key.what, key.unit, number("ours"),
            number("floor"), number("ratio", ".2f"), spread, key.goal_text(), met,
            number("plainSqlite"))


def table(results):
    lines = [("key", "what", "", "ours", "floor", "ratio", "of rounds", "goal", "met",
              "plain SQLite")]
    lines += [cells(name, result) for name, result in results.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = (0, 1, 2)
    return "\n".join("  ".join(
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


# What a floor's share of plain SQLite is where nothing else runs. A floor that is
# far from it is none: it does more than it must, or less.
PLAIN_SHARES = {"push": 0.33, "pull": 0.85}
PLAIN_SHARE_WITHIN = 0.25


def shares(results):
    """Lines that say whether the floors are what a floor should be; notes it in `results`."""
    lines = []
    for name, expected in PLAIN_SHARES.items():
        if name not in results:
            continue
        share = median(row["floor"] / row["plainSqlite"] for row in results[name]["rounds"])
        fits = abs(share - expected) <= PLAIN_SHARE_WITHIN * expected
        results[name].update(floorOfPlain=share, floorOfPlainExpected=expected,
                             floorOfPlainFits=fits)
        lines.append(f"The floor of {name} is {share:.2f} of plain SQLite; elsewhere it was "
                     f"{expected:.2f}: {'within' if fits else 'NOT WITHIN'} 25 %.")
    return lines


def explanation(results, rounds, sizes):
    load, processors = os.getloadavg()[0], os.cpu_count()
    lines = [f"""
{sizes.rows:,} rows of a patient table (12 fields, 350 bytes as JSON); push_depth and snapshot
{sizes.rows_large:,}. {rounds} rounds, medians (docs/PERFORMANCE.md says what each key is).
ours: the programs as they ship. floor: the same work with nothing but SQLite and gRPC; of
push_depth, fanout and many: ours with a short queue, or with one device; of app_latency: the
agent stopped; of wire: the row as protobuf, and of wire_edit the whole row.
ratio: ours / floor. A goal without a unit is the ratio's, one with a unit that of ours.
plain SQLite: the same rows inserted by one program without anything else.
Higher is better for rows/s, lower for everything else."""]
    lines += shares(results)
    if load > processors:
        lines.append(
            f"This machine is busy (load {load:.1f} on {processors} processors): the figures are "
            "low, and\nratios wander. Look at how far those of the rounds lie apart.")
    return "\n".join(lines)
