"""Browsers as applications: their own bookmarks and history, written by themselves."""
import json

from browsers import ChromiumRun, FirefoxRun, Pages
from desktop_apps import entity, refers
from real_app import RealApp, check, wait_until


def list_of(texts):
    return "[" + ", ".join(json.dumps(text) for text in texts) + "]"


class Firefox(RealApp):
    """Bookmarks with tags and keywords, and history. What Firefox derives in triggers of
    its own connection is computed after versions of others were applied."""
    name = "firefox"
    version = ("firefox-esr", "--version")
    programs = ("firefox-esr",)
    path = "profile/places.sqlite"
    prepare = ("CREATE UNIQUE INDEX moz_places_url ON moz_places(url);"
               "ALTER TABLE moz_historyvisits ADD COLUMN sync_id TEXT;"
               "UPDATE moz_historyvisits SET sync_id = lower(hex(randomblob(16)));"
               "CREATE UNIQUE INDEX moz_historyvisits_sync_id ON moz_historyvisits(sync_id);"
               "CREATE TRIGGER moz_historyvisits_sync_id AFTER INSERT ON moz_historyvisits "
               "WHEN NEW.sync_id IS NULL BEGIN UPDATE moz_historyvisits SET sync_id = "
               "lower(hex(randomblob(16))) WHERE rowid = NEW.rowid; END;")
    uses = ("(SELECT count(*) FROM moz_bookmarks WHERE fk = moz_places.id) + "
            "(SELECT count(*) FROM moz_keywords WHERE place_id = moz_places.id)")
    visits = "(SELECT {} FROM moz_historyvisits WHERE place_id = moz_places.id{})"
    last = visits.format("max(visit_date)", "")
    count = visits.format("count(*)", " AND visit_type NOT IN (0, 4, 7, 8, 9)")
    prefix = "substr(url, 1, instr(url, '//') + 1)"
    rest = "substr(url, instr(url, '//') + 2)"
    host = f"substr({rest}, 1, instr({rest} || '/', '/') - 1)"
    derived = (
        f"UPDATE moz_places SET foreign_count = {uses} WHERE foreign_count <> {uses}",
        f"UPDATE moz_places SET last_visit_date = {last}, visit_count = {count}, "
        f"recalc_frecency = 1 WHERE last_visit_date IS NOT {last} OR visit_count <> {count}",
        "INSERT OR IGNORE INTO moz_origins(prefix, host, frecency, recalc_frecency) "
        f"SELECT DISTINCT {prefix}, {host}, 1, 1 FROM moz_places "
        "WHERE origin_id IS NULL AND instr(url, '://') > 0",
        f"UPDATE moz_places SET origin_id = (SELECT id FROM moz_origins WHERE prefix = {prefix} "
        f"AND host = {host}) WHERE origin_id IS NULL AND instr(url, '://') > 0")
    after = f"after_apply = {list_of(derived)}"
    entities = (
        entity("moz_places", "url", 'exclude_columns = ["visit_count", "frecency", '
               '"last_visit_date", "foreign_count", "origin_id", "recalc_frecency", '
               f'"alt_frecency", "recalc_alt_frecency"]\n{after}') +
        entity("moz_bookmarks", "guid", 'exclude_columns = ["syncStatus", "syncChangeCounter"]\n'
               f'{refers(fk="moz_places", parent="moz_bookmarks")}\n{after}') +
        entity("moz_historyvisits", "sync_id", refers(
            place_id="moz_places", from_visit="moz_historyvisits",
            triggeringPlaceId="moz_places") + f"\n{after}") +
        entity("moz_keywords", "keyword", f'{refers(place_id="moz_places")}\n{after}') +
        entity("moz_inputhistory", "place_id, input", refers(place_id="moz_places")))

    def url(self, number):
        return f"http://127.0.0.1:9/{number}"  # Nobody answers.

    def make(self, home):
        self.write(home, 0)

    def write(self, home, number):
        with FirefoxRun(home) as firefox:
            firefox.script("""
                const [url, number, folder] = args;
                await PlacesUtils.bookmarks.insert({
                    parentGuid: PlacesUtils.bookmarks[folder], url, title: `Title ${number}`});
                PlacesUtils.tagging.tagURI(Services.io.newURI(url), [`tag ${number}`]);
                await PlacesUtils.keywords.insert({url, keyword: `key${number}`});
                await PlacesUtils.history.insert({url, title: `Page ${number}`,
                    visits: [{date: new Date(2026, 1, 1, 0, number)}, {date: new Date()}]});""",
                self.url(number), number, {"a": "toolbarGuid"}.get(home.name, "unfiledGuid"))

    def change(self, home, number):
        with FirefoxRun(home) as firefox:
            firefox.script("""
                const [url, title] = args;
                const bookmark = await PlacesUtils.bookmarks.fetch({url});
                await PlacesUtils.bookmarks.update({guid: bookmark.guid, title});
                await PlacesUtils.history.insert({url, title, visits: [{date: new Date()}]});""",
                self.url(number), f"Changed {number} on {home.name}")

    def remove(self, home, number):
        with FirefoxRun(home) as firefox:
            firefox.script("""
                const bookmark = await PlacesUtils.bookmarks.fetch({url: args[0]});
                await PlacesUtils.bookmarks.remove(bookmark.guid);
                await PlacesUtils.keywords.remove(`key${args[1]}`);
                await PlacesUtils.history.remove(args[0]);""", self.url(number), number)

    def read(self, home):
        with FirefoxRun(home) as firefox:
            return firefox.script("""
                const tree = await PlacesUtils.promiseBookmarksTree("", {includeItemIds: false});
                const shown = node => ({title: node.title, uri: node.uri, tags: node.tags,
                    keyword: node.keyword, guid: node.guid, children:
                    (node.children || []).map(shown)});
                const rows = await (await PlacesUtils.promiseDBConnection()).execute(
                    `SELECT url, p.title, visit_count, last_visit_date, foreign_count, host,
                            (SELECT count(*) FROM moz_historyvisits WHERE place_id = p.id) visits
                     FROM moz_places p LEFT JOIN moz_origins o ON o.id = origin_id
                     ORDER BY url`);
                const names = ["url", "title", "visit_count", "last_visit_date", "foreign_count",
                               "host", "visits"];
                return JSON.stringify([shown(tree), rows.map(row =>
                    names.map(name => row.getResultByName(name)))], null, 1);""")

    def own_check(self, home):
        with FirefoxRun(home) as firefox:
            wrong = firefox.script("""
                const {PlacesDBUtils} = ChromeUtils.importESModule(
                    "resource://gre/modules/PlacesDBUtils.sys.mjs");
                await PlacesDBUtils.checkIntegrity();
                const rows = await (await PlacesUtils.promiseDBConnection()).execute(
                    `SELECT count(*) n FROM moz_places p WHERE foreign_count <>
                       (SELECT count(*) FROM moz_bookmarks WHERE fk = p.id) +
                       (SELECT count(*) FROM moz_keywords WHERE place_id = p.id)`);
                return rows[0].getResultByName("n");""")
        check(wrong == 0, f"{wrong} pages with another foreign_count")

    def sync(self, *homes, codes=(0,)):
        """A folder holds the time of its last change: two that add to it archive one of them."""
        super().sync(*homes, codes=(0, 3))

    def story(self, a, b):
        self.blocked(a)
        super().story(a, b)

    def blocked(self, home):
        """While Firefox runs nobody else gets at its file; what it wrote is sent afterwards."""
        with FirefoxRun(home) as firefox:
            firefox.script("await PlacesUtils.history.insert({url: 'http://127.0.0.1:9/held', "
                           "visits: [{date: new Date()}]});")
            done = home.agent_run("run", check=False)
            check("BLOCKED_BY_APP" in done.stderr, done.stdout + done.stderr)
            home.start()
            wait_until("the agent waits for Firefox", lambda: "the app holds its file" in
                       home.agent_run("status", check=False).stdout)
        wait_until("it has the file", lambda: home.ledger(
            "SELECT 1 FROM SyncQueueItems WHERE EntityId LIKE '%/held' AND Status = 2"))
        home.agent.stop()


