// usage: upload.mjs DIRECTORY URL FILE CHUNK
// Uploads a file with the tus-js-client that is installed in DIRECTORY, and goes on after each failure. CHUNK
// is the most bytes of one PATCH, or Infinity.

import { createReadStream } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const [directory, endpoint, file, chunk] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(directory), "node_modules", "x"));
const tus = require("tus-js-client");

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  chunkSize: Number(chunk),
  metadata: { filename: path.basename(file), filetype: "application/octet-stream" },
  retryDelays: Array(1000).fill(10),
  onError(error) {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess() {
    process.exit(0);
  },
});
upload.start();
