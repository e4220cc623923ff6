// Runs a test binary of target wasm32-wasip1 under Node's V8, the engine that Envoy has; host functions of proxy-wasm
// are stubs. For measuring:
//   CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings tests/guards/run-wasm.mjs" \
//     cargo test --profile quick --lib --target wasm32-wasip1 guard::tests::speed -- --ignored --nocapture
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [file, ...args] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [file, ...args], env: {} });
const module = new WebAssembly.Module(readFileSync(file));
const imports = wasi.getImportObject();
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  imports[from] ??= {};
  imports[from][name] ??= () => 0;
}
const { memory, _start } = new WebAssembly.Instance(module, imports).exports;
// A module with both entry points: proxy-wasm's is for a host.
process.exitCode = wasi.start({ exports: { memory, _start } });
