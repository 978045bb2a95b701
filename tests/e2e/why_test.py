"""why on both programs: one row's life in about ten lines, without content."""
import unittest

from cli_case import CliCase


class WhyTest(CliCase):
    def lines(self, text):
        lines = text.splitlines()
        self.assertLessEqual(len(lines), 12, text)
        return lines

    def test_both_sides_tell_one_story(self):
        a, b, form, conflict = self.conflict_on_a_form()
        loser = b if b.json("conflicts", "list", "--all")["items"] else a

        there = self.lines(self.world.service_run("why", "IntakeForm", form).stdout)
        self.assertIn("revision 2: created by user-a on a, in a batch of 2 versions", there[0])
        self.assertTrue(any(conflict in line and "; open" in line for line in there), there)
        self.assertTrue(any("Now: revision" in line and "a draft" in line for line in there), there)
        self.assertIn(f"sync-service conflicts show {conflict}", there[-1])
        here = self.lines(loser.agent_run("why", "IntakeForm", form).stdout)
        self.assertTrue(any(conflict in line for line in here), here)
        self.assertTrue(here[-1].endswith("Next: nothing. The device and the service agree, as far "
                                          "as the device knows."), here)
        for text in there + here:
            self.assertNotIn("knee", text)

        a.shell(f"UPDATE IntakeForm SET IsLocked = 1 WHERE Id = '{form}';")
        a.agent_run("run", check=False)
        self.assertTrue(any("locked" in line for line in self.lines(
            self.world.service_run("why", "IntakeForm", form).stdout)))

    def test_long_life_is_cut_short(self):
        a, _, form, _ = self.conflict_on_a_form()
        for i in range(8):
            a.shell(f"UPDATE IntakeForm SET Complaint = 'v{i}' WHERE Id = '{form}';")
            a.agent_run("run", check=False)

        there = self.lines(self.world.service_run("why", "IntakeForm", form).stdout)

        self.assertIn("earlier versions", there[0])
        self.assertLessEqual(len(there), 11)
        self.assertIn("never seen", self.world.service_run("why", "IntakeForm", "nobody").stdout)


if __name__ == "__main__":
    unittest.main()
