"""What the bench makes of its rounds: what misses its goal must show, whatever is beside it."""
import json
import unittest

from report import Figure, GROUPS, KEYS, cells, parts_of, results_of, shares, table


def all_parts(**more):
    """A round in which every part of every group was measured, and met its goal."""
    rounds = {}
    for name, key in KEYS.items():
        goal = 1.0 if key.goal is None else key.goal
        rounds[name] = [Figure(goal, None if key.absolute else 1.0, plain=goal / 0.33)]
    rounds.update(more)
    return rounds


class ReportTest(unittest.TestCase):
    def test_every_group_stands_under_its_own_name(self):
        results = results_of(all_parts())

        for group in ("push", "push_depth", "pull", "snapshot", "live", "capture", "app_latency",
                      "wire", "link", "idle", "fanout", "many"):
            for field in ("ours", "floor", "ratio", "goal", "met", "unit", "rounds"):
                self.assertIn(field, results[group])
            self.assertIs(results[group]["met"], True, group)
        json.dumps(results, allow_nan=False)

    def test_each_key_belongs_to_one_group(self):
        owners = [name for group in GROUPS for name in parts_of(group)]

        self.assertEqual(sorted(owners), sorted(KEYS))

    def test_group_is_its_worst_part(self):
        results = results_of(all_parts(live_p50=[Figure(1.5, 1.0)], live_p99=[Figure(3.0, 1.0)]))

        self.assertEqual(results["live"]["worst"], "live_p99")
        self.assertEqual(results["live"]["ratio"], 3.0)
        self.assertFalse(results["live"]["met"])

    def test_part_that_misses_is_not_hidden_by_those_that_meet(self):
        results = results_of(all_parts(app_latency_busy=[Figure(1, 0)]))

        self.assertEqual(results["app_latency"]["worst"], "app_latency_busy")
        self.assertFalse(results["app_latency"]["met"])
        self.assertIn("NO", cells("app_latency", results["app_latency"]))

    def test_part_without_a_goal_is_never_the_worst(self):
        results = results_of(all_parts(app_latency_p50=[Figure(1000.0, 1.0)]))

        self.assertTrue(results["app_latency"]["met"])
        self.assertNotEqual(results["app_latency"]["worst"], "app_latency_p50")

    def test_ratio_is_the_median_of_the_rounds_own(self):
        rounds = [Figure(10.0, 10.0), Figure(100.0, 50.0), Figure(30.0, 10.0)]

        result = results_of({"pull": rounds})["pull"]

        self.assertEqual((result["ratioMin"], result["ratio"], result["ratioMax"]), (1.0, 2.0, 3.0))
        self.assertEqual(len(result["rounds"]), 3)

    def test_goals_bind_in_their_direction(self):
        self.assertFalse(results_of({"push": [Figure(79.0, 100.0)]})["push"]["met"])
        self.assertTrue(results_of({"push": [Figure(81.0, 100.0)]})["push"]["met"])
        self.assertTrue(results_of({"fanout": [Figure(19.0, 1.0)]})["fanout"]["met"])
        self.assertFalse(results_of({"fanout": [Figure(21.0, 1.0)]})["fanout"]["met"])

    def test_goal_with_a_unit_is_that_of_ours(self):
        rounds = {name: [Figure(value, 1.0)] for name, value in (
            ("wire_push", 241), ("wire_pull", 239))}

        results = results_of(rounds)

        self.assertFalse(results["wire_push"]["met"])
        self.assertTrue(results["wire_pull"]["met"])
        self.assertEqual(results["wire"]["worst"], "wire_push")

    def test_floor_that_is_none_is_told(self):
        near, far = (results_of({"push": [Figure(50.0, floor, plain=100.0)]})
                     for floor in (30.0, 60.0))

        self.assertNotIn("NOT", shares(near)[0])
        self.assertIn("NOT WITHIN", shares(far)[0])
        self.assertFalse(far["push"]["floorOfPlainFits"])

    def test_table_shows_every_key(self):
        text = table(results_of(all_parts()))

        for name in (*KEYS, *GROUPS):
            self.assertIn(name, text)


if __name__ == "__main__":
    unittest.main()
