"""Every command of `mem0-cli`: what it prints is checked.

    cli.py URL VERSION
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

URL, VERSION = sys.argv[1:3]
MEM0 = pathlib.Path(sys.executable).parent / "mem0"
AWAY = "I am away until the end of the century"
checked = []


def check(name, holds, got):
    if not holds:
        sys.exit(f"{name}: {got!r}")
    checked.append(name)


def run(*arguments, stdin=""):
    environment = {**os.environ, "MEM0_BASE_URL": URL, "MEM0_API_KEY": "any", "NO_COLOR": "1"}
    return subprocess.run(
        [MEM0, *arguments], input=stdin, env=environment, capture_output=True, text=True, timeout=60
    )


def told(*arguments, stdin=""):
    """What a command prints as JSON."""
    done = run("--json", *arguments, stdin=stdin)
    if done.returncode != 0:
        sys.exit(f"{arguments}: {done.stdout}{done.stderr}")
    try:
        printed = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"{arguments}: {done.stdout!r} {done.stderr!r}")
    return printed.get("data", printed) if isinstance(printed, dict) else printed


def memories(got):
    got = got.get("results", got.get("memories", got)) if isinstance(got, dict) else got
    return [one["memory"] for one in got]


status = told("status")
check("status", status.get("connected") is True, status)
added = told("add", "我对花生过敏", "--user-id", "ann", "--metadata", '{"topic": "food"}')
check("add", "我对花生过敏" in json.dumps(added, ensure_ascii=False), added)
told("add", "--user-id", "ann", "--messages", '[{"role": "user", "content": "I live in Berlin"}]')
told("add", "hi", "--user-id", "ann", "--no-infer")
told("add", AWAY, "--user-id", "ann", "--expires", "2099-12-31")
told("add", "I play the cello", "--user-id", "bob")

found = told("search", "花生", "--user-id", "ann")
check("search", memories(found)[0] == "我对花生过敏", found)
found = told("search", "Berlin", "--user-id", "ann", "--top-k", "1", "--threshold", "0.1")
check("search: top-k", memories(found) == ["I live in Berlin"], found)
found = told("search", "花生", "--user-id", "ann", "--filter", '{"AND": [{"user_id": "ann"}, {"metadata": {"topic": "work"}}]}')
check("search: filter", memories(found) == [], found)
listed = told("list", "--user-id", "ann")
check("list", sorted(memories(listed)) == sorted(["我对花生过敏", "I live in Berlin", "hi", AWAY]), listed)
listed = told("list", "--user-id", "ann", "--page-size", "1", "--page", "2")
check("list: pages", len(memories(listed)) == 1, listed)
listed = told("list", "--user-id", "ann", "--show-expired")
check("list: expired", len(memories(listed)) == 4, listed)
everything = told("list", "--user-id", "ann")
everything = everything.get("results", everything) if isinstance(everything, dict) else everything
ids = {one["memory"]: one["id"] for one in everything}

one = told("get", ids["hi"])
check("get", one["memory"] == "hi", one)
told("update", ids["hi"], "hi there", "--metadata", '{"topic": "talk"}')
one = told("get", ids["hi"])
check("update", one["memory"] == "hi there" and one["metadata"] == {"topic": "talk"}, one)
listed = told("entity", "list", "users")
check("entity list", {"ann", "bob"} <= {one["name"] for one in listed}, listed)
events = told("event", "list")
check("event list", len(events) >= 4, events)
event = told("event", "status", events[0]["id"])
check("event status", event["status"] == "SUCCEEDED", event)

with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder, "memories.json")
    file.write_text(json.dumps([{"memory": "I collect stamps"}, {"memory": "我会滑雪"}]))
    told("import", str(file), "--user-id", "carol")
    listed = told("list", "--user-id", "carol")
    check("import", sorted(memories(listed)) == sorted(["I collect stamps", "我会滑雪"]), listed)

told("delete", ids["hi"], "--force")
missing = run("--json", "get", ids["hi"])
check("delete", missing.returncode != 0 or "not found" in missing.stdout.lower(), missing.stdout)
told("delete", "--all", "--user-id", "ann", "--force")
check("delete --all", memories(told("list", "--user-id", "ann")) == [], "left")
check("delete --all: nobody else's", memories(told("list", "--user-id", "bob")) != [], "gone")
told("delete", "--entity", "--user-id", "bob", "--force")
check("delete --entity", memories(told("list", "--user-id", "bob")) == [], "left")
print(f"mem0-cli {VERSION}: {len(checked)} checks: {', '.join(checked)}")
