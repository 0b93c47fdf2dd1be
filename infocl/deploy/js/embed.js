// node embed.js ENCODER [IMAGE...]: one line of JSON for the example, and one for each image.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { unzipSync } from "fflate";
import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { embed, exampleError, nearest, readExample } from "./encoder.js";

/** The pixels of an image file: upright, transparency on white, red, green, blue. */
async function decode(path) {
  const image = sharp(path).autoOrient().flatten({ background: "white" }).toColourspace("srgb");
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new Error(`${path} has ${info.channels} channels`);
  return { pixels: new Uint8Array(data), shape: [1, info.height, info.width, 3] };
}

const [encoder, ...paths] = process.argv.slice(2);
if (!encoder) {
  console.error("node embed.js ENCODER [IMAGE...]: name the exported folder");
  process.exit(2);
}
const about = JSON.parse(await readFile(join(encoder, "encoder.json"), "utf8"));
const session = await ort.InferenceSession.create(join(encoder, about.variants.float32.file));
const example = readExample(new Uint8Array(await readFile(join(encoder, about.example.file))), unzipSync);

const error = await exampleError(ort, session, example);
console.log(JSON.stringify({ example: about.example.file, relative_error: error }));
if (!(error <= about.example.max_relative_error)) {
  console.error(`the example is repeated within ${error} only; ${about.example.max_relative_error} is allowed`);
  process.exit(1);
}
for (const path of paths) {
  const { pixels, shape } = await decode(path);
  const found = await embed(ort, session, pixels, shape);
  const [first] = nearest(found, example[0].embeddings);
  console.log(JSON.stringify({ path, nearest: first, embedding: Array.from(found.data) }));
}
