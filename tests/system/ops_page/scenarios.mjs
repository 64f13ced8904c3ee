// What an operator does with the page.  Each scenario gets {open, ask, url, ...} from drive.mjs; `ask`
// has the test itself do something with the service or its provider.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { assertContrast, assertFits, assertNames, assertTouchTargets } from './checks.mjs';
import * as states from './states.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const SHOTS = new URL('../../../build/ops-page/', import.meta.url).pathname;
mkdirSync(SHOTS, { recursive: true });

const shoot = (page, name, fullPage = true) => page.screenshot({ path: `${SHOTS}${name}.png`, fullPage });
const row = (page, table, id) => page.locator(`#${table} tbody tr`).filter({ has: page.locator(`a[href="#${id}"]`) });
const cell = (page, table, id, label) => row(page, table, id).locator(`[data-label="${label}"] > .text`);
const focused = page => page.evaluate(() => document.activeElement.getAttribute('href') ?? document.activeElement.id);

// The first value of what() that fits.
async function until(what, fits, name) {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const last = await what();
    if (fits(last)) return last;
    assert.ok(Date.now() < deadline, `${name}: "${last}" does not fit ${fits}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

const text = (locator, fits) => until(() => locator.textContent(), fits instanceof RegExp ? now => fits.test(now) : fits, locator);
const focusOn = (page, where) => until(() => focused(page), now => now === where, 'the focus');

// Answers of our own making in place of the service's; `members` may be changed while the page runs.
async function pretend(page, members) {
  const at = members.answers ?? (members.answers = { states: 0, flights: 0 });
  await page.route('**/ops/state', async route => {
    at.states++;
    await route.fulfill({ status: members.status ?? 200, json: members.state });
  });
  await page.route('**/ops/flights/*', async route => {
    at.flights++;
    await route.fulfill({ json: members.flight });
  });
}

async function openOn(open, members, options) {
  const page = await open(options);
  await pretend(page, members);
  await page.goto('/ops');
  await page.locator('#content').waitFor();
  return page;
}

// ---- with the real service

// Its output grows while the provider writes; then it is cancelled.
export async function a_flight_is_followed_and_cancelled({ open, ask, id, model }) {
  const page = await open();
  await page.goto('/ops');
  assert.equal(await cell(page, 'flights', id, 'Model').textContent(), model);
  const output = cell(page, 'flights', id, 'Output'), elapsed = cell(page, 'flights', id, 'Elapsed');
  const before = [await text(output, /^[1-9]/), await elapsed.textContent()];
  await row(page, 'flights', id).getByRole('link').focus();
  await text(output, now => now !== before[0]);
  await text(elapsed, now => now !== before[1]);
  await text(row(page, 'flights', id).locator('[data-label="Output"] > .sub'), /\/s$/);
  assert.equal(await focused(page), `#${id}`, 'updates leave the focus alone');

  await row(page, 'flights', id).getByRole('link').click();
  await text(page.locator('#timeline'), /call 1 to/);
  await page.getByRole('button', { name: 'Cancel this flight' }).click();
  await focusOn(page, 'confirm-title');
  await text(page.locator('#confirm'), /409.*key is released.*paid for/);
  await page.getByRole('button', { name: 'Let it run' }).click();
  assert.equal(await ask('is_running'), true, 'nothing happens without the confirmation');
  await page.getByRole('button', { name: 'Cancel this flight' }).click();
  await page.getByRole('button', { name: 'Cancel the flight' }).click();
  await text(page.locator('#detail-state > .text'), /^Ended: 409, cancelled/);
  assert.equal(await page.locator('#cancel-box').isVisible(), false);
  assert.deepEqual(await ask('outcome'), [409, 'cancelled']);
  await page.keyboard.press('Escape');
  await text(cell(page, 'recent', id, 'Status'), /^409$/);
  await focusOn(page, `#${id}`); // the row that it has now
  assert.equal(new URL(page.url()).hash, '');
}

// A flight whose first call failed, opened with the keyboard, kept up to date until its end.
export async function a_timeline_is_kept_up_to_date({ open, ask, id }) {
  const page = await open();
  await page.goto('/ops');
  await text(cell(page, 'flights', id, 'Attempt'), /^2$/);
  await text(cell(page, 'flights', id, 'Waiters'), /^2$/);
  for (let i = 0; i < 20 && await focused(page) !== `#${id}`; i++) await page.keyboard.press('Tab');
  assert.equal(await focused(page), `#${id}`, 'the row can be reached with Tab');
  await page.keyboard.press('Enter');
  assert.equal(new URL(page.url()).hash, `#${id}`);
  await text(page.locator('#timeline'), /call 1 to .*call 2 to/s);
  const first = await page.locator('#timeline li').first().elementHandle();
  await ask('release');
  await text(page.locator('#detail-state > .text'), /^Ended: 200/);
  await text(page.locator('#timeline'), /call 2 to .* ended: answered/s);
  assert.ok(await first.evaluate(node => node.isConnected), 'its steps stay the same elements');
  await shoot(page, 'real-flight', false);
  await page.getByRole('button', { name: 'Close' }).click();
  await row(page, 'recent', id).nth(1).waitFor();
  const sources = await row(page, 'recent', id).locator('[data-label="Source"] > .text').allTextContents();
  assert.deepEqual(sources.sort(), ['joined a flight', 'new flight']);
  await text(page.locator('#saved-requests > .text'), /^1$/);
  await text(page.locator('#saved-tokens > .text'), /^[1-9]/);
  await shoot(page, 'real');

  const linked = await open();
  await linked.goto(`/ops#${id}`);
  await text(linked.locator('#timeline'), /call 2 to/);
  await focusOn(linked, 'detail-title');
}

export async function an_unknown_flight_is_said_to_be_unknown({ open }) {
  const page = await open();
  await page.goto('/ops');
  await page.getByLabel('Flight id').fill('no such flight/..%2f');
  await page.getByRole('button', { name: 'Show its timeline' }).click();
  await text(page.locator('#detail-problem'), /memory/);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#detail').isVisible(), false);
}

// Names that would be markup are text.
export async function names_from_outside_are_text({ open, id, model }) {
  const page = await open();
  await page.goto('/ops');
  assert.equal(await text(cell(page, 'recent', id, 'Model'), /./), model);
  await page.goto(`/ops#${id}`);
  await text(page.locator('#facts'), shown => shown.includes(model));
  assert.equal(await page.locator('img').count(), 0);
}

export async function the_token_is_asked_for({ open, token }) {
  const page = await open();
  await page.goto('/ops');
  const field = page.getByLabel('Token', { exact: true });
  await field.waitFor();
  await focusOn(page, 'token');
  assert.equal(await page.locator('#content').isVisible(), false);
  await assertNames(page);
  await assertContrast(page);
  await shoot(page, 'token');
  await field.fill('another token');
  await page.keyboard.press('Enter');
  await text(page.getByRole('alert'), /no blanks/);
  await field.fill(`${token}x`);
  await page.keyboard.press('Enter');
  await text(page.getByRole('alert'), /does not know this token/);
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  await field.fill(token);
  await page.keyboard.press('Enter');
  await page.locator('#content').waitFor();
  await page.reload();
  await page.locator('#content').waitFor();
  await page.getByRole('button', { name: 'Forget token' }).focus();
  await page.keyboard.press('Enter');
  await focusOn(page, 'token');
  await field.waitFor();
  assert.equal(await page.locator('#content').isVisible(), false);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.goto(`/ops#${'0'.repeat(32)}`);
  await page.reload();
  await field.fill(token);
  await page.keyboard.press('Enter');
  await text(page.locator('#detail-problem'), /memory/); // the flight that was asked for
}

export async function the_service_goes_away_and_comes_back({ open, ask, id }) {
  const page = await open();
  await page.goto(`/ops#${id}`);
  await text(page.locator('#detail-state > .text'), /^Ended: 200/);
  await ask('stop');
  await text(page.locator('#detail-problem'), /does not answer/);
  await page.keyboard.press('Escape');
  await text(page.locator('#notices'), /does not answer.*What is shown is of \d/);
  await text(page.locator('#status'), /^No answer$/);
  await text(page.locator('#age'), /^As of .* ago, next try in \d+ s$/);
  assert.ok(await page.locator('#content').isVisible(), 'the last state is still shown');
  await shoot(page, 'away');
  await ask('start');
  await page.getByRole('button', { name: 'Try now' }).click();
  await text(page.locator('#status'), /^Ready$/);
  await text(page.locator('#age'), /^Updated each second$/);
  await text(page.locator('#notices'), /^$/);
  await page.goto(`/ops#${id}`);
  await text(page.locator('#detail-state > .text'), /^Ended: 200/);
  await text(page.locator('#timeline-note'), /what the store has kept/);
}

// ---- with states of our own making

export async function it_is_readable_in_light_and_dark({ open }) {
  for (const colorScheme of ['light', 'dark']) {
    const pretended = { state: states.busy(), flight: states.timeline() };
    const page = await openOn(open, pretended, { colorScheme });
    await assertContrast(page);
    const roles = await assertNames(page);
    assert.deepEqual([roles.table, roles.columnheader, roles.rowheader], [3, 17, 15]);
    await shoot(page, `busy-${colorScheme}`);
    await page.locator('#flights tbody a').first().click();
    await page.locator('#timeline li').first().waitFor();
    await page.locator('#cancel').click();
    await assertContrast(page);
    await assertNames(page);
    await shoot(page, `flight-${colorScheme}`, false);
    await page.keyboard.press('Escape');
    pretended.state = states.unwell();
    await text(page.locator('#status'), /^Draining$/);
    await assertContrast(page);
    await shoot(page, `unwell-${colorScheme}`);
  }
}

export async function it_fits_a_phone({ open }) {
  const pretended = { state: states.unwell(), flight: states.timeline() };
  const page = await openOn(open, pretended, PHONE);
  await assertFits(page);
  await assertTouchTargets(page);
  await assertNames(page);
  await page.locator('#flights tbody a').first().tap();
  await page.locator('#timeline li').first().waitFor();
  await page.locator('#cancel').tap();
  await assertFits(page);
  await assertTouchTargets(page);
  await shoot(page, 'phone-flight', false);
  await page.locator('#close').tap();
  await shoot(page, 'phone'); // the last: a picture of the whole page ends the pretence of a finger
}

export async function trouble_is_said_in_words_and_once({ open }) {
  const pretended = { state: states.unwell() };
  const page = await openOn(open, pretended);
  const notices = page.locator('#notices > p');
  assert.deepEqual(await notices.allTextContents(), [
    'The service is draining: it ends when what runs is answered. New work is refused with 503; joins and replays go on.',
    'The disk is nearly full: 100 MiB are free, and below 256 MiB new keys are refused with 503. Replays and what runs go on.',
    'The store is nearly full: 950 MiB of 1 GiB (limits.store_bytes_max).',
    '3 answers are in memory only, as the store did not take them. A restart loses them.',
    'anthropic asked for a pause: calls with 2 credentials wait for it.',
  ]);
  const last = await notices.last().elementHandle();
  Object.assign(pretended.state, { status: 'ready' });
  Object.assign(pretended.state.store, { writable: true, lost: true });
  await text(notices.last(), /cannot be trusted any more.*Drain it and start anew/);
  assert.ok(await last.evaluate(node => node.isConnected), 'a notice that stands is not said again');
  pretended.state = states.idle();
  await text(page.locator('#notices'), /^$/);
  assert.ok(await page.getByText('No flights are under way.').isVisible());
  assert.ok(await page.getByText('No request has ended yet.').isVisible());
  await shoot(page, 'idle');
}

// Only what changes is touched: two hundred rows are no work when they stay as they are.
export async function many_flights_are_shown_in_place({ open }) {
  const pretended = { state: states.crowded(), answers: { states: 0, flights: 0 } };
  const page = await openOn(open, pretended);
  assert.equal(await page.locator('#flights tbody tr').count(), 200);
  assert.equal(await page.locator('#recent tbody tr').count(), 100);
  assert.ok(await page.getByText('34 more are not listed.').isVisible());
  await shoot(page, 'crowded', false);
  await page.evaluate(() => {
    window.changes = 0;
    new MutationObserver(records => window.changes += records.length)
      .observe(document.querySelector('#flights'), { subtree: true, childList: true, characterData: true });
  });
  const { states: before } = pretended.answers;
  await until(() => pretended.answers.states, now => now > before + 1, 'states that were asked for');
  assert.equal(await page.evaluate(() => window.changes), 0, 'changes made to rows that stayed as they were');

  const ids = pretended.state.flights.map(flight => flight.id);
  const gone = id => page.locator(`#flights a[href="#${id}"]`).waitFor({ state: 'detached' });
  await page.locator(`#flights a[href="#${ids[7]}"]`).focus();
  pretended.state.flights.splice(0, 5); // those before it end
  await gone(ids[0]);
  assert.equal(await focused(page), `#${ids[7]}`);
  pretended.state.flights.splice(2, 1); // it ends itself
  await gone(ids[7]);
  assert.equal(await focused(page), `#${ids[8]}`, 'the focus goes to the next row');
  pretended.state.flights.splice(2, 1); // this one is listed elsewhere from now on
  pretended.state.recent.unshift({ ...pretended.state.recent[0], id: ids[8], ended_unix_ms: pretended.state.now_unix_ms });
  await gone(ids[8]);
  assert.equal(await focused(page), `#${ids[8]}`);
}

// In a time of the test's own.
export async function it_asks_no_faster_than_it_is_answered({ open }) {
  const page = await open();
  const asked = { count: 0, answer: null, status: 200 };
  await page.route('**/ops/state', async route => {
    asked.count++;
    await new Promise(resolve => { asked.answer = resolve; });
    await route.fulfill({ status: asked.status, json: { ...states.idle(), version: `${asked.count}` } });
  });
  const sees = count => until(() => asked.count, now => now === count, 'questions');
  const hide = hidden => page.evaluate(value => {
    Object.defineProperty(document, 'hidden', { value, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  const pass = ms => page.clock.runFor(ms);
  const answer = async () => {
    asked.answer();
    await text(page.locator('#about'), new RegExp(`version ${asked.count},`)); // it has arrived
  };
  const age = fits => text(page.locator('#age'), fits);

  await page.clock.install({ time: 0 });
  await page.clock.pauseAt(1000);
  await page.goto('/ops');
  await sees(1);
  await pass(5000);
  await hide(true);
  await hide(false);
  await sees(1); // no second question before the answer
  await answer();
  await age(/^Updated each second$/);
  await pass(1000);
  await sees(2);
  await hide(true);
  await answer();
  await pass(5000);
  await sees(2); // none while nobody looks
  await hide(false);
  await sees(3);
  await answer();
  await page.getByRole('button', { name: 'Pause updates' }).click();
  await age(/^Paused, as of/);
  await pass(5000);
  await hide(true);
  await hide(false);
  await sees(3);
  await page.getByRole('button', { name: 'Pause updates' }).click();
  await sees(4);
  asked.status = 503;
  for (const [i, pause_s] of [2, 4, 8, 15, 15].entries()) {
    asked.answer();
    await age(new RegExp(`next try in ${pause_s} s$`));
    await pass(pause_s * 1000);
    await sees(5 + i);
  }
  await text(page.locator('#notices'), /^The service answered 503/);
}
