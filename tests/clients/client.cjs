// Every call of the Node client of Mem0's platform: what it makes of each answer is checked.
//
//     node client.cjs URL VERSION

// Node knows no proxy that leads nowhere: what would leave this host fails here.
const reach = globalThis.fetch;
globalThis.fetch = async (address, options) => {
  const { hostname } = new URL(address instanceof Request ? address.url : address);
  if (hostname !== "127.0.0.1") {
    throw new Error(`${hostname} is not to be reached`);
  }
  return reach(address, options);
};

const { MemoryClient } = require("mem0ai");

const [url, version] = process.argv.slice(2);
const checked = [];

function check(name, holds, got) {
  if (!holds) {
    console.error(`${name}: ${JSON.stringify(got)}`);
    process.exit(1);
  }
  checked.push(name);
}

async function refused(name, sentence, call) {
  let got;
  try {
    got = await call();
  } catch (error) {
    check(name, String(error.message).includes(sentence), error.message);
    return;
  }
  check(`${name}: not refused`, false, got);
}

const texts = (got) => got.results.map((one) => one.memory);

async function main() {
  const client = new MemoryClient({ apiKey: "any", host: url });
  await client.ping();
  check("ping", client.organizationId && client.projectId, client);
  const ann = { user_id: "ann" };

  // Adding.
  const talk = [
    { role: "user", content: "I am allergic to peanuts" },
    { role: "assistant", content: "I will keep that in mind" },
  ];
  let got = await client.add(talk, { userId: "ann", metadata: { topic: "food", userId: "eve" } });
  check("add a talk", got.status === "SUCCEEDED" && got.eventId, got);
  check("add: result", got.results[0].data.memory === "I am allergic to peanuts", got);
  await client.add([{ role: "user", content: "我喜欢喝茶，住在杭州" }], { userId: "ann" });
  got = await client.add([{ role: "user", content: "hi" }], { userId: "ann", infer: false });
  check("add word for word", got.results.length === 1, got);
  await client.add([{ role: "user", content: "I run every Monday" }], { userId: "ann", runId: "r1" });
  await client.add([{ role: "user", content: "The chef likes basil" }], { agentId: "chef" });
  const old = [{ role: "user", content: "old news of the day" }];
  await client.add(old, { userId: "ann", expirationDate: "2001-01-01" });
  await refused("add without an id", "identifier", () => client.add(talk));

  // Finding.
  got = await client.search("peanuts", { filters: ann });
  check("search", texts(got)[0] === "I am allergic to peanuts", got);
  check("search: score", got.results[0].score > 0 && got.results[0].score <= 1, got);
  check("search: whose", got.results[0].userId === "ann", got);
  check("search: metadata", got.results[0].metadata.topic === "food", got);
  got = await client.search("喝茶", { filters: ann, topK: 1 });
  check("search in Chinese", texts(got)[0] === "我喜欢喝茶，住在杭州" && got.results.length === 1, got);
  got = await client.search("peanuts", { filters: { user_id: "bob" } });
  check("search: nobody else's", texts(got).length === 0, got);
  const nested = { AND: [ann, { OR: [{ run_id: "r1" }, { metadata: { topic: "food" } }] }] };
  got = await client.search("peanuts Monday", { filters: nested });
  check("search by a nested filter", got.results.length === 2, got);
  await refused("search without an id", "user_id", () => client.search("x", { filters: {} }));

  // Lists.
  got = await client.getAll({ filters: ann });
  check("getAll", texts(got)[0] === "I run every Monday" && got.results.length === 4, got);
  const byText = Object.fromEntries(got.results.map((one) => [one.memory, one.id]));
  got = await client.getAll({ filters: ann, page: 2, pageSize: 3 });
  check("getAll by pages", got.count === 4 && got.results.length === 1 && got.previous, got);

  // One memory.
  const peanuts = byText["I am allergic to peanuts"];
  got = await client.get(peanuts);
  check("get", got.memory === "I am allergic to peanuts" && got.id === peanuts, got);
  await refused("get what is not there", "not found", () => client.get("0199"));
  got = await client.update(peanuts, { text: "I am allergic to shrimp", metadata: { topic: "sea" } });
  check("update", got.memory === "I am allergic to shrimp", got);
  got = await client.get(peanuts);
  check("update: metadata", got.metadata.topic === "sea", got);
  got = await client.history(peanuts);
  check("history", got.map((one) => one.event).join() === "ADD,UPDATE", got);
  check("history: texts", got[1].oldMemory === "I am allergic to peanuts", got);
  got = await client.feedback({ memoryId: peanuts, feedback: "POSITIVE", feedbackReason: "right" });
  check("feedback", got.feedback === "POSITIVE", got);

  // Several.
  const [hi, tea] = [byText.hi, byText["我喜欢喝茶，住在杭州"]];
  got = await client.batchUpdate([
    { memoryId: hi, text: "hi there" },
    { memoryId: tea, text: "我爱喝茶" },
  ]);
  check("batchUpdate", JSON.stringify(got).includes("2"), got);
  check("batchUpdate: text", (await client.get(tea)).memory === "我爱喝茶", got);
  got = await client.batchDelete([hi]);
  check("batchDelete", JSON.stringify(got).includes("1"), got);

  // Who has memories.
  got = await client.users();
  const kinds = Object.fromEntries(got.results.map((one) => [`${one.type} ${one.name}`, one.totalMemories]));
  check("users", kinds["user ann"] === 4 && kinds["agent chef"] === 1 && kinds["run r1"] === 1, got);
  got = await client.users({ page: 1, pageSize: 1 });
  check("users by pages", got.results.length === 1 && got.count === 3, got);

  // The project, profiles, and what there is not, in words.
  got = await client.getProject({ fields: ["customInstructions"] });
  check("getProject", "customInstructions" in got, got);
  await refused("updateProject", "dingbot.toml", () => client.updateProject({ customInstructions: "x" }));
  got = await client.getProfile({ entityId: "ann" });
  check("getProfile", got.status === "not_enabled" && got.entityId === "ann", got);
  for (const [name, call] of [
    ["generateProfile", () => client.generateProfile({ entityId: "ann" })],
    ["sampleProfiles", () => client.sampleProfiles({ limit: 1 })],
    ["getProfileSettings", () => client.getProfileSettings()],
    ["updateProfileSettings", () => client.updateProfileSettings({ enabled: true })],
    ["getProfileJob", () => client.getProfileJob("0199")],
  ]) {
    await refused(name, "by themselves", call);
  }
  const webhook = { webhookId: "1", name: "n", url: "http://127.0.0.1:9/", eventTypes: [] };
  for (const name of ["getWebhooks", "createWebhook", "updateWebhook", "deleteWebhook"]) {
    await refused(name, "not supported", () => client[name]({ ...webhook, projectId: "dingbot" }));
  }
  const form = { schema: { type: "object", properties: {} }, filters: ann };
  await refused("createMemoryExport", "by a model", () => client.createMemoryExport(form));
  await refused("getMemoryExport", "No memory export", () => client.getMemoryExport({ memoryExportId: "0199" }));

  // Deleting.
  got = await client.delete(tea);
  check("delete", got.message.includes("deleted"), got);
  await refused("delete what is not there", "not found", () => client.delete(tea));
  await client.add([{ role: "user", content: "I like mountains" }], { userId: "alice/1" });
  await client.deleteUsers({ userId: "alice/1" });
  got = await client.getAll({ filters: { user_id: "alice/1" } });
  check("deleteUsers", got.results.length === 0, got);
  await client.deleteUser({ entity_type: "agent", entity_id: "chef" });
  got = await client.deleteAll({ userId: "ann" });
  check("deleteAll", got.message.includes("deleted"), got);
  check("deleteAll: nothing left", (await client.users()).results.length === 0, got);
  console.log(`mem0ai ${version} (Node): ${checked.length} checks: ${checked.join(", ")}`);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(checked.at(-1), error);
    process.exit(1);
  },
);
