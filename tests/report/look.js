// node look.js BROWSER URL SCREENSHOT: open the page in light and dark, wide and on a phone, and by keyboard alone;
// print what is wrong with each as a JSON line.
import { chromium } from "playwright-core";

const [executablePath, url, screenshot] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
});

/** Texts whose contrast is below WCAG 2.2's AA: 3 where they are large, else 4.5. */
function faint() {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = (top, below) => below.map((value, at) => (at < 3 ? top[at] * top[3] + value * (1 - top[3]) : 1));
  const ground = (element) => {
    if (!element) return [1, 1, 1, 1];
    return over(channels(getComputedStyle(element).backgroundColor), ground(element.parentElement));
  };
  const luminance = (colour) =>
    colour
      .slice(0, 3)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
      .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const found = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    const shown = text && !["STYLE", "TITLE", "title", "style"].includes(element.tagName);
    if (!shown || !element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true })) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const below = ground(element);
    const colour = over(channels(element instanceof SVGElement ? style.fill : style.color), below);
    const [low, high] = [luminance(colour), luminance(below)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) found.push(`${text.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return { texts: seen, faint: found };
}

/** What a reader who sees nothing or scrolls nothing would miss. */
function structure() {
  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((each) => Number(each.tagName[1]));
  const named = (each) => each.closest("[aria-hidden=true]") || each.getAttribute("aria-label");
  const wider = [...document.querySelectorAll("body *")].filter(
    (each) => each.scrollWidth > each.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(each).overflowX),
  );
  const images = [...document.images];
  return {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    leaps: levels.filter((level, at) => level > (at ? levels[at - 1] : 0) + 1).length,
    titles: levels.filter((level) => level === 1).length,
    images: images.length,
    silent: images.filter((each) => !each.alt).length,
    broken: images.filter((each) => !each.naturalWidth).length,
    unnamed: [...document.querySelectorAll("svg:not(svg svg)")].filter((each) => !named(each)).length,
    unreachable: wider.filter((each) => each.tabIndex < 0 || !named(each)).map((each) => each.className),
  };
}

const stops = () =>
  [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
    .filter((each) => each.type !== "radio" || each.checked)
    .map((each, at) => (each.dataset.stop = String(at)));

/** The element in focus, and whether a reader sees that it is. */
function focused() {
  const element = document.activeElement;
  if (!element?.dataset.stop) return null;
  const marked = [element, element.closest("label")].filter(Boolean).map((each) => getComputedStyle(each));
  return { stop: element.dataset.stop, seen: marked.some((style) => style.outlineStyle !== "none") };
}

for (const [colorScheme, width] of [
  ["light", 1280],
  ["dark", 1280],
  ["light", 390],
  ["dark", 390],
]) {
  const page = await browser.newPage({ colorScheme, viewport: { width, height: 844 } });
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => problems.push(message.text()));
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) problems.push(request.url());
  });
  await page.goto(url);
  await page.evaluate(() => document.querySelectorAll("details").forEach((each) => (each.open = true)));
  const seen = { colorScheme, width, ...(await page.evaluate(faint)), ...(await page.evaluate(structure)) };
  const expected = await page.evaluate(stops);
  const reached = [];
  for (let count = 0; count <= 2 * expected.length; count += 1) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(focused));
  }
  const found = reached.filter(Boolean);
  seen.stops = expected.length;
  seen.missed = expected.filter((stop) => !found.some((each) => each.stop === stop));
  seen.unmarked = found.filter((each) => !each.seen).map((each) => each.stop);
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: `${screenshot}-${colorScheme}-${width}.png`, fullPage: true });
  console.log(JSON.stringify({ ...seen, problems }));
  await page.close();
}
await browser.close();
