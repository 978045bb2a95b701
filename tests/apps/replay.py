"""Real applications, two-way between two devices, each written to by its own verbs.

  python3 tests/apps/replay.py [--bin build/bin] [NAME ...]

What is not installed is skipped, and said. docs/APPS.md has the table that this
prints, and how to install each.
"""
import argparse
import sys
import time
import traceback

from orm_apps import ActiveRecord, Alembic, Django, DjangoIds, Eloquent, TypeOrm, TypeOrmMigrations
from desktop_apps import Beets, Buku, Calibre, Fossil, GnuCash, Newsboat
from browser_apps import Chromium, Firefox
from real_app import Missing

APPS = [Buku(), GnuCash(), Newsboat(), Calibre(), Beets(), Django(), DjangoIds(), Alembic(),
        ActiveRecord(), Eloquent(), TypeOrm(), TypeOrmMigrations(), Firefox(), Chromium(), Fossil()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="build/bin")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    failed = 0
    for app in APPS:
        if args.names and app.name not in args.names:
            continue
        begin = time.monotonic()
        try:
            verdict, sentence = app.replay(args.bin)
        except Missing as missing:
            verdict, sentence = "SKIPPED", f"not installed: {missing}"
        except Exception as error:  # One that fails must not hide the others.
            traceback.print_exc()
            failed += 1
            verdict, sentence = "FAILED", str(error)[:300]
        if verdict == "two-way":
            rows = getattr(app, "compared", {})
            sentence = (f"{sum(rows.values())} rows of {len(rows)} tables compared; "
                        f"{app.shown_version()}; {sentence}")
        print(f"{app.name:12} {verdict:9} {time.monotonic() - begin:5.1f} s  {sentence}",
              flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
