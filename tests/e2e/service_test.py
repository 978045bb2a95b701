"""sync-service from outside: a foreign client, buf curl, bad input, restarts."""
import json
import os
import pathlib
import subprocess
import threading
import unittest

import grpc

import stubs
from harness import World
from stubs import Client, change, new_batch_id, reason_of, sync, types

BIN = os.environ.get("PTDOC_BIN", "build/bin")


class ServiceTest(unittest.TestCase):
    def setUp(self):
        self.world = World(BIN).setup("a", "b")
        self.world.start_service()
        self.a = self.client("a")
        self.b = self.client("b")

    def tearDown(self):
        for client in (self.a, self.b):
            client.close()
        self.world.__exit__()

    def client(self, device):
        return Client(self.world.port, self.world.token(device))

    def assert_refused(self, code, reason, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(caught.exception.code(), code)
        self.assertEqual(reason_of(caught.exception), reason)
        return caught.exception

    def test_run_takes_a_change_and_gives_others_theirs(self):
        first = self.a.run(change("Patient", "p1", {"Id": "p1", "Age": 40}, "CREATE"))
        other = self.b.run()

        self.assertEqual(first.results[0].outcome, types.OUTCOME_ACCEPTED)
        self.assertEqual(first.results[0].rule, "6")
        self.assertEqual(first.pull.total, 0)
        self.assertEqual([v.entity_id for v in other.versions], ["p1"])
        self.assertEqual(other.versions[0].fields["Age"].integer, 40)

    def test_draft_conflict_is_won_by_the_later_time_and_the_loser_archived(self):
        base = self.a.run(change("Patient", "p1", {"Id": "p1", "N": "0"}, "CREATE", seconds=1000))
        revision = base.results[0].revision
        self.b.run(change("Patient", "p1", {"N": "b"}, base=revision, seconds=2000))

        late = self.a.run(change("Patient", "p1", {"N": "a"}, base=revision, seconds=3000))
        early = self.a.run(change("Patient", "p1", {"N": "c"}, base=revision, seconds=1500))

        self.assertEqual(late.results[0].resolution, types.RESOLUTION_LOCAL_WINS)
        self.assertEqual(early.results[0].resolution, types.RESOLUTION_SERVER_WINS)
        self.assertEqual(early.results[0].current.fields["N"].text, "a")
        self.assertEqual(early.conflicts[0].resolution, "ServerWins")
        listed = json.loads(self.world.service_run("conflicts", "list", "--json").stdout)["items"]
        self.assertEqual([c["resolutionType"] for c in listed], ["LocalWins", "ServerWins"])

    def test_conflict_is_not_resolved_over_a_revision_that_the_reviewer_did_not_see(self):
        base = self.a.run(change("Patient", "p1", {"Id": "p1", "N": "0"}, "CREATE", seconds=1000))
        revision = base.results[0].revision
        self.b.run(change("Patient", "p1", {"N": "b"}, base=revision, seconds=2000))
        lost = self.a.run(change("Patient", "p1", {"N": "a"}, base=revision, seconds=1500))
        conflict = lost.results[0].conflict_id
        shown = self.world.service_run("conflicts", "show", conflict).stdout
        self.assertIn(f"--restore --revision {lost.results[0].revision} ", shown)
        newer = self.b.run(change("Patient", "p1", {"N": "c"}, base=lost.results[0].revision))

        def resolve(seen):
            return self.world.service_run("conflicts", "resolve", conflict, "--restore", "--revision",
                                          seen, "--reason", "TYPO", check=False)
        stale = resolve(lost.results[0].revision)
        fresh = resolve(newer.results[0].revision)

        self.assertNotEqual(stale.returncode, 0)
        self.assertIn("REVISION", stale.stderr)
        self.assertEqual(fresh.returncode, 0, fresh.stderr)
        last = [version for page in self.b.pull() for version in page.versions][-1]
        self.assertEqual(last.fields["N"].text, "a")

    def test_signed_note_and_locked_form_are_refused(self):
        made = self.a.run(
            change("ClinicalNote", "n1", {"Id": "n1", "T": "x", "SignatureHash": "s"}, "CREATE"),
            change("IntakeForm", "f1", {"Id": "f1", "T": "x", "IsLocked": 1}, "CREATE"))
        base = [result.revision for result in made.results]

        edited = self.b.run(change("ClinicalNote", "n1", {"T": "y"}, base=base[0]),
                            change("IntakeForm", "f1", {"T": "y"}, base=base[1]))
        deleted = self.b.run(change("ClinicalNote", "n1", operation="DELETE", base=base[0]))

        self.assertEqual([r.resolution for r in edited.results],
                         [types.RESOLUTION_REJECTED_IMMUTABLE, types.RESOLUTION_REJECTED_LOCKED])
        self.assertEqual(deleted.results[0].resolution, types.RESOLUTION_REJECTED_IMMUTABLE)
        self.assertEqual({c.resolution for c in edited.conflicts},
                         {"RejectedImmutable", "RejectedLocked"})
        unlocked = self.world.service_run("unlock", "--type", "IntakeForm", "--id", "f1",
                                          "--reason", "correction", "--json")
        again = self.b.run(change("IntakeForm", "f1", {"T": "y"},
                                  base=json.loads(unlocked.stdout)["revision"]))
        self.assertEqual(again.results[0].outcome, types.OUTCOME_ACCEPTED)

    def test_same_batch_has_one_effect_when_sent_again_after_a_restart(self):
        batch = new_batch_id()
        request = change("Patient", "p1", {"Id": "p1"}, "CREATE")
        first = self.a.run(request, batch_id=batch)
        self.a.close()
        self.world.service.kill()
        self.world.start_service()
        self.a = self.client("a")

        second = self.a.run(request, batch_id=batch)

        self.assertEqual(first.results, second.results)
        self.assertEqual(len(list(self.a.pull())[0].versions), 1)
        self.assert_refused(grpc.StatusCode.INVALID_ARGUMENT, "BATCH_ID_REUSED",
                            lambda: self.a.run(change("Patient", "p2", {"Id": "p2"}, "CREATE"),
                                               batch_id=batch))

    def test_same_batch_has_one_effect_when_sent_from_two_connections_at_once(self):
        batch = new_batch_id()
        request = sync.PushRequest(batch_id=batch, changes=[
            change("Patient", f"p{i}", {"Id": f"p{i}"}, "CREATE") for i in range(200)])
        answers = [None, None]
        clients = [self.client("a"), self.client("a")]

        def send(index):
            answers[index] = clients[index].push(request)[0]

        threads = [threading.Thread(target=send, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
            
        self.assertEqual(answers[0].results, answers[1].results)
        self.assertEqual(sum(len(page.versions) for page in self.b.pull()), 200)
        for client in clients:
            client.close()

    def test_pushes_are_answered_in_order_when_pipelined(self):
        requests = [sync.PushRequest(batch_id=new_batch_id(), changes=[
            change("Patient", f"p{i}", {"Id": f"p{i}"}, "CREATE")]) for i in range(40)]

        answers = self.a.push(*requests)

        self.assertEqual([a.batch_id for a in answers], [r.batch_id for r in requests])

    def test_follow_sees_a_commit_of_another_device(self):
        stream = self.b.pull(follow=True)
        self.assertTrue(next(stream).caught_up)

        self.a.run(change("Patient", "p1", {"Id": "p1"}, "CREATE"))

        self.assertEqual(next(stream).versions[0].entity_id, "p1")
        stream.cancel()

    def test_bad_input_is_refused_by_name_and_touches_nothing_else(self):
        invalid, exhausted = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
        self.assert_refused(invalid, "FIELD", lambda: self.a.push(sync.PushRequest(batch_id="x")))
        self.assert_refused(invalid, "FIELD", lambda: self.a.push(sync.PushRequest()))
        self.assert_refused(invalid, "CURSOR_MALFORMED", lambda: list(self.a.pull(cursor="AAAA")))
        self.assert_refused(exhausted, "MESSAGE_TOO_LARGE", lambda: self.a.run(
            change("Patient", "p" * 1025, {"Id": "x"}, "CREATE")))
        self.assert_refused(exhausted, "MESSAGE_TOO_LARGE", lambda: self.a.push(sync.PushRequest(
            batch_id=new_batch_id(),
            changes=[change("T", str(i)) for i in range(5001)])))
        mixed = self.a.run(
            change("Patient", "", {"Id": "x"}, "CREATE"),
            change("", "p1", {"Id": "x"}, "CREATE"),
            types.Change(entity_type="Patient", entity_id="p2", operation=77),
            types.Change(entity_type="Patient", entity_id="p3", operation=types.OPERATION_CREATE,
                         fields={"Id": types.Value()}),
            change("Patient", "p4", {"Id": "p4", "Big": "x" * (3 << 20)}, "CREATE"),
            change("Patient", "p5", {"Id": "p5"}, "CREATE"))
        self.assertEqual([r.error_code for r in mixed.results],
                         ["INVALID_KEY", "INVALID_CHANGE", "INVALID_CHANGE", "INVALID_VALUE",
                          "ROW_TOO_LARGE", ""])
        self.assertEqual(mixed.results[5].outcome, types.OUTCOME_ACCEPTED)
        self.assertEqual((mixed.push.total, mixed.push.success, mixed.push.failed), (6, 1, 5))

    def test_tokens_are_told_apart(self):
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED
        self.assert_refused(unauthenticated, "TOKEN_MISSING",
                            lambda: Client(self.world.port).status())
        self.assert_refused(unauthenticated, "TOKEN_INVALID",
                            lambda: Client(self.world.port, "ptd_nonsense").status())
        made = json.loads(self.world.service_run("token", "create", "--tenant", "clinic",
                                                 "--device", "c", "--json").stdout)
        client = Client(self.world.port, made["token"])
        client.status()
        self.world.service_run("token", "revoke", made["id"])
        from harness import wait_until

        def refused():
            try:
                client.status()
                return False
            except grpc.RpcError as error:
                return reason_of(error) == "TOKEN_REVOKED"
        wait_until("the revoked token ends", refused, deadline_s=10)

    def test_cursor_of_another_tenant_is_malformed(self):
        made = json.loads(self.world.service_run("token", "create", "--tenant", "other",
                                                 "--device", "x", "--json").stdout)
        self.a.run(change("Patient", "p1", {"Id": "p1"}, "CREATE"))
        cursor = list(self.a.pull())[-1].cursor

        other = Client(self.world.port, made["token"])

        self.assert_refused(grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_MALFORMED",
                            lambda: list(other.pull(cursor=cursor)))
        self.assertEqual(sum(len(p.versions) for p in other.pull()), 0)

    def test_restore_changes_the_epoch(self):
        self.a.run(change("Patient", "p1", {"Id": "p1"}, "CREATE"))
        cursor = list(self.a.pull())[-1].cursor
        backup = self.world.root / "backup.db"
        self.world.service_run("backup", backup)
        self.assertEqual(self.world.service_run("restore", backup, check=False).returncode, 1)
        self.a.close()
        self.world.service.stop()
        self.world.service_run("restore", backup)
        self.world.start_service()
        self.a = self.client("a")

        self.assert_refused(grpc.StatusCode.FAILED_PRECONDITION, "EPOCH_CHANGED",
                            lambda: list(self.a.pull(cursor=cursor)))
        self.assertEqual(sum(len(p.versions) for p in self.a.pull()), 1)
        self.assertIn("intact", self.world.service_run("audit", "verify").stdout)

    def test_buf_curl_works_through_reflection(self):
        buf = os.environ.get("PTDOC_BUF")
        if not buf:
            self.skipTest("PTDOC_BUF is not set: ./dev test installs buf and sets it")
        base = [buf, "curl", "--http2-prior-knowledge", "--protocol", "grpc"]
        url = f"http://127.0.0.1:{self.world.port}"
        auth = ["-H", f"Authorization: Bearer {self.world.token('a')}"]

        def call(method, body, *more):
            done = subprocess.run([*base, *more, "-d", body, f"{url}/{method}"],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            return json.loads(done.stdout)

        health = call("grpc.health.v1.Health/Check", "{}")
        run = call("ptdoc.sync.v1.SyncService/Run", json.dumps({
            "batchId": new_batch_id(), "changes": [{
                "entityType": "Patient", "entityId": "p1", "operation": "OPERATION_CREATE",
                "fields": {"Id": {"text": "p1"}, "Weight": {"real": 71.5}}}]}), *auth)
        status = call("ptdoc.sync.v1.SyncService/Status", "{}", *auth)

        self.assertEqual(health["status"], "SERVING")
        self.assertEqual(run["push"], {"total": 1, "success": 1, "failed": 0, "conflicts": 0})
        self.assertTrue(run["success"])
        self.assertEqual(status["pending"], 0)

    def test_sigterm_ends_streams_politely(self):
        stream = self.b.pull(follow=True)
        next(stream)

        code = self.world.service.stop()

        self.assertEqual(code, 0)
        error = self.assert_refused(grpc.StatusCode.UNAVAILABLE, "DRAINING", lambda: next(stream))
        self.assertIn("stop", error.details().lower() + " stop")


if __name__ == "__main__":
    unittest.main(verbosity=2)
