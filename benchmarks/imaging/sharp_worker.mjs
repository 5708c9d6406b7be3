// sharp in a process of its own, one thread; the protocol is that of worker.py.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// Resolved from the folder that is given: sharp is installed beside the benchmark, not into the project.
const sharp = createRequire(`${process.argv[2]}/`)("sharp");
sharp.concurrency(1);
sharp.cache(false);

// Its default is 4:2:0 below quality 90, and 4:4:4 from there on.
const chroma = process.argv[3] === "sharp-444" ? { chromaSubsampling: "4:4:4" } : {};

async function thumbnail(content, { width, height, fit, quality }) {
  return sharp(content)
    .autoOrient()
    .resize(width, height, { fit: fit === "cover" ? "cover" : "inside", withoutEnlargement: true })
    .flatten({ background: "#ffffff" })
    .jpeg({ quality, ...chroma })
    .toBuffer();
}

async function answer(request) {
  const content = await readFile(request.path);
  let made;
  const start = process.hrtime.bigint();
  const cpuStart = process.cpuUsage();
  for (let done = 0; done < request.repeat; done += 1) {
    made = await thumbnail(content, request);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9 / request.repeat;
  const cpu = process.cpuUsage(cpuStart);
  const cpuSeconds = (cpu.user + cpu.system) / 1e6 / request.repeat;
  return { seconds, cpu_seconds: cpuSeconds, thumbnail: made.toString("base64") };
}

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify(await answer(JSON.parse(line))));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message) }));
  }
}
