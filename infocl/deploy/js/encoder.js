// What Node.js and the page share: reading the example, comparing embeddings. Runs in both.

/** An array of a .npy file: its shape, and its numbers in row-major order (uint8 or float32, nothing else). */
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = view.getUint8(6) === 1 ? 10 : 12;
  const length = start === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + length));
  const [, type] = header.match(/'descr': '(\|u1|<f4)'/) ?? [];
  const [, sizes] = header.match(/'fortran_order': False, 'shape': \(([^)]*)\)/) ?? [];
  if (!type || sizes === undefined) throw new Error(`an array of this kind is not expected: ${header.trim()}`);
  const shape = sizes.split(",").filter((size) => size.trim()).map(Number);
  const body = bytes.slice(start + length);
  return { shape, data: type === "|u1" ? body : new Float32Array(body.buffer) };
}

/** The example of an export, by size of image, the trained one first: images uint8 (N, H, W, 3), embeddings float32 (N, D). */
export function readExample(npz, unzip) {
  const files = unzip(npz);
  const names = Object.keys(files).filter((name) => name.startsWith("images"));
  return names.sort((one, two) => one.length - two.length).map((name) => ({
    images: readNpy(files[name]),
    embeddings: readNpy(files[name.replace("images", "embeddings")]),
  }));
}

/** Embeddings (N, D) of images of one size: `pixels` holds N x H x W x 3 bytes, red, green, blue. */
export async function embed(ort, session, pixels, shape) {
  const { embedding } = await session.run({ image: new ort.Tensor("uint8", pixels, shape) });
  return { shape: embedding.dims, data: embedding.data };
}

/** The largest relative L2 error of an embedding of the example. */
export async function exampleError(ort, session, example) {
  const errors = [];
  for (const { images, embeddings } of example) {
    errors.push(relativeError(await embed(ort, session, images.data, images.shape), embeddings));
  }
  return Math.max(...errors);
}

const norm = (vector) => Math.hypot(...vector);
const row = ({ shape, data }, index) => data.subarray(index * shape[1], (index + 1) * shape[1]);

/** The largest relative L2 error of a row. */
export function relativeError(found, expected) {
  if (String(found.shape) !== String(expected.shape)) throw new Error(`${found.shape} is not ${expected.shape}`);
  const errors = Array.from({ length: expected.shape[0] }, (_, index) => {
    const [here, there] = [row(found, index), row(expected, index)];
    return norm(here.map((value, place) => value - there[place])) / norm(there);
  });
  return errors.every(Number.isFinite) ? Math.max(...errors) : Infinity;
}

/** Rows by falling cosine to the first row of `found`: [{ row, cosine }, ...]. */
export function nearest(found, embeddings) {
  const query = row(found, 0);
  return Array.from({ length: embeddings.shape[0] }, (_, index) => {
    const other = row(embeddings, index);
    const product = query.reduce((sum, value, place) => sum + value * other[place], 0);
    return { row: index, cosine: product / (norm(query) * norm(other)) };
  }).sort((one, two) => two.cosine - one.cosine);
}
