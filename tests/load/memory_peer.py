"""The peer of the measurement `memory`: Mem0's library with its embedded Qdrant.

    memory_peer.py FOLDER TOLD.json BASE-URL KEY DIMENSIONS

Prints one line of JSON: milliseconds of a search, and additions a second; or, if it is told what to
remember, how many memories its model made of it.
"""

import json
import statistics
import sys
import time

from mem0 import Memory

folder, told, base, key, dimensions = sys.argv[1:6]
dimensions = int(dimensions)
with open(told, encoding="utf-8") as file:
    told = json.load(file)
memory = Memory.from_config({
    "vector_store": {
        "provider": "qdrant",
        "config": {
            "collection_name": "memories",
            "path": f"{folder}/qdrant",
            "embedding_model_dims": dimensions,
            "on_disk": True,
        },
    },
    "embedder": {
        "provider": "openai",
        "config": {
            "model": "text-embedding-simulated",
            "api_key": key,
            "openai_base_url": base,
            "embedding_dims": dimensions,
        },
    },
    "llm": {"provider": "openai", "config": {"api_key": key, "openai_base_url": base}},
    "history_db_path": f"{folder}/history.db",
})
if "remember" in told:
    made = memory.add(told["remember"], user_id="ann")
    print(json.dumps({"remembered": len(made["results"])}))
    sys.exit()
began = time.perf_counter()
for text in told["texts"]:
    memory.add(text, user_id="ann", infer=False)
adds = len(told["texts"]) / (time.perf_counter() - began)
times = []
for turn in range(2):
    for question in told["questions"]:
        asked = time.perf_counter()
        found = memory.search(question, filters={"user_id": "ann"}, top_k=10)
        if turn:
            times.append((time.perf_counter() - asked) * 1e3)
        if not found["results"]:
            sys.exit(f"nothing is found: {question}")
times.sort()
print(json.dumps({
    "search": statistics.median(times),
    "search_p99": times[int(len(times) * 0.99)],
    "adds": adds,
}))
