// Drop an image in, see its nearest neighbours among the examples of the export. Nothing leaves the browser.
import { embed, exampleError, nearest, readExample } from "./encoder.js";
import { unzipSync } from "./fflate.js";
import * as ort from "./ort/ort.wasm.min.mjs";

const SHOWN = 5;
const LARGEST = 20_000_000; // pixels; larger images are shrunk, so that a phone has the memory for them
const byId = (id) => document.getElementById(id);
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that a plain web server does not send

async function load(name) {
  const answer = await fetch(`encoder/${name}`);
  if (!answer.ok) throw new Error(`encoder/${name} cannot be loaded (${answer.status})`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** The pixels of an image file: upright, transparency on white, red, green, blue. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const scale = Math.min(1, Math.sqrt(LARGEST / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return { pixels: data.filter((_, place) => place % 4 !== 3), shape: [1, height, width, 3] };
}

/** A picture of pixels with words under it. */
function figure(pixels, [height, width], words) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  for (let place = 0; place < width * height; place++) {
    image.data.set([...pixels.subarray(3 * place, 3 * place + 3), 255], 4 * place);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const caption = Object.assign(document.createElement("figcaption"), { textContent: words });
  const whole = document.createElement("figure");
  whole.append(canvas, caption);
  return whole;
}

function show({ pixels, shape }, ranking, images) {
  const size = images.shape.slice(1, 3);
  const bytes = size[0] * size[1] * 3;
  byId("query").replaceChildren(figure(pixels, shape.slice(1, 3), `${shape[2]} × ${shape[1]} px`));
  byId("neighbours").replaceChildren(
    ...ranking.slice(0, SHOWN).map(({ row, cosine }) => {
      const item = document.createElement("li");
      item.dataset.row = row;
      item.append(figure(images.data.subarray(row * bytes, (row + 1) * bytes), size, cosine.toFixed(4)));
      return item;
    }),
  );
  byId("result").hidden = false;
}

async function start() {
  const about = JSON.parse(new TextDecoder().decode(await load("encoder.json")));
  const example = readExample(await load(about.example.file), unzipSync);
  const session = await ort.InferenceSession.create(await load(about.variants.float32.file));
  const error = await exampleError(ort, session, example);
  if (!(error <= about.example.max_relative_error)) {
    throw new Error(`this browser repeats the example within ${error} only, so its embeddings cannot be trusted`);
  }
  byId("about").textContent =
    `${about.objective} on ${about.data}, ${about.dim} numbers for an image. ` +
    `This browser repeats the example within ${error.toExponential(1)}.`;

  const [{ images, embeddings }] = example;
  async function take(file) {
    byId("error").textContent = "";
    byId("result").hidden = true;
    try {
      const image = await decode(file);
      show(image, nearest(await embed(ort, session, image.pixels, image.shape), embeddings), images);
    } catch (problem) {
      byId("error").textContent = `${file.name} cannot be read as an image (${problem.message}).`;
    }
  }

  const [drop, input] = [byId("drop"), byId("drop").querySelector("input")];
  input.disabled = false;
  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }
}

start().catch((problem) => {
  byId("about").textContent = "The encoder cannot be used.";
  byId("error").textContent = problem.message;
});
