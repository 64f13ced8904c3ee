// One call of one client with its default settings, as an application makes it: the body comes on
// stdin, what the application gets goes to stdout: status and, on the next line, JSON.
//   node client.mjs fetch|axios|openai|anthropic URL HEADERS
import { text } from "node:stream/consumers";

const [name, url, headersText] = process.argv.slice(2);
const headers = JSON.parse(headersText);
const body = await text(process.stdin);

// An SDK's own answer or its error, which has the status.
async function told(call) {
  try {
    const { data, response } = await call.withResponse();
    return [response.status, data];
  } catch (error) {
    return [error.status ?? 0, { class: error.constructor.name, message: error.message }];
  }
}

const CLIENTS = {
  async fetch() {
    const reply = await fetch(url, { method: "POST", headers, body });
    return [reply.status, reply.ok ? await reply.json() : await reply.text()];
  },
  async axios() {
    const { default: axios } = await import("axios");
    try {
      const reply = await axios.post(url, JSON.parse(body), { headers });
      return [reply.status, reply.data];
    } catch (error) {
      return [error.response?.status ?? 0, error.response?.data ?? { message: error.message }];
    }
  },
  async openai() {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ apiKey: "sk-test", baseURL: url });
    return told(client.chat.completions.create(JSON.parse(body), { headers }));
  },
  async anthropic() {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ apiKey: "sk-test", baseURL: url });
    return told(client.messages.create(JSON.parse(body), { headers }));
  },
};

const [status, data] = await CLIENTS[name]();
console.log(`${status}\n${JSON.stringify(data)}`);
