"""Every tool of the MCP surface, by the official Python SDK: each answer's content is checked.

    mcp_client.py URL VERSION
"""

import asyncio
import json
import sys
import time

URL, VERSION = sys.argv[1:3]
checked = []


def check(name, holds, got):
    if not holds:
        sys.exit(f"{name}: {got!r}")
    checked.append(name)


def connect(url):
    """A client of either generation of the SDK, with one way to call it."""
    if VERSION.startswith("2."):
        from mcp import Client

        return Client(url)
    return Old(url)


class Old:
    def __init__(self, url):
        self.url = url

    async def __aenter__(self):
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        self.transport = streamablehttp_client(self.url)
        read, write, _ = await self.transport.__aenter__()
        self.session = ClientSession(read, write)
        await self.session.__aenter__()
        self.about = await self.session.initialize()
        return self.session

    async def __aexit__(self, *raised):
        await self.session.__aexit__(*raised)
        await self.transport.__aexit__(*raised)


async def call(client, name, **arguments):
    result = await client.call_tool(name, arguments)
    failed = getattr(result, "is_error", None) or getattr(result, "isError", None)
    text = result.content[0].text
    return bool(failed), text


async def told(client, name, **arguments):
    failed, text = await call(client, name, **arguments)
    check(name, not failed, text)
    return text


async def refused(client, name, sentence, **arguments):
    failed, text = await call(client, name, **arguments)
    check(f"{name} refused", failed and sentence in text, text)
    return text


async def hosted():
    async with connect(f"{URL}/mcp") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        check("list_tools", names == {
            "add_memory", "search_memories", "get_memories", "get_memory", "update_memory",
            "delete_memory", "delete_all_memories", "delete_entities", "list_entities", "list_events",
            "get_event_status",
        }, names)
        prompts = (await client.list_prompts()).prompts
        check("list_prompts", [prompt.name for prompt in prompts] == ["memory_assistant"], prompts)
        prompt = await client.get_prompt("memory_assistant")
        check("get_prompt", "search_memories" in prompt.messages[0].content.text, prompt)

        added = json.loads(await told(client, "add_memory", text="我对花生过敏", user_id="ann"))
        check("add_memory: result", added["results"][0]["data"]["memory"] == "我对花生过敏", added)
        event = json.loads(await told(client, "get_event_status", event_id=added["event_id"]))
        check("get_event_status: result", event["status"] == "SUCCEEDED", event)
        events = json.loads(await told(client, "list_events"))
        check("list_events: result", events["count"] == 1, events)
        await told(client, "add_memory", text="", user_id="ann", metadata={"topic": "tea"}, messages=[
            {"role": "user", "content": "我喜欢喝茶"}, {"role": "assistant", "content": "好的"},
        ])
        await told(client, "add_memory", text="I live in Berlin", user_id="bob")

        found = json.loads(await told(client, "search_memories", query="花生", user_id="ann"))
        check("search: first", found["results"][0]["memory"] == "我对花生过敏", found)
        peanuts = found["results"][0]["id"]
        filters = {"AND": [{"user_id": "ann"}, {"metadata": {"topic": "tea"}}]}
        found = json.loads(await told(client, "search_memories", query="喝", filters=filters, top_k=5))
        check("search: filters", [one["memory"] for one in found["results"]] == ["我喜欢喝茶"], found)
        listed = json.loads(await told(client, "get_memories", user_id="ann", page=1, page_size=1))
        check("get_memories: page", listed["count"] == 2 and len(listed["results"]) == 1, listed)
        one = json.loads(await told(client, "get_memory", memory_id=peanuts))
        check("get_memory: text", one["memory"] == "我对花生过敏", one)
        await told(client, "update_memory", memory_id=peanuts, text="我对坚果过敏")
        one = json.loads(await told(client, "get_memory", memory_id=peanuts))
        check("update_memory: text", one["memory"] == "我对坚果过敏", one)
        entities = json.loads(await told(client, "list_entities"))
        check("list_entities: names", {one["name"] for one in entities["results"]} == {"ann", "bob"}, entities)

        trouble = json.loads(await refused(client, "search_memories", "user_id", query="x"))
        check("trouble has a status", trouble["status"] == 400 and trouble["payload"], trouble)
        await refused(client, "add_memory", "text", user_id="ann")
        await refused(client, "get_memory", "404", memory_id="0199")
        await refused(client, "delete_entities", "user_id")
        await refused(client, "delete_all_memories", "identifier")

        await told(client, "delete_memory", memory_id=peanuts)
        await refused(client, "get_memory", "404", memory_id=peanuts)
        await told(client, "delete_all_memories", user_id="ann")
        listed = json.loads(await told(client, "get_memories", user_id="ann"))
        check("delete_all: nothing left", listed["results"] == [], listed)
        listed = json.loads(await told(client, "get_memories", user_id="bob"))
        check("delete_all: nobody else's", len(listed["results"]) == 1, listed)
        await told(client, "delete_entities", user_id="bob")
        entities = json.loads(await told(client, "list_entities"))
        check("delete_entities: gone", entities["results"] == [], entities)

    async with connect(f"{URL}/mcp?user_id=carol") as client:
        await told(client, "add_memory", text="I play the cello")
        found = json.loads(await told(client, "search_memories", query="cello"))
        check("the person of the connection", found["results"][0]["user_id"] == "carol", found)


async def open_memory():
    async with connect(f"{URL}/mcp/cursor/http/%E5%AE%89%E5%A8%9C") as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        check("OpenMemory: list_tools", names == {
            "add_memories", "search_memory", "list_memories", "delete_memories", "delete_all_memories",
        }, names)
        added = json.loads(await told(client, "add_memories", text="我养了一只猫"))
        cat = added["results"][0]["id"]
        await told(client, "add_memories", text="hi", infer=False)
        found = json.loads(await told(client, "search_memory", query="猫"))
        first = found["results"][0]
        check("search_memory: first", first["memory"] == "我养了一只猫", found)
        check("search_memory: fields", set(first) == {
            "id", "memory", "hash", "created_at", "updated_at", "score",
        }, first)
        listed = json.loads(await told(client, "list_memories"))
        check("list_memories: texts", {one["memory"] for one in listed} == {"我养了一只猫", "hi"}, listed)
        check("list_memories: source", listed[0]["metadata"] == {
            "source_app": "openmemory", "mcp_client": "cursor",
        }, listed)

        async with connect(f"{URL}/mcp/cursor/http/eve") as eve:
            text = await told(eve, "list_memories")
            check("nobody else's", json.loads(text) == [], text)
            await refused(eve, "delete_memories", "No accessible memories", memory_ids=[cat])
            await told(eve, "delete_all_memories")
        listed = json.loads(await told(client, "list_memories"))
        check("still there", len(listed) == 2, listed)
        await refused(client, "delete_memories", "list of ids", memory_ids=[])
        text = await told(client, "delete_memories", memory_ids=[cat, "0199"])
        check("delete_memories: count", text == "Successfully deleted 1 memories", text)
        text = await told(client, "delete_all_memories")
        check("delete_all_memories: text", text == "Successfully deleted all memories", text)
        check("nothing left", json.loads(await told(client, "list_memories")) == [], "left")


asyncio.run(hosted())
asyncio.run(open_memory())
print(f"mcp {VERSION}: {len(checked)} checks: {', '.join(dict.fromkeys(checked))}")