class Chromium(RealApp):
    """History. Its connection has triggers off: what it wrote is found by comparing."""
    name = "chromium"
    version = ("chromium", "--version")
    programs = ("chromium",)
    path = "profile/Default/History"
    prepare = ("CREATE UNIQUE INDEX urls_url ON urls(url);"
               "CREATE UNIQUE INDEX visits_once ON visits(url, visit_time, transition);")
    entities = (entity("urls", "url") +
                entity("visits", "url, visit_time, transition",
                       'exclude_columns = ["segment_id", "visited_link_id"]\n' +
                       refers(url="urls", from_visit="visits", opener_visit="visits")))
    tables = ()

    def replay(self, binaries):
        self.pages = Pages()
        try:
            return super().replay(binaries)
        finally:
            self.pages.close()

    def story(self, a, b):
        self.caught(a, b)
        super().story(a, b)

    def caught(self, *homes):
        """A commit that no trigger announced is looked into within a minute, once; from then
        on each run compares."""
        for home in homes:
            slow = home.config.read_text()
            home.config.write_text(slow.replace('interval = "1h"', 'interval = "2s"'))
            home.start()
        for home in homes:
            self.visit(home, f"first-{home.name}", "Silent")
        for home in homes:
            wait_until("what Chromium wrote is found", lambda: home.ledger(
                "SELECT 1 FROM SyncMeta WHERE Name = 'scan_found' AND CAST(Value AS TEXT) = '1'"),
                deadline_s=180)
            home.agent.stop()
        self.sync(*homes)

    def visit(self, home, number, title):
        self.pages.titles[f"/{number}"] = title
        with ChromiumRun(home) as chromium:
            chromium.visit(f"{self.pages.address}/{number}")

    def make(self, home):
        self.write(home, 0)

    def write(self, home, number):
        self.visit(home, number, f"Page {number}")

    def change(self, home, number):
        self.visit(home, number, f"Page {number}, changed on {home.name}")

    def ask(self, home, body):
        """Calls what the history page of Chromium itself calls."""
        with ChromiumRun(home) as chromium:
            chromium.visit("chrome://history")
            return chromium.evaluate(
                "import('chrome://history/history.js').then(async module => {"
                "const {handler} = module.BrowserProxyImpl.getInstance();"
                f"const {{results}} = await handler.queryHistory('', 1000, null, true, true);{body}}})")

    def remove(self, home, number):
        url = json.dumps(f"{self.pages.address}/{number}")
        self.ask(home, f"await handler.removeVisits(results.value.filter(one => one.url == {url})"
                       ".map(one => ({url: one.url, timestamps: one.allTimestamps[one.url]})));")

    def read(self, home):
        return self.ask(home, "return JSON.stringify(results.value.map(one => "
                              "[one.url, one.title, one.allTimestamps]), null, 1)")
