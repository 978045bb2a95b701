"""Holds the arrows of docs/ARCHITECTURE.md against every #include."""
import pathlib
import re
import sys
import tempfile

# What each folder may include of ours; itself is always allowed.
ALLOWED = {
    "common/base": set(),
    "common/model": {"common/base"},
    "common/merge": {"common/base", "common/model"},
    "common/sqlite": {"common/base", "common/model"},
    "common/cli": {"common/base", "common/model"},
    "common/wire": {"common/base", "common/model"},
    "common/rpc": {"common/base", "common/model", "common/wire"},
    "sync-service/store": {"common/base", "common/model", "common/sqlite"},
    "sync-service/engine": {"common/base", "common/model", "common/merge", "sync-service/store"},
    "sync-service/auth": {"common/base", "common/model", "sync-service/store",
                          "sync-service/engine"},
    "sync-service/feed": {"common/base", "common/model"},
    "device-agent/capture": {"common/base", "common/model", "common/sqlite"},
    "device-agent/ledger": {"common/base", "common/model", "common/sqlite"},
    "device-agent/session": {"common/base", "common/model", "common/merge"},
    "device-agent/replica": {"common/base", "common/model", "common/sqlite",
                             "device-agent/capture", "device-agent/ledger",
                             "device-agent/session"},
    "device-agent/loop": {"common/base", "common/model", "device-agent/session",
                          "device-agent/replica", "device-agent/ledger", "device-agent/capture"},
}
# Folders that may include anything of their own program and of common.
OPEN = {
    "sync-service/rpc": ("common/", "sync-service/"),
    "sync-service/cli": ("common/", "sync-service/"),
    "sync-service": ("common/", "sync-service/"),
    "device-agent/rpc": ("common/", "device-agent/"),
    "device-agent/cli": ("common/", "device-agent/"),
    "device-agent": ("common/", "device-agent/"),
}
# Headers of libraries, and the only folders that may include them.
LIBRARIES = [
    (r"<sqlite3\.h>", r"^common/sqlite$"),
    (r"[<\"]spdlog/", r"^common/base$"),
    (r"[<\"]grpc(pp)?/", r"/(rpc|cli)$"),
    (r"\.grpc\.pb\.h", r"/(rpc|cli)$"),
    (r"\.pb\.h|<google/protobuf", r"^common/wire$|/(rpc|cli)$"),
    (r"<toml\+\+|\"toml", r"^common/rpc$|/cli$"),
    (r"CLI/", r"^common/rpc$|/cli$"),
    (r"absl/synchronization/mutex\.h", r"^$"),
]
# No engine code may look at the machine by itself.
FORBIDDEN_IN_PURE = [r"absl::Now\(\)", r"system_clock", r"steady_clock", r"\bsleep", r"std::thread",
                     r"\brand\("]
PURE = {"common/merge", "common/model", "sync-service/engine", "device-agent/session"}


def folder_of(path):
    return str(path.parent)


def check_file(root, path):
    problems = []
    folder = folder_of(path)
    text = (root / path).read_text()
    for line in text.splitlines():
        match = re.match(r'\s*#include\s+([<"][^>"]+[>"])', line)
        if not match:
            continue
        include = match.group(1)
        for pattern, where in LIBRARIES:
            if re.search(pattern, include) and not re.search(where, folder):
                problems.append(f"{path}: {include} is not allowed in {folder}")
        ours = include.strip('<>"')
        if not ours.startswith(("common/", "sync-service/", "device-agent/", "tests/")):
            continue
        target = str(pathlib.PurePosixPath(ours).parent)
        if target == folder:
            continue
        if folder in ALLOWED and target not in ALLOWED[folder]:
            problems.append(f"{path}: {folder} may not include {target}")
        elif folder in OPEN and not ours.startswith(OPEN[folder]):
            problems.append(f"{path}: {folder} may not include {target}")
    if folder in PURE:
        for pattern in FORBIDDEN_IN_PURE:
            if re.search(pattern, text):
                problems.append(f"{path}: {pattern} has no place in {folder}")
    return problems


def check_tree(root):
    problems = []
    for top in ("common", "sync-service", "device-agent"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".h", ".cc"):
                relative = path.relative_to(root)
                if folder_of(relative) not in ALLOWED and folder_of(relative) not in OPEN:
                    problems.append(f"{relative}: {folder_of(relative)} has no rule in this test")
                problems += check_file(root, relative)
    return problems


def self_test():
    """The check itself must be able to fail."""
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        bad = root / "common/merge/bad.cc"
        bad.parent.mkdir(parents=True)
        bad.write_text('#include <sqlite3.h>\n#include "sync-service/store/store.h"\n'
                       "int x = rand();\n")
        assert len(check_file(root, pathlib.PurePosixPath("common/merge/bad.cc"))) == 3


def main():
    self_test()
    problems = check_tree(pathlib.Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
