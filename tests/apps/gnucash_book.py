"""GnuCash by its own Python bindings: a book in a SQLite file.

  python3 gnucash_book.py FILE new | spend TEXT CENTS | rename OLD NEW | remove TEXT | list
"""
import sys

import gnucash
from gnucash import Account, GncNumeric, Session, SessionOpenMode, Split, Transaction


def account(root, name):
    return next(child for child in root.get_children() if child.GetName() == name)


def transactions(root):
    return {split.GetParent().GetDescription(): split.GetParent()
            for child in root.get_children() for split in child.GetSplitList()}


def new(book, root):
    dollar = book.get_table().lookup("CURRENCY", "USD")
    for name, kind in (("Cash", gnucash.ACCT_TYPE_CASH), ("Food", gnucash.ACCT_TYPE_EXPENSE)):
        made = Account(book)
        made.BeginEdit()
        root.append_child(made)
        made.SetName(name)
        made.SetType(kind)
        made.SetCommodity(dollar)
        made.CommitEdit()


def spend(book, root, text, cents):
    made = Transaction(book)
    made.BeginEdit()
    made.SetCurrency(book.get_table().lookup("CURRENCY", "USD"))
    made.SetDescription(text)
    made.SetDate(1, 2, 2026)
    for name, sign in (("Cash", -1), ("Food", 1)):
        split = Split(book)
        split.SetParent(made)
        split.SetAccount(account(root, name))
        split.SetValue(GncNumeric(sign * int(cents), 100))
        split.SetAmount(GncNumeric(sign * int(cents), 100))
    made.CommitEdit()


def main():
    path, verb, args = sys.argv[1], sys.argv[2], sys.argv[3:]
    if verb == "new":
        empty = Session(f"sqlite3://{path}", SessionOpenMode.SESSION_NEW_STORE)
        empty.save()
        empty.end()
    # In a database each edit is committed by itself: there is nothing to save.
    session = Session(f"sqlite3://{path}", SessionOpenMode.SESSION_NORMAL_OPEN)
    try:
        book = session.book
        root = book.get_root_account()
        if verb == "new":
            new(book, root)
        elif verb == "spend":
            spend(book, root, *args)
        elif verb == "rename":
            found = transactions(root)[args[0]]
            found.BeginEdit()
            found.SetDescription(args[1])
            found.CommitEdit()
        elif verb == "remove":
            found = transactions(root)[args[0]]
            found.BeginEdit()
            found.Destroy()
            found.CommitEdit()
        elif verb == "list":
            for child in sorted(root.get_children(), key=lambda each: each.GetName()):
                balance = child.GetBalance()
                print(child.GetName(), f"{balance.num()}/{balance.denom()}")
            print(sorted(transactions(root)))
    finally:
        session.end()


if __name__ == "__main__":
    main()
