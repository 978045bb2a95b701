"""Applications that people use, by their command lines and bindings."""
import pathlib

from real_app import PYTHON, RealApp

HERE = pathlib.Path(__file__).resolve().parent


class Buku(RealApp):
    """Bookmarks. Its integer key is renumbered with every deletion: the URL is the key."""
    name = "buku"
    programs = ("buku",)
    path = ".local/share/buku/bookmarks.db"
    entities = '[[entity]]\ntable = "bookmarks"\nkey = "URL"\n'
    tables = ()

    def buku(self, home, *args, stdin=""):
        return home.call("buku", "--nostdin", "--nc", *args, stdin=stdin)

    def url(self, number):
        return f"http://127.0.0.1:9/{number}"  # Nobody answers: no title is fetched.

    def make(self, home):
        self.buku(home, "-a", self.url(0), "tag", "--title", "Zero")

    def write(self, home, number):
        self.buku(home, "-a", self.url(number), f"tag{number}", "--title", f"Title {number}")

    def index(self, home, number):
        return str(home.rows("SELECT id FROM bookmarks WHERE URL = ?", self.url(number))[0][0])

    def change(self, home, number):
        self.buku(home, "-u", self.index(home, number), "--title", f"Changed {number}")

    def remove(self, home, number):
        self.buku(home, "-d", self.index(home, number), "--tacit")

    def read(self, home):
        shown = home.rows("SELECT URL, metadata, tags, desc FROM bookmarks ORDER BY URL")
        listed = self.buku(home, "-p", "-f", "10").splitlines()
        return repr((sorted(line.split("\t")[-1] for line in listed), shown))


class GnuCash(RealApp):
    """Accounts. What people see stands in tables with a GUID; slots have integers."""
    name = "gnucash"
    modules = ("gnucash",)
    path = "book.gnucash"
    tables = ("books", "commodities", "accounts", "transactions", "splits", "prices", "lots",
              "customers", "vendors", "invoices", "entries", "schedxactions")
    entities = "".join(f'[[entity]]\ntable = "{table}"\n' for table in tables)

    def gnucash(self, home, *args):
        return home.call(PYTHON, HERE / "gnucash_book.py", home.db, *args)

    def make(self, home):
        self.gnucash(home, "new")

    def write(self, home, number):
        self.gnucash(home, "spend", f"meal {number}", str(100 + number))

    def change(self, home, number):
        self.gnucash(home, "rename", f"meal {number}", f"dinner {number}")

    def remove(self, home, number):
        self.gnucash(home, "remove", f"meal {number}")

    def read(self, home):
        return self.gnucash(home, "list")


class Newsboat(RealApp):
    """Feeds. The list of feeds has its URL as key; its items have integers."""
    name = "newsboat"
    programs = ("newsboat",)
    path = ".newsboat/cache.db"
    entities = '[[entity]]\ntable = "rss_feed"\n'
    tables = ("rss_feed",)

    def feed(self, home, number, title):
        folder = home.home / ".newsboat"
        folder.mkdir(exist_ok=True)
        feed = home.home / f"feed{number}.xml"
        feed.write_text(f'<?xml version="1.0"?><rss version="2.0"><channel><title>{title}</title>'
                        f"<link>http://127.0.0.1/</link><description>d</description><item><title>i"
                        f"</title><guid>g{number}</guid></item></channel></rss>")
        urls = folder / "urls"
        # One path on both devices, as one address is.
        line = f'"exec:cat $HOME/feed{number}.xml"\n'
        if not urls.exists() or line not in urls.read_text():
            with open(urls, "a") as out:
                out.write(line)
        home.call("newsboat", "-x", "reload", check=False)

    def make(self, home):
        self.feed(home, 0, "Zero")

    def write(self, home, number):
        self.feed(home, number, f"Feed {number}")

    def change(self, home, number):
        self.feed(home, number, f"Changed {number}")

    def read(self, home):
        return repr(home.rows("SELECT rssurl, title FROM rss_feed ORDER BY 1"))


class Refused(RealApp):
    """Its main tables have integer keys and nothing else that could be one."""


class Calibre(Refused):
    name = "calibre"
    programs = ("calibredb",)
    path = "library/metadata.db"

    def make(self, home):
        home.call("calibredb", "--with-library", home.home / "library", "add", "--empty",
                  "--title", "One", "--authors", "Somebody")


class Beets(Refused):
    name = "beets"
    programs = ("beet",)
    path = "beets/library.db"

    def make(self, home):
        folder = home.home / "beets"
        folder.mkdir()
        (folder / "config.yaml").write_text(
            f"directory: {home.home}/music\nlibrary: {folder}/library.db\n")
        home.call("beet", "ls", env={"BEETSDIR": str(folder)})


class Fossil(Refused):
    name = "fossil"
    programs = ("fossil",)
    path = "repository.fossil"

    def make(self, home):
        home.call("fossil", "init", home.db, "--admin-user", "somebody")
