"""Applications that people use, by their command lines and bindings."""
import json
import pathlib
import wave

from real_app import PYTHON, RealApp

HERE = pathlib.Path(__file__).resolve().parent


class Buku(RealApp):
    """Bookmarks. Its integer key is renumbered with every deletion: the URL is the key."""
    name = "buku"
    version = ("dpkg-query", "-W", "buku")
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
        self.buku(home, "-u", self.index(home, number), "--title",
                  f"Changed {number} on {home.name}")

    def remove(self, home, number):
        self.buku(home, "-d", self.index(home, number), "--tacit")

    def read(self, home):
        shown = home.rows("SELECT URL, metadata, tags, desc FROM bookmarks ORDER BY URL")
        listed = self.buku(home, "-p", "-f", "10").splitlines()
        return repr((sorted(line.split("\t")[-1] for line in listed), shown))


class GnuCash(RealApp):
    """Accounts. What people see stands in tables with a GUID; slots have integers."""
    name = "gnucash"
    version = ("dpkg-query", "-W", "python3-gnucash")
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
        self.gnucash(home, "rename", f"meal {number}", f"dinner {number} of {home.name}")

    def remove(self, home, number):
        self.gnucash(home, "remove", f"meal {number}")

    def read(self, home):
        return self.gnucash(home, "list")


class Newsboat(RealApp):
    """Feeds. The list of feeds has its URL as key; its items have integers."""
    name = "newsboat"
    version = ("newsboat", "--version")
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
        self.feed(home, number, f"Changed {number} on {home.name}")

    def read(self, home):
        return repr(home.rows("SELECT rssurl, title FROM rss_feed ORDER BY 1"))


def entity(table, key="", extra=""):
    lines = [f'[[entity]]\ntable = "{table}"']
    if key:
        lines.append(f'key = "{key}"')
    return "\n".join(lines + ([extra] if extra else [])) + "\n"


def refers(**columns):
    return "references = { " + ", ".join(f'{c} = "{t}"' for c, t in columns.items()) + " }"


class Calibre(RealApp):
    """Books. Their uuid is made UNIQUE by hand; everything else has a key of its own
    beside its integer, names of which calibre ignores the case."""
    name = "calibre"
    version = ("calibredb", "--version")
    programs = ("calibredb",)
    path = "library/metadata.db"
    prepare = "CREATE UNIQUE INDEX books_uuid ON books(uuid);"
    names = ("authors", "publishers", "series", "tags")
    entities = (
        entity("books", "uuid") + "".join(entity(table, "name") for table in names) +
        entity("languages", "lang_code") +
        entity("ratings", "rating", 'integer_key = "one_side"') +
        entity("books_authors_link", "book, author", refers(book="books", author="authors")) +
        entity("books_languages_link", "book, lang_code",
               refers(book="books", lang_code="languages")) +
        entity("books_publishers_link", "book", refers(book="books", publisher="publishers")) +
        entity("books_ratings_link", "book, rating", refers(book="books", rating="ratings")) +
        entity("books_series_link", "book", refers(book="books", series="series")) +
        entity("books_tags_link", "book, tag", refers(book="books", tag="tags")) +
        entity("comments", "book", refers(book="books")) +
        entity("identifiers", "book, type", refers(book="books")) +
        entity("data", "book, format", refers(book="books")))
    tables = ()

    def calibredb(self, home, verb, *args):
        return home.call("calibredb", verb, *args, "--with-library", home.home / "library")

    def make(self, home):
        self.write(home, 0)

    def write(self, home, number):
        self.calibredb(home, "add", "--empty", "--title", f"The Title {number}", "--authors",
                       f"Author {number} & Shared Author", "--tags", f"tag {number},both",
                       "--series", "A Series", "--series-index", str(number), "--identifier",
                       f"num:{number}", "--languages", "eng")
        self.calibredb(home, "set_metadata", self.number(home, number), "--field",
                       f"rating:{2 + number % 4}", "--field", f"comments:Of {number}",
                       "--field", f"publisher:Publisher {number}")

    def number(self, home, number):
        return self.calibredb(home, "search", f"identifiers:num:={number}")

    def change(self, home, number):
        self.calibredb(home, "set_metadata", self.number(home, number),
                       "--field", f"title:A Change of {home.name}",
                       "--field", f"authors:Author {number} & SHARED author",
                       "--field", f"tags:Both,of {home.name}",
                       "--field", f"comments:Changed on {home.name}")

    def remove(self, home, number):
        self.calibredb(home, "remove", self.number(home, number), "--permanent")

    def read(self, home):
        fields = ("uuid,title,authors,author_sort,publisher,rating,tags,series,series_index,"
                  "comments,identifiers,languages,timestamp,pubdate")
        books = json.loads(self.calibredb(home, "list", "--for-machine", "--fields", fields))
        for book in books:
            del book["id"]
            book["tags"] = sorted(book["tags"])
        return json.dumps(sorted(books, key=lambda book: book["uuid"]), indent=1)

    def own_check(self, home):
        return self.calibredb(home, "check_library")


