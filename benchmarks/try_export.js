// node try_export.js RUNTIME FOLDER: the error of each variant on the example, as try_export.py prints it.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { exampleError, readExample } from "./encoder.js";

const [runtime, folder] = process.argv.slice(2);
const ort = await import(runtime);
const about = JSON.parse(await readFile(join(folder, "encoder.json"), "utf8"));
const example = readExample(new Uint8Array(await readFile(join(folder, about.example.file))), unzipSync);
const { version } = JSON.parse(await readFile(join("node_modules", runtime, "package.json"), "utf8"));
const error = {};
for (const [variant, { file }] of Object.entries(about.variants)) {
  try {
    const session = await ort.InferenceSession.create(await readFile(join(folder, file)));
    error[variant] = await exampleError(ort, session, example);
  } catch (refused) {
    console.error(`${file}: ${refused}`);
    error[variant] = null;
  }
}
console.log(JSON.stringify({ runtime, version, numpy: "none", error }));
process.exit(0);
