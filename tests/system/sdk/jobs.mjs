// Runs a list of jobs with one official SDK, unmodified, and prints what each came to.
// stdin:  {"sdk": "openai" | "anthropic", "url": base URL, "parallel": how many at once, "jobs": [{"method", "body", "headers", "client"}]}
//         a method "chat.stream" lets the SDK itself stream and assemble
// stdout: [{"ok": object, "headers"} | {"error": {"class", "status", "message", "code", "headers"}}]
import { text } from "node:stream/consumers";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const CLIENTS = {
  openai: (options) => new OpenAI({ apiKey: "sk-test", ...options }),
  anthropic: (options) => new Anthropic({ apiKey: "sk-test", ...options }),
};
const STREAMS = {
  "chat.stream": (client, body) => client.chat.completions.stream(body).finalChatCompletion(),
  "responses.stream": (client, body) => client.responses.stream(body).finalResponse(),
  "messages.stream": (client, body) => client.messages.stream(body).finalMessage(),
};
// What Anthropic's SDK takes before the options.
const ofSdk = (options) => (sdk === "anthropic" ? [{}, options] : [options]);
const METHODS = {
  chat: (client, ...call) => client.chat.completions.create(...call),
  responses: (client, ...call) => client.responses.create(...call),
  messages: (client, ...call) => client.messages.create(...call),
  "models.list": (client, body, options) => client.models.list(options),
  "models.retrieve": (client, body, options) => client.models.retrieve(body.model, ...ofSdk(options)),
  embeddings: (client, ...call) => client.embeddings.create(...call),
  "count_tokens": (client, ...call) => client.messages.countTokens(...call),
};
const { sdk, url, parallel, jobs } = JSON.parse(await text(process.stdin));

async function run({ method, body, headers = {}, client = {} }) {
  const made = CLIENTS[sdk]({ baseURL: url, maxRetries: 0, timeout: 120_000, ...client });
  try {
    if (method in STREAMS) return { ok: await STREAMS[method](made, body) };
    const { data, response } = await METHODS[method](made, body, { headers }).withResponse();
    return { ok: data.data && data.getPaginatedItems ? { items: data.getPaginatedItems() } : data, headers: Object.fromEntries(response.headers) };
  } catch (error) {
    return {
      error: {
        class: error.constructor.name,
        status: error.status ?? null,
        message: error.message,
        code: error.code ?? null,
        headers: error.headers ? Object.fromEntries(error.headers) : null,
      },
    };
  }
}

const results = new Array(jobs.length);
const queue = jobs.entries();
await Promise.all(
  Array.from({ length: parallel }, async () => {
    for (const [index, job] of queue) results[index] = await run(job);
  }),
);
console.log(JSON.stringify(results));
