// What holds of every view of the page.
import assert from 'node:assert/strict';

const CONTRAST_MIN = 4.5; // WCAG 2.2, 1.4.3, level AA

// Runs in the page: texts that stand out too little from what is behind them.
function faintTexts(min) {
  const parse = color => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
    b: top.b * top.a + under.b * (1 - top.a), a: 1,
  });
  const behind = element => {
    if (!element) return parse(getComputedStyle(document.documentElement).colorScheme === 'dark' ? 'rgb(0 0 0)' : 'rgb(255 255 255)');
    const color = parse(getComputedStyle(element).backgroundColor);
    return color.a === 1 ? color : over(color, element.matches('dialog') ? color : behind(element.parentElement));
  };
  const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ({ r, g, b }) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = [];
  let seen = 0;
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility() || element.matches('script, style')) continue;
    const background = behind(element);
    const value = contrast(over(parse(getComputedStyle(element).color), background), background);
    seen++;
    if (value < min) faint.push(`${text.data.trim()}: ${value.toFixed(2)}`);
  }
  return { seen, faint };
}

export async function assertContrast(page) {
  const { seen, faint } = await page.evaluate(faintTexts, CONTRAST_MIN);
  assert.ok(seen > 5, 'there is text on the page');
  assert.deepEqual(faint, [], 'text of too little contrast');
}

export async function assertFits(page) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `the page is ${content} px wide in a window of ${window}`);
  const wide = await page.evaluate(() => [...document.querySelectorAll('body *')]
    .filter(element => element.checkVisibility() && !element.closest('thead, .unseen') && element.getBoundingClientRect().right > innerWidth + 1)
    .map(element => `${element.tagName} ${element.id} ${element.textContent.slice(0, 40)}`));
  assert.deepEqual(wide, [], 'elements that stand out of the window');
  const squeezed = await page.evaluate(() => [...document.querySelectorAll('.text, .sub')]
    .filter(element => element.getBoundingClientRect().height > 120).map(element => element.textContent));
  assert.deepEqual(squeezed, [], 'texts of more than five lines');
}

const NAMED = new Set(['button', 'link', 'textbox', 'progressbar', 'table', 'dialog', 'region', 'heading', 'row', 'columnheader', 'rowheader']);

// What a screen reader is given: returns how many of each role there are.
export async function assertNames(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  const roles = {}, nameless = [];
  for (const { ignored, role, name, nodeId } of nodes) {
    if (ignored || !NAMED.has(role?.value)) continue;
    roles[role.value] = (roles[role.value] ?? 0) + 1;
    if (!name?.value && role.value !== 'row') nameless.push(`${role.value} ${nodeId}`);
  }
  assert.deepEqual(nameless, [], 'things without an accessible name');
  return roles;
}

export async function assertTouchTargets(page) {
  const small = await page.evaluate(() => [...document.querySelectorAll('button, input, a[href]')]
    .filter(element => element.checkVisibility())
    .map(element => [element.textContent, element.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 44 || height < 44)
    .map(([text, { width, height }]) => `${text}: ${width} x ${height}`));
  assert.deepEqual(small, [], 'targets that a finger misses');
}
