// What stands in a frame until its thumbnail has come: a ThumbHash (evanw.github.io/thumbhash), drawn as small as it is known.
const SIDE = 32;

// The colour at each place is a sum of cosines: of the light (l), yellow against blue (p) and red against green (q), each with
// its mean, and factors of four bits for its lower frequencies.
function placeholder({image, thumbnail}) {
  const hash = Uint8Array.from(atob(image.placeholder), byte => byte.charCodeAt(0)), {width, height} = thumbnail;
  const head = hash[0] | hash[1] << 8 | hash[2] << 16, more = hash[3] | hash[4] << 8, wide = more >> 15, alpha = head >> 23;
  const long = alpha ? 5 : 7, short = Math.max(3, more & 7);
  let nibble = (alpha ? 6 : 5) * 2;
  const channel = (mean, scale, nx, ny) => {
    const terms = [];
    for (let y = 0; y < ny; y++) for (let x = y ? 0 : 1; x * ny < nx * (ny - y); x++) {
      const factor = (hash[nibble >> 1] >> (nibble++ & 1) * 4 & 15) / 7.5 - 1;
      terms.push([x, y, 2 * factor * scale]);
    }
    return (u, v) => terms.reduce((sum, [x, y, factor]) => sum + factor * Math.cos(Math.PI * u * x) * Math.cos(Math.PI * v * y), mean);
  };
  const light = channel((head & 63) / 63, (head >> 18 & 31) / 31, wide ? long : short, wide ? short : long);
  const yellow = channel((head >> 6 & 63) / 31.5 - 1, (more >> 3 & 63) / 63 * 1.25, 3, 3);
  const red = channel((head >> 12 & 63) / 31.5 - 1, (more >> 9 & 63) / 63 * 1.25, 3, 3);
  const canvas = make("canvas", {width: Math.ceil(SIDE * Math.min(1, width / height)), height: Math.ceil(SIDE * Math.min(1, height / width)), ariaHidden: "true"});
  const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, at = 0; y < canvas.height; y++) for (let x = 0; x < canvas.width; x++) {
    const place = [(x + .5) / canvas.width, (y + .5) / canvas.height], l = light(...place), p = yellow(...place), q = red(...place);
    const b = l - 2 / 3 * p, r = (3 * l - b + q) / 2;
    for (const part of [r, r - q, b, 1]) pixels.data[at++] = 255 * part;
  }
  context.putImageData(pixels, 0, 0);
  Object.assign(canvas.style, {width: `${width}px`, aspectRatio: `${width} / ${height}`});
  return canvas;
}
