// Builds the package with the tools of tests/node: `node js/build.mjs [FOLDER]`, after `npm ci --prefix tests/node`.
//
// FOLDER, js/dist by default, gets one minified module with a source map, declarations, and `standalone.js`, the module
// together with the package capnweb, for pages without a bundler. examples/browser/bowline-client.js is a copy of that.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const tools = join(folder, "../tests/node/node_modules");
const out = process.argv[2] ?? join(folder, "dist");
const { build } = createRequire(join(tools, "esbuild/package.json"))("esbuild");

const options = { bundle: true, format: "esm", target: "es2022", absWorkingDir: folder, minify: true, legalComments: "none" };
await build({ ...options, entryPoints: ["src/index.ts"], external: ["capnweb"], sourcemap: true, outfile: join(out, "index.js") });
await build({
  ...options,
  stdin: { contents: 'export * from "./src/index.ts"; export * from "capnweb";', resolveDir: folder },
  alias: { capnweb: join(tools, "capnweb/dist/index.js") },
  banner: { js: "// bowline-client (MIT OR Apache-2.0) and capnweb (Copyright (c) 2025 Cloudflare, Inc., MIT)" },
  outfile: join(out, "standalone.js"),
});
execFileSync(process.execPath, [join(tools, "typescript/bin/tsc"), "-p", folder, "--outDir", out], { stdio: "inherit" });
