"""idle, fanout and many: what devices cost that are there at the same time."""
import contextlib
import time

from report import Figure
from setting import (LOOK_S, agent_method, connection, in_turn, is_pushed, memory_mib,
                     processor_seconds, wait_until)

FLOOR_METHOD = "/ptdoc.bench.Floor/Pull"
FLOOR_REQUEST = "1001"  # follow
PULL_METHOD = "/ptdoc.sync.v1.SyncService/Pull"
PULL_REQUEST = "20013001"  # follow, packed
# From the last word of a connecting crowd until it counts as quiet.
SETTLE_S = 2.0
IDLE_S = 20.0
# Devices that are quiet have got what there was long ago.
FEW_ROWS = 10
FANOUT_WRITES = 50
# A look at one of many queues: all of them together must not take much of the processors
# from the programs that are measured.
LOOK_AT_MANY_S = 0.02


def names(count):
    return [f"d{number}" for number in range(count)]


def token_file(world, devices):
    path = world.root / "tokens.txt"
    path.write_text("".join(f"{world.token(device)}\n" for device in devices))
    return path


def followers(bench, world, devices, **more):
    """That many devices of which each follows the feed on a connection of its own."""
    return bench.helper("follow", port=world.port, method=PULL_METHOD, request=PULL_REQUEST,
                        count=len(devices), tokens=token_file(world, devices), **more)


# --- idle

def idle(bench, ours_first):
    count = bench.sizes.quiet_devices
    shares = {}

    def ours():
        with bench.world("a", *names(count)) as world:
            device = bench.fill(world, "a", FEW_ROWS)
            before = memory_mib(world.service.process, "VmRSS")
            with followers(bench, world, names(count)) as crowd:
                crowd.line()
                time.sleep(SETTLE_S)
                grown = memory_mib(world.service.process, "VmRSS") - before
                shares.update(idle_shares(agent=device.agent.process,
                                          service=world.service.process))
            return grown * 1024 / count

    def floor():
        with bench.helper("serve-quiet") as server:
            port = server.line()
            before = memory_mib(server.process, "VmRSS")
            with bench.helper("follow", port=port, method=FLOOR_METHOD, request=FLOOR_REQUEST,
                              count=count) as crowd:
                crowd.line()
                time.sleep(SETTLE_S)
                return (memory_mib(server.process, "VmRSS") - before) * 1024 / count

    memory = Figure(*in_turn(ours, floor, ours_first))
    return {"idle_memory": memory, "idle_agent": Figure(shares["agent"]),
            "idle_service": Figure(shares["service"])}


def idle_shares(**processes):
    """Per cent of a processor that each uses while nothing happens."""
    before = {name: processor_seconds(process) for name, process in processes.items()}
    time.sleep(IDLE_S)
    return {name: 100 * (processor_seconds(process) - before[name]) / IDLE_S
            for name, process in processes.items()}


# --- fanout

def fanout(bench, ours_first):
    devices = names(bench.sizes.live_devices)
    with bench.world("a", *devices) as world:
        device = bench.device(world, "a")
        device.start()
        device.agent_run("run")

        def until_last_of(some):
            with followers(bench, world, some, commit_to=device.db,
                           writes=FANOUT_WRITES) as crowd:
                crowd.line()
                return crowd.result()["p50_ms"]

        all_of_them, single = in_turn(lambda: until_last_of(devices),
                                      lambda: until_last_of(devices[:1]), ours_first)
    return {"fanout": Figure(all_of_them, single)}


# --- many

def many(bench, ours_first):
    """Real agents; each has a type of its own, so that it pushes and takes nothing of others."""
    count = bench.sizes.pushing_devices
    each = max(1, bench.sizes.rows // count)
    took = {}

    def rate(devices, rows):
        with bench.world(*devices) as world:
            agents = [bench.paused(world, name, type_name=f"Patient_{name}") for name in devices]
            for agent in agents:
                bench.insert_offline(agent, rows)
            times = drain_all(agents)
            took[len(devices)] = max(times) / min(times)
            return rows * len(devices) / max(times)

    all_of_them, single = in_turn(lambda: rate(names(count), each),
                                  lambda: rate(names(1), each * count), ours_first)
    return {"many_rate": Figure(all_of_them, single), "many_fairness": Figure(took[count])}


def drain_all(agents):
    """Lets all push at once; the seconds until each was done."""
    look_s = LOOK_S if len(agents) == 1 else LOOK_AT_MANY_S
    with contextlib.ExitStack() as stack:
        resumes = [stack.enter_context(agent_method(agent, "Resume")) for agent in agents]
        waiting = {number: stack.enter_context(connection(f"{agent.db}.sync"))
                   for number, agent in enumerate(agents)}
        seconds = {}
        start = time.perf_counter()
        calls = [resume.future(b"", timeout=30) for resume in resumes]

        def look():
            for number, ledger in list(waiting.items()):
                if is_pushed(ledger):
                    seconds[number] = time.perf_counter() - start
                    del waiting[number]
            return not waiting

        wait_until("every queue is empty", look, pause_s=look_s)
        for call in calls:
            call.result()
    return list(seconds.values())
