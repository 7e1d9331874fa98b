"""Every call of Mem0's Python client against a running server: client.py URL VERSION.

Prints what was checked; ends with an error at the first answer that is not right.
"""

import asyncio
import logging
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

from mem0 import AsyncMemoryClient, MemoryClient  # noqa: E402

URL, VERSION = sys.argv[1:3]
GENERATION = int(VERSION.split(".")[0])
checked = []


def check(name, right, got):
    if not right:
        sys.exit(f"{name}: {got!r}")
    checked.append(name)


def refused(name, sentence, call):
    """The call must raise the client's own error, with our sentence."""
    try:
        got = call()
    except TypeError:
        # A slip in the client itself, before anything is sent.
        checked.append(f"{name} (the client cannot)")
        return
    except Exception as error:  # noqa: BLE001
        check(name, sentence in str(error), error)
        return
    sys.exit(f"{name}: not refused: {got!r}")


def results(got):
    return got["results"] if isinstance(got, dict) else got


def texts(got):
    return [one["memory"] for one in results(got)]


client = MemoryClient(api_key="any", host=URL)
check("construction", client.org_id and client.project_id, vars(client))


def find(query, **who):
    if GENERATION == 0:
        return client.search(query, **who)
    return client.search(query, filters=who)


def everything(**who):
    return client.get_all(**who) if GENERATION == 0 else client.get_all(filters=who)


# Adding.
talk = [
    {"role": "user", "content": "I am allergic to peanuts"},
    {"role": "assistant", "content": "I will keep that in mind"},
]
got = client.add(talk, user_id="ann", metadata={"topic": "food", "user_id": "eve"})
check("add a talk", [one["event"] for one in got["results"]] == ["ADD"], got)
if GENERATION == 2:
    check("add: event", got["status"] == "SUCCEEDED" and got["event_id"], got)
got = client.add("我喜欢喝茶，住在杭州", user_id="ann")
check("add a text", len(got["results"]) == 1, got)
got = client.add({"role": "user", "content": "hi"}, user_id="ann", infer=False)
check("add word for word", len(got["results"]) == 1, got)
got = client.add("I run every Monday", user_id="ann", agent_id="coach", run_id="r1")
check("add for an agent", len(got["results"]) == 1, got)
client.add("The chef likes basil", agent_id="chef")
client.add("old news of the day", user_id="ann", expiration_date="2001-01-01")
refused("add without an id", "identifier", lambda: client.add("I like tea a lot"))

# Finding.
got = find("peanuts", user_id="ann")
check("search", texts(got)[0] == "I am allergic to peanuts", got)
first = results(got)[0]
check("search: score", 0 < first["score"] <= 1, first)
check("search: metadata", first["metadata"] == {"topic": "food"}, first)
check("search: whose", first["user_id"] == "ann", first)
check("search in Chinese", texts(find("喝茶", user_id="ann")) == ["我喜欢喝茶，住在杭州"], got)
check("search: nobody else's", texts(find("peanuts", user_id="bob")) == [], got)
check("search of an agent", texts(find("basil", agent_id="chef")) == ["The chef likes basil"], got)
nested = {"AND": [{"user_id": "ann"}, {"OR": [{"run_id": "r1"}, {"metadata": {"topic": "food"}}]}]}
if GENERATION == 0:
    got = client.search("peanuts Monday", version="v2", filters=nested)
else:
    got = client.search("peanuts Monday", filters=nested)
check("search by a nested filter", len(results(got)) == 2, got)
got = find("news", user_id="ann")
check("what is over is not found", texts(got) == [], got)

# Lists.
got = everything(user_id="ann")
check("get_all", len(results(got)) == 4 and texts(got)[0] == "I run every Monday", got)
if GENERATION == 0:
    page = client.get_all(user_id="ann", page=2, page_size=3)
else:
    page = client.get_all(filters={"user_id": "ann"}, page=2, page_size=3)
check("get_all by pages", page["count"] == 4 and len(page["results"]) == 1 and page["previous"], page)
by_text = {one["memory"]: one["id"] for one in results(got)}
peanuts = by_text["I am allergic to peanuts"]

# One memory.
got = client.get(peanuts)
check("get", got["memory"] == "I am allergic to peanuts" and got["id"] == peanuts, got)
refused("get what is not there", "not found", lambda: client.get("0199"))
change = ["I am allergic to peanuts and shrimp"]
got = client.update(peanuts, *change) if GENERATION == 0 else client.update(peanuts, text=change[0])
check("update", got["memory"] == change[0], got)
check("update: found", texts(find("shrimp", user_id="ann")) == change, got)
got = client.history(peanuts)
check("history", [one["event"] for one in got] == ["ADD", "UPDATE"], got)
check("history: texts", got[1]["old_memory"] == "I am allergic to peanuts", got)

# Several.
hi, tea = by_text["hi"], by_text["我喜欢喝茶，住在杭州"]
got = client.batch_update([{"memory_id": hi, "text": "hi there"}, {"memory_id": tea, "text": "我爱喝茶"}])
check("batch_update", "2" in got["message"], got)
check("batch_update: texts", client.get(tea)["memory"] == "我爱喝茶", got)
got = client.batch_delete([{"memory_id": hi}])
check("batch_delete", "1" in got["message"], got)
if GENERATION == 2:
    got = client.feedback(tea, "POSITIVE", "right")
    check("feedback", got["feedback"] == "POSITIVE", got)

# Who has memories.
got = client.users()
kinds = {(one["type"], one["name"]): one["total_memories"] for one in got["results"]}
check("users", kinds[("user", "ann")] == 4 and kinds[("agent", "chef")] == 1, got)
check("users: runs", kinds[("run", "r1")] == 1, got)

# What there is not, in words.
refused("exports without a model", "written by a model", lambda: client.create_memory_export(schema="{}", filters={"user_id": "ann"}))
refused("summary without a model", "written by a model", lambda: client.get_summary(filters={"user_id": "ann"}))
refused("webhooks", "not supported", lambda: client.get_webhooks(project_id="dingbot"))
project = client.project.get() if hasattr(client, "project") else client.get_project()
check("project", project["id"] == "dingbot", project)

# Deleting.
got = client.delete(tea)
check("delete", "deleted" in got["message"], got)
refused("delete what is not there", "not found", lambda: client.delete(tea))
client.add("I like mountains", user_id="alice/1")
client.delete_users(user_id="alice/1")
check("delete_users", texts(everything(user_id="alice/1")) == [], "alice/1")
got = client.delete_all(user_id="ann")
check("delete_all", "deleted" in got["message"] and texts(everything(user_id="ann")) == [], got)
check("delete_all: nobody else's", texts(everything(agent_id="chef")) == ["The chef likes basil"], got)
client.reset()
check("reset", client.users()["results"] == [], "entities are left")


async def asynchronously():
    async with AsyncMemoryClient(api_key="any", host=URL) as other:
        await other.add("I play the cello", user_id="ann")
        if GENERATION == 0:
            got = await other.search("cello", user_id="ann")
        else:
            got = await other.search("cello", filters={"user_id": "ann"})
        check("asynchronous search", texts(got) == ["I play the cello"], got)
        got = await other.delete_all(user_id="ann")
        check("asynchronous delete_all", "deleted" in got["message"], got)


asyncio.run(asynchronously())
print(f"mem0ai {VERSION}: {len(checked)} checks: {', '.join(checked)}")
