// Runs the scenarios of this folder, as pytest asks for them: one browser, a fresh context for each.
//
//     {"run": NAME, "arguments": {...}}   in: a scenario to run
//     {"ask": NAME, "arguments": [...]}   out: it wants the test to do something; in: {"answer": ...}
//     {"done": null or "what is wrong"}   out
//
// Whatever a scenario does, nothing may leave the service's origin, and neither the page's script nor
// its policy may complain.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import * as scenarios from './scenarios.mjs';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const hear = async () => JSON.parse((await lines.next()).value ?? 'null');
const say = message => process.stdout.write(`${JSON.stringify(message)}\n`);

async function ask(name, ...args) {
  say({ ask: name, arguments: args });
  return (await hear()).answer;
}

// A status that a scenario asks for is written to the console too; that is no complaint of the page.
const isExpected = text => text.startsWith('Failed to load resource');

function watch(context, url) {
  const complaints = [];
  context.on('weberror', problem => complaints.push(`${problem.error()}`));
  context.on('console', message => {
    if (['error', 'warning'].includes(message.type()) && !isExpected(message.text())) complaints.push(message.text());
  });
  context.on('request', request => {
    const to = request.url();
    if (new URL(to).origin !== url && !to.startsWith('data:')) complaints.push(`asks for ${to}`);
  });
  return complaints;
}

async function run(browser, name, { url, ...world }) {
  const open = async (options = {}) => {
    const context = await browser.newContext({ locale: 'en-GB', baseURL: url, viewport: { width: 1280, height: 900 }, ...options });
    context.setDefaultTimeout(15_000);
    contexts.push([context, watch(context, url)]);
    return context.newPage();
  };
  const contexts = [];
  try {
    await scenarios[name]({ open, ask, url, ...world });
    const complaints = [...new Set(contexts.flatMap(([, found]) => found))];
    return complaints.length ? complaints.join('\n') : null;
  } catch (error) {
    return [error.stack, ...new Set(contexts.flatMap(([, found]) => found))].join('\n');
  } finally {
    for (const [context] of contexts) await context.close();
  }
}

const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox'] });
say({ done: null });
for (let order = await hear(); order; order = await hear()) say({ done: await run(browser, order.run, order.arguments) });
await browser.close();
