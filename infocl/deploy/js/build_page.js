// node build_page.js ENCODER OUT: a folder that any web server can serve as it is.
import { cp, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [encoder, out] = process.argv.slice(2);
if (!encoder || !out) {
  console.error("node build_page.js ENCODER OUT: name the exported folder and the folder to write");
  process.exit(2);
}
const here = dirname(fileURLToPath(import.meta.url));
const about = JSON.parse(await readFile(join(encoder, "encoder.json"), "utf8"));
const copies = [
  ["page/index.html", "index.html"],
  ["page/page.js", "page.js"],
  ["encoder.js", "encoder.js"],
  ["node_modules/fflate/esm/browser.js", "fflate.js"],
  ...["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"].map((name) => [
    `node_modules/onnxruntime-web/dist/${name}`,
    `ort/${name}`,
  ]),
];
await mkdir(join(out, "ort"), { recursive: true });
for (const [from, to] of copies) await cp(join(here, from), join(out, to));
for (const name of ["encoder.json", about.example.file, about.variants.float32.file]) {
  await cp(join(encoder, name), join(out, "encoder", name));
}
console.log(`Wrote ${out}; serve it, for example: python3 -m http.server --directory ${out}`);
