// node browse.js BROWSER URL SCREENSHOT FILE...: open the page, hand it each file, print what it shows as JSON lines.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, url, screenshot, ...files] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  timeout: 300_000,
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
});
const page = await browser.newPage();
page.setDefaultTimeout(300_000); // milliseconds; the machine may be busy
const problems = [];
page.on("pageerror", (error) => problems.push(error.message));
page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
await page.goto(url);

const shown = () =>
  page.evaluate(() => ({
    about: document.getElementById("about").textContent,
    error: document.getElementById("error").textContent,
    visible: !document.getElementById("result").hidden,
    neighbours: [...document.querySelectorAll("#neighbours li")].map((item) => ({
      row: Number(item.dataset.row),
      cosine: Number(item.textContent),
    })),
  }));
const settled = () =>
  page.waitForFunction(
    () => document.getElementById("error").textContent || !document.getElementById("result").hidden,
  );
await page.waitForFunction(() => !document.getElementById("about").textContent.startsWith("Loading"));
console.log(JSON.stringify(await shown()));

for (const [place, file] of files.entries()) {
  if (place % 2) {
    await page.setInputFiles("input", file);
  } else {
    const base64 = await readFile(file, "base64");
    await page.evaluate(
      ([base64, name]) => {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
      },
      [base64, basename(file)],
    );
  }
  await settled();
  console.log(JSON.stringify(await shown()));
  await page.screenshot({ path: `${screenshot}.${place}.png`, fullPage: true });
}
console.log(JSON.stringify({ problems }));
await browser.close();
