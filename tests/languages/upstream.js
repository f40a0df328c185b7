"use strict";
// An upstream without any library: Redis' own protocol over a socket, a command a line on standard input.
// In:  {"send": [queue, task, fields]} or {"hear": queue}. Out: a line of JSON for each.
const { randomUUID } = require("node:crypto");
const { createConnection } = require("node:net");
const { createInterface } = require("node:readline");

const { hostname, port, username, password } = new URL(process.env.CHECKPOINT_BROKER_URL);
const socket = createConnection(Number(port), hostname);
let received = Buffer.alloc(0);
const waiting = []; // who waits for an answer, in order

// One answer and where the next begins; null: not all of it is here yet.
function parse(at) {
  const end = received.indexOf("\r\n", at);
  if (end < 0) return null;
  const [kind, line, next] = [received.toString("utf8", at, at + 1), received.toString("utf8", at + 1, end), end + 2];
  if (kind === "-") throw new Error(line);
  if (kind === "+") return [line, next];
  if (kind === ":" || line === "-1") return [kind === ":" ? Number(line) : null, next];
  if (kind === "$") {
    const stop = next + Number(line);
    return received.length < stop + 2 ? null : [received.toString("utf8", next, stop), stop + 2];
  }
  let [values, from] = [[], next];
  for (let left = Number(line); left > 0; left--) {
    const one = parse(from);
    if (one === null) return null;
    values.push(one[0]);
    from = one[1];
  }
  return [values, from];
}

socket.on("data", (data) => {
  received = Buffer.concat([received, data]);
  for (let one; received.length > 0 && (one = parse(0)) !== null; received = received.subarray(one[1])) {
    waiting.shift()(one[0]);
  }
});

function redis(...words) {
  const bulks = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
  socket.write(`*${words.length}\r\n${bulks.join("")}`);
  return new Promise((resolve) => waiting.push(resolve));
}

const key = (queue) => (process.env.CHECKPOINT_KEY_PREFIX ?? "") + queue;

async function send(queue, task, fields) {
  const id = randomUUID();
  await redis("LPUSH", key(queue), JSON.stringify({
    body: Buffer.from(JSON.stringify([[], fields, {}])).toString("base64"),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    headers: { lang: "js", task, id },
    properties: {
      correlation_id: id,
      delivery_tag: randomUUID(),
      delivery_info: { exchange: "", routing_key: queue },
      body_encoding: "base64",
    },
  }));
  return { id };
}

async function hear(queue) {
  const answer = await redis("BRPOP", key(queue), 30);
  if (answer === null) return null;
  const { headers, body } = JSON.parse(answer[1]);
  return { task: headers.task, fields: JSON.parse(Buffer.from(body, "base64"))[1] };
}

async function main() {
  if (password) await redis("AUTH", ...(username ? [username] : []), decodeURIComponent(password));
  for await (const line of createInterface({ input: process.stdin })) {
    const said = JSON.parse(line);
    console.log(JSON.stringify(await (said.send ? send(...said.send) : hear(said.hear))));
  }
  socket.end();
}

main();
