// A bot in plain nats.js: it checks all that it sends and hears against the schemas of the wheel.
// node bot.cjs FILE_WITH_THE_ADDRESS FOLDER_OF_THE_SCHEMAS
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const Ajv = require("ajv").default;
const { connect } = require("@nats-io/transport-node");

const [, , address, folder] = process.argv;
const ajv = new Ajv({ allErrors: true, strict: true, strictRequired: false, strictTypes: false });
const SUBJECTS = { "llm.response": "response", "llm.error": "error", "llm.stream": "delta", "llm.status": "status" };
// Who speaks, as the room's platform knows it.
const ALICE = { username: "alice", user_id: "js/1", roles: ["moderator"], is_bot: false };
const KINDS = { llm_response: "response", llm_error: "error" };

const validators = {};
for (const name of ["chat", "request", "response", "error", "delta", "status"]) {
  const schema = JSON.parse(fs.readFileSync(path.join(folder, `${name}.json`)));
  validators[name] = ajv.compile(schema);
  // What the engine sends has no field that the schema does not name.
  validators[`${name} closed`] = ajv.compile({ ...schema, additionalProperties: false });
}

function check(name, message) {
  if (!validators[name](message)) {
    throw new Error(`${name}: ${ajv.errorsText(validators[name].errors)}: ${JSON.stringify(message)}`);
  }
  return message;
}

async function main() {
  const url = new URL(fs.readFileSync(address, "utf8").trim());
  const login = url.username
    ? { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) }
    : {};
  const inbox = url.username ? { inboxPrefix: `_INBOX.${login.user}` } : {};
  const nc = await connect({ servers: url.host, ...login, ...inbox });
  const heard = [];
  const waiting = new Set();
  for (const [subject, name] of Object.entries(SUBJECTS)) {
    nc.subscribe(subject, {
      callback: (error, msg) => {
        if (error) fail(error);
        try {
          heard.push({ name, ...check(`${name} closed`, msg.json()) });
        } catch (wrong) {
          fail(wrong);
        }
        for (const look of [...waiting]) look();
      },
    });
  }
  await nc.flush();

  const until = (reached) =>
    new Promise((resolve) => {
      const look = () => reached() && (waiting.delete(look), resolve());
      waiting.add(look);
      look();
    });

  let number = 0;
  async function ask(subject, fields, envelope) {
    const name = subject === "llm.request" ? "request" : "chat";
    const request = { channel_id: "#js", request_id: `js-${++number}`, ...ALICE, ...fields };
    check(name, request);
    const body = envelope ? { event: "command", source: "js", data: request } : request;
    const reply = await nc.request(subject, JSON.stringify(body), { timeout: 60000 });
    const outcome = reply.json();
    check(`${KINDS[outcome.type]} closed`, outcome);
    // The same comes on the shared subject.
    await until(() => heard.some((each) => each.name !== "delta" && each.name !== "status" && each.request_id === request.request_id));
    return outcome;
  }
  const chat = (args, more = {}) => ask("rosey.command.chat", { args, ...more });
  const call = (fields) => ask("llm.request", fields);
  const deltas = (id) => heard.filter((each) => each.name === "delta" && each.request_id === id);

  const found = {};
  found.whole = await chat(["Hello", "world", 2.5], { correlation_id: "7" });
  const streamed = await call({ action: "chat", message: "Stream it", stream: true, status: true, temperature: 0.5 });
  await until(() => deltas(streamed.request_id).some((each) => each.done));
  await until(() => heard.some((each) => each.state === "ended"));
  found.streamed = streamed;
  found.joined = deltas(streamed.request_id).map((each) => each.delta).join("");
  found.states = heard.filter((each) => each.name === "status").map((each) => each.state);

  const long = call({ action: "chat", message: "Long", stream: true, request_id: "long" });
  await until(() => deltas("long").length > 0);
  found.stop = await chat("stop");
  found.stopped = await long;

  found.complete = await call({ action: "complete", message: "Complete it", max_tokens: 20 });
  found.failed = await chat("This fails");
  found.personas = await chat("persona");
  found.switched = await chat("persona default");
  found.unknown = await chat("persona nobody");
  found.help = await ask("rosey.command.chat", {}, true);
  found.denied = await call({ action: "reset", roles: [] });
  found.robot = await nc.request("rosey.command.chat", JSON.stringify({ args: "Hi", channel_id: "#js", ...ALICE, is_bot: true }), { timeout: 60000 });
  found.robot = check("error closed", found.robot.json());
  found.reset = await call({ action: "reset" });
  found.heard = heard.map((each) => each.name);
  process.stdout.write(JSON.stringify(found));
  await nc.drain();
}

function fail(error) {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
}

main().catch(fail);