class Beets(RealApp):
    """Music. A track is known by its file; albums get a column that names them."""
    name = "beets"
    version = ("beet", "--version")
    programs = ("beet",)
    modules = ("mediafile",)
    path = "beets/library.db"
    prepare = ("CREATE UNIQUE INDEX items_path ON items(path);"
               "ALTER TABLE albums ADD COLUMN sync_id TEXT;"
               "UPDATE albums SET sync_id = lower(hex(randomblob(16)));"
               "CREATE UNIQUE INDEX albums_sync_id ON albums(sync_id);"
               "CREATE TRIGGER albums_sync_id AFTER INSERT ON albums WHEN NEW.sync_id IS NULL "
               "BEGIN UPDATE albums SET sync_id = lower(hex(randomblob(16))) "
               "WHERE id = NEW.id; END;")
    entities = (entity("items", "path", refers(album_id="albums")) + entity("albums", "sync_id") +
                entity("item_attributes", "entity_id, key", refers(entity_id="items")) +
                entity("album_attributes", "entity_id, key", refers(entity_id="albums")))
    tables = ()

    def beet(self, home, *args):
        return home.call("beet", *args, env={"BEETSDIR": str(home.home / "beets")})

    def make(self, home):
        folder = home.home / "beets"
        folder.mkdir()
        self.write(home, 0)

    def write(self, home, number):
        # One music folder for all devices, at one path.
        music = home.world.root / "music"
        (home.home / "beets" / "config.yaml").write_text(
            f"directory: {music}\nlibrary: {home.db}\nimport:\n  copy: no\n  write: no\n")
        folder = music / f"album{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for track in (1, 2):
            self.record(folder / f"{track}.wav", number, track)
        self.beet(home, "import", "-A", "-q", folder)
        self.beet(home, "modify", "-y", "-W", "-M", f"path:{folder}", f"mood={number}",
                  f"num={number}")
        self.beet(home, "modify", "-y", "-a", f"album:Album {number}", "shelf=left")

    @staticmethod
    def record(path, number, track):
        """A moment of silence, with tags."""
        from mediafile import MediaFile
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(8000)
            out.writeframes(b"\0\0" * 800)
        tags = MediaFile(str(path))
        tags.album, tags.albumartist = f"Album {number}", f"Artist {number}"
        tags.title, tags.artist = f"Title {number}.{track}", f"Artist {number}"
        tags.save()

    def change(self, home, number):
        self.beet(home, "modify", "-y", "-W", "-M", f"num:{number}",
                  f"title=Changed on {home.name}", f"mood=of {home.name}", "year=1999")

    def remove(self, home, number):
        self.beet(home, "remove", "-f", "-a", f"album:Album {number}")

    def read(self, home):
        items = self.beet(home, "ls", "-f", "$path|$title|$album|$mood|$year|$shelf|$length")
        albums = self.beet(home, "ls", "-a", "-f", "$album|$shelf|$year")
        return "\n".join(sorted(items.splitlines())) + "\n" + "\n".join(sorted(
            albums.splitlines()))


class Refused(RealApp):
    """Its main tables have integer keys and nothing else that could be one."""


class Fossil(Refused):
    name = "fossil"
    version = ("fossil", "version")
    programs = ("fossil",)
    path = "repository.fossil"

    def make(self, home):
        home.call("fossil", "init", home.db, "--admin-user", "somebody")
