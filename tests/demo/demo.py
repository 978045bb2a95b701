"""The main job, shown and checked: a service and two devices of a small clinic.

Everything runs on loopback in a temporary directory and is stopped at the end
(--keep leaves the files and says where they are).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from harness import APPS, PYTHON, Device, World, wait_until  # noqa: E402

PATIENTS = 1000
LIVE_ROUNDS = 20


def title(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def say(text):
    print(f"   {text}", flush=True)


def show(text, lines=14):
    shown = text.rstrip().splitlines()
    for line in shown[:lines]:
        print(f"   | {line}")
    if len(shown) > lines:
        print(f"   | ... ({len(shown) - lines} more lines)")
    sys.stdout.flush()


def check(condition, what):
    if not condition:
        raise AssertionError(what)
    say(f"ok: {what}")


def new_id():
    return str(uuid.uuid4())


class Demo:
    def __init__(self, world):
        self.world = world
        self.a = None
        self.b = None
        self.log = []

    def set_up(self):
        title("1. A service, two devices, an application that knows nothing of either")
        self.world.setup("tablet-a", "tablet-b")
        self.world.start_service()
        show(self.world.service.ready)
        self.a = Device(self.world, "tablet-a", interval="1h", user="dr.alvarez")
        self.b = Device(self.world, "tablet-b", interval="1h", user="pt.morgan")
        started = time.monotonic()
        script = subprocess.run([PYTHON, APPS / "clinic_data.py", "--patients", str(PATIENTS)],
                                capture_output=True, text=True, check=True).stdout
        self.a.shell(script)
        self.a.django("migrate")
        rows = sum(self.a.rows(f"SELECT count(*) FROM {table}")[0][0]
                   for table in ("Patient", "ClinicalNote", "IntakeForm"))
        say(f"tablet-a's app wrote {rows} rows with the sqlite3 shell, and Django its own tables "
            f"({time.monotonic() - started:.1f} s)")
        plan = self.a.agent_run("init", "--all-tables", "--dry-run").stdout
        show(plan, 26)
        check("INTEGER_KEY" in plan, "the plan says why Django's own tables are not synced")
        self.a.init()
        self.b.init()
        return rows

    def upload_through_a_crash(self, rows):
        title("2. The first upload, and the service is killed (kill -9) in the middle of it")
        started = time.monotonic()
        self.a.start()
        pushed = "SELECT count(*) FROM SyncQueueItems WHERE Status = 2"
        wait_until("the upload has begun", lambda: self.a.ledger(pushed)[0][0] > 0)
        self.world.service.kill()
        left = self.a.ledger("SELECT count(*) FROM SyncQueueItems WHERE Status IN (0, 1)")[0][0]
        say(f"killed; {rows - left} of {rows} rows were acknowledged")
        self.world.start_service()
        self.b.start()
        wait_until("tablet-b has everything", lambda: self.b.rows(
            "SELECT (SELECT count(*) FROM Patient) + (SELECT count(*) FROM ClinicalNote) + "
            "(SELECT count(*) FROM IntakeForm)") == [(rows,)])
        wait_until("tablet-a's queue is empty", self.a.queue_empty)
        say(f"both devices in step {time.monotonic() - started:.1f} s after the start")
        check(self.a.content() == self.b.content(),
              "every value is the same on both devices, by type")
        check(self.b.rows("SELECT count(*) FROM NoteSearch WHERE NoteSearch MATCH 'knee'") ==
              self.a.rows("SELECT count(*) FROM NoteSearch WHERE NoteSearch MATCH 'knee'"),
              "the app's own search index is right on tablet-b")

    def live(self):
        title("3. Live: from COMMIT on tablet-a to visible on tablet-b (the timer is 1 hour)")
        import sqlite3
        writer = sqlite3.connect(self.a.db, timeout=5, isolation_level=None)
        reader = sqlite3.connect(self.b.db, timeout=5, isolation_level=None)
        times = []
        for number in range(LIVE_ROUNDS):
            patient = new_id()
            writer.execute("INSERT INTO Patient(Id, FirstName, LastName, DateOfBirth) "
                           "VALUES(?, 'Live', ?, '1990-01-01')", (patient, f"Nr{number}"))
            started = time.perf_counter()
            while not reader.execute("SELECT 1 FROM Patient WHERE Id = ?", (patient,)).fetchone():
                if time.perf_counter() - started > 20:
                    raise AssertionError("a live change did not arrive in 20 s")
                time.sleep(0.0002)
            times.append((time.perf_counter() - started) * 1000)
            time.sleep(0.02)
        writer.close()
        reader.close()
        say(f"{LIVE_ROUNDS} commits: median {statistics.median(times):.1f} ms, "
            f"slowest {max(times):.1f} ms")
        note, patient = new_id(), self.a.rows("SELECT Id FROM Patient LIMIT 1")[0][0]
        self.b.django("add-note", note, patient, "written by Django on tablet-b")
        wait_until("Django's note is on tablet-a",
                   lambda: self.a.rows("SELECT 1 FROM ClinicalNote WHERE Id = ?", note))
        say("ok: a note written by Django on tablet-b is on tablet-a")

    def conflicts(self):
        title("4. Both offline, both edit: the later edit of a draft wins, the loser is kept")
        first, second = [row[0] for row in self.a.rows("SELECT Id FROM Patient ORDER BY Id LIMIT 2")]
        self.world.service.stop()
        status = self.a.agent_run("status", check=False).stdout
        self.edit(self.b, first, "Early-B")
        self.edit(self.a, second, "Early-A")
        time.sleep(0.01)
        self.edit(self.a, first, "Late-A")
        self.edit(self.b, second, "Late-B")
        wait_until("both devices have queued their edits",
                   lambda: self.a.ledger("SELECT count(*) FROM SyncQueueItems WHERE Status < 2") and
                   self.b.ledger("SELECT count(*) FROM SyncQueueItems WHERE Status < 2"))
        offline = self.a.agent_run("status", check=False).stdout
        show(offline or status, 6)
        self.world.start_service()
        names = {first: "Late-A", second: "Late-B"}
        for device in (self.a, self.b):
            for patient, name in names.items():
                wait_until(f"{name} stands on {device.name}", lambda d=device, p=patient, n=name:
                           d.rows("SELECT LastName FROM Patient WHERE Id = ?", p) == [(n,)])
        wait_until("the archives stand", lambda: len(self.archive()) >= 2)
        kinds = sorted(c["resolutionType"] for c in self.archive())
        say(f"the service's archive: {', '.join(kinds)}")
        check({"LocalWins", "ServerWins"} & set(kinds) and len(kinds) >= 2,
              "both losers stand in the archive")
        lost = [c for c in self.archive() if c["archivedDeviceId"] == "tablet-b"][0]
        shown = self.world.service_run("conflicts", "show", lost["conflictId"]).stdout
        show(shown, 30)
        check("Early-B" in shown and "Late-A" in shown, "loser and winner are shown side by side")

    def archive(self):
        return json.loads(self.world.service_run("conflicts", "list", "--all", "--json").stdout)[
            "items"]

    def edit(self, device, patient, name):
        device.shell(f"UPDATE Patient SET LastName = '{name}' WHERE Id = '{patient}';")

    def refusals(self):
        title("5. A signed note and a locked form do not change, whoever tries")
        note = self.b.rows("SELECT Id, Plan FROM ClinicalNote WHERE SignatureHash IS NOT NULL "
                           "LIMIT 1")[0]
        form = self.b.rows("SELECT Id, Complaint FROM IntakeForm WHERE IsLocked = 1 LIMIT 1")[0]
        self.b.shell(f"UPDATE ClinicalNote SET Plan = 'altered' WHERE Id = '{note[0]}';"
                     f"UPDATE IntakeForm SET Complaint = 'altered' WHERE Id = '{form[0]}';")
        wait_until("the note is put back", lambda: self.b.rows(
            "SELECT Plan FROM ClinicalNote WHERE Id = ?", note[0]) == [(note[1],)])
        wait_until("the form is put back", lambda: self.b.rows(
            "SELECT Complaint FROM IntakeForm WHERE Id = ?", form[0]) == [(form[1],)])
        show(self.b.agent_run("conflicts", "list", check=False).stdout)
        kinds = {row[0] for row in self.b.ledger("SELECT ResolutionType FROM SyncConflictArchives")}
        check({"RejectedImmutable", "RejectedLocked"} <= kinds,
              "both attempts are archived on the device, the rows are as they were")

    def kill_in_mid_push(self):
        title("6. 4,000 more rows, and the service is killed again while they are sent")
        script = subprocess.run([PYTHON, APPS / "clinic_data.py", "--patients", "1000", "--seed",
                                 "2"], capture_output=True, text=True, check=True).stdout
        writer = threading.Thread(target=self.a.shell, args=(script,))
        before = self.a.ledger("SELECT max(Id) FROM SyncQueueItems")[0][0]
        writer.start()
        wait_until("the push has begun", lambda: self.a.ledger(
            "SELECT count(*) FROM SyncQueueItems WHERE Status = 2 AND Id > ?", before)[0][0] > 0)
        self.world.service.kill()
        writer.join()
        show(self.a.agent_run("status", check=False).stdout, 6)
        self.world.start_service()
        wait_until("both devices are in step", lambda: self.a.queue_empty() and
                   self.b.queue_empty() and self.a.content() == self.b.content(), deadline_s=90,
                   pause_s=0.5)
        say("ok: nothing was lost, nothing came twice")

    def end(self):
        title("7. Where things stand")
        self.a.agent_run("run", check=False)
        self.b.agent_run("run", check=False)
        show(self.a.agent_run("status", check=False).stdout)
        show(self.world.service_run("status", check=False).stdout)
        patient = self.a.rows("SELECT Id FROM Patient ORDER BY Id LIMIT 1")[0][0]
        show(self.a.agent_run("why", "Patient", patient).stdout)
        verdict = self.world.service_run("audit", "verify").stdout
        show(verdict)
        check("intact" in verdict, "the audit chain is intact")
        check(self.a.agent.stop() == 0 and self.b.agent.stop() == 0 and
              self.world.service.stop() == 0, "all three programs stop cleanly at SIGTERM")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the files")
    args = parser.parse_args()
    started = time.monotonic()
    with World(args.bin, keep=args.keep) as world:
        demo = Demo(world)
        try:
            rows = demo.set_up()
            demo.upload_through_a_crash(rows)
            demo.live()
            demo.conflicts()
            demo.refusals()
            demo.kill_in_mid_push()
            demo.end()
        except AssertionError as error:
            print(f"\nFAILED: {error}", file=sys.stderr)
            for log in sorted(world.root.rglob("*.log")):
                print(f"--- {log.name} (end)", file=sys.stderr)
                print("\n".join(log.read_text(errors="replace").splitlines()[-8:]),
                      file=sys.stderr)
            return 1
        if args.keep:
            print(f"\nThe files are in {world.root}")
    print(f"\nDone in {time.monotonic() - started:.0f} s. Everything that was shown was checked.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
