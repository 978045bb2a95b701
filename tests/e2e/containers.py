#!/usr/bin/env python3
"""docker-compose.yml, built and run on the engine that DOCKER_HOST names.

Run by hand: tests/e2e/containers.py. It needs a running engine and either
`docker compose` or docker-compose. Without them it says so and ends with 77.
It works in a compose project of its own and removes that project's containers,
network and volumes at the end.
"""
import contextlib
import pathlib
import shutil
import subprocess
import sys
import uuid

from harness import wait_until

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROJECT = "ptdoc-containers-test"
TABLES = ("Patient", "ClinicalNote", "IntakeForm")
SKIPPED = 77
BUILD_S = 3600
SYNC_S = 90


def output(*argv, timeout_s=120):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout_s)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n"
                             f"{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def compose_command():
    """docker compose, else docker-compose, else the reason why there is none."""
    if not shutil.which("docker"):
        sys.exit(skip("docker is not installed"))
    try:
        output("docker", "version", "--format", "{{.Server.Version}}", timeout_s=20)
    except (AssertionError, subprocess.TimeoutExpired):
        sys.exit(skip("no docker engine answers (DOCKER_HOST names another)"))
    with contextlib.suppress(AssertionError):
        output("docker", "compose", "version")
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    sys.exit(skip("neither `docker compose` nor docker-compose is installed"))


def skip(why):
    print(f"skipped: {why}")
    return SKIPPED


def check(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"ok: {what}", flush=True)


class Containers:
    def __init__(self, compose):
        self.compose = [*compose, "--project-name", PROJECT,
                        "--file", str(SOURCE / "docker-compose.yml")]

    def run(self, *args, timeout_s=180):
        return output(*self.compose, *args, timeout_s=timeout_s)

    def container(self, service):
        return self.run("ps", "--quiet", service)

    def inspect(self, service, what):
        return output("docker", "inspect", "--format", what, self.container(service))

    def inside(self, service, *argv):
        return self.run("exec", "-T", service, *argv)

    def sql(self, agent, statement):
        return self.inside(agent, "sqlite3", "-cmd", ".timeout 5000", "/data/app.db", statement)

    def counts(self, agent):
        return self.sql(agent, ";".join(f"SELECT count(*) FROM {table}" for table in TABLES))

    def wait_healthy(self, *services):
        for service in services:
            wait_until(f"{service} is healthy", pause_s=0.5, deadline_s=SYNC_S, condition=lambda:
                       self.inspect(service, "{{.State.Health.Status}}") == "healthy")

    def edit(self, agent):
        """Changes one patient there; the text that the others must get."""
        text = uuid.uuid4().hex
        self.sql(agent, f"UPDATE Patient SET Street = '{text}' WHERE Id = "
                        "(SELECT min(Id) FROM Patient)")
        return text

    def wait_for(self, agent, text):
        query = f"SELECT count(*) FROM Patient WHERE Street = '{text}'"
        wait_until(f"the edit is on {agent}", lambda: self.sql(agent, query) == "1",
                   deadline_s=SYNC_S, pause_s=0.2)

    def left_behind(self):
        label = f"label=com.docker.compose.project={PROJECT}"
        return (output("docker", "ps", "--all", "--quiet", "--filter", label) +
                output("docker", "volume", "ls", "--quiet", "--filter", label) +
                output("docker", "network", "ls", "--quiet", "--filter", label))


def start(containers):
    containers.run("up", "--build", "--detach", timeout_s=BUILD_S)
    containers.wait_healthy("service", "agent-a", "agent-b")
    check(True, "the service and both agents are healthy")
    for service in ("service", "agent-a", "agent-b"):
        check(containers.inside(service, "id", "-u") == "10001", f"{service} is not root")
        check(containers.inspect(service, "{{.HostConfig.ReadonlyRootfs}}") == "true",
              f"{service} has a read-only root")


def sync(containers):
    rows = containers.counts("agent-a")
    check(rows.startswith("200\n"), "agent-a has its sample rows")
    wait_until("the sample rows are on agent-b", lambda: containers.counts("agent-b") == rows,
               deadline_s=SYNC_S, pause_s=0.2)
    check(True, "agent-a's sample rows are on agent-b")
    containers.wait_for("agent-b", containers.edit("agent-a"))
    check(True, "an edit in agent-a is on agent-b")
    containers.wait_for("agent-a", containers.edit("agent-b"))
    check(True, "an edit in agent-b is on agent-a")


def crash(containers):
    containers.run("kill", "-s", "KILL", "service")
    text = containers.edit("agent-a")
    containers.run("start", "service")
    containers.wait_healthy("service")
    containers.wait_for("agent-b", text)
    check(True, "an edit made while the service was killed is on agent-b")
    containers.run("kill", "-s", "KILL", "agent-a")
    containers.run("start", "agent-a")
    containers.wait_healthy("agent-a")
    containers.wait_for("agent-b", containers.edit("agent-a"))
    check(True, "a killed agent goes on")


def start_again(containers):
    containers.run("up", "--detach")
    containers.run("restart", "service", "agent-a", "agent-b")
    containers.wait_healthy("service", "agent-a", "agent-b")
    containers.wait_for("agent-b", containers.edit("agent-a"))
    check(True, "a second `up` and a restart find everything as it was")
    containers.run("down")
    containers.run("up", "--detach")
    containers.wait_healthy("service", "agent-a", "agent-b")
    containers.wait_for("agent-b", containers.edit("agent-a"))
    check(True, "new containers go on with the old volumes")


def main():
    containers = Containers(compose_command())
    containers.run("down", "--volumes", "--remove-orphans")
    try:
        start(containers)
        sync(containers)
        crash(containers)
        start_again(containers)
    except BaseException:
        with contextlib.suppress(Exception):
            print(containers.run("ps"))
            print(containers.run("logs", "--no-color", "--tail", "40"))
        raise
    finally:
        containers.run("down", "--volumes", "--remove-orphans")
    check(containers.left_behind() == "", "`down --volumes` leaves nothing behind")


if __name__ == "__main__":
    main()
