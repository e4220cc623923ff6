// Holds manifests to Istio's own resource definitions (1.29), as the packages of @kubernetes-models have them compiled.
//
//   node crds.mjs FILE.json…     each a list of manifests; prints what is wrong, a line each, and exits with 1
//
// The compiled definitions let unknown fields through. They do look at each field that they know, though; so a field that
// a definition hasn't looked at, beside one that it has, is one that it doesn't know. Where it looks at none
// (`pluginConfig`, a patch's `value`), anything may stand.

import { readFileSync } from "node:fs";

const GROUPS = ["extensions.istio.io/v1alpha1", "networking.istio.io/v1", "networking.istio.io/v1alpha3",
  "gateway.networking.k8s.io/v1"];
const PACKAGES = { "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api" };

/** The document as it would be, except that it notes in `seen` which members anybody looks at. */
function watched(value, path, seen) {
  if (typeof value !== "object" || value === null) return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "string" && !Array.isArray(target)) look(seen, path, key);
      return watched(target[key], `${path}.${String(key)}`, seen);
    },
  });
}

function look(seen, path, key) {
  if (!seen.has(path)) seen.set(path, new Set());
  seen.get(path).add(key);
}

/** The paths of members that nobody looked at, though somebody looked at their siblings. */
function unlooked(value, path, seen) {
  if (typeof value !== "object" || value === null) return [];
  const known = seen.get(path);
  return Object.keys(value).flatMap((key) => {
    const below = `${path}.${key}`;
    if (!Array.isArray(value) && known && !known.has(key)) return [below];
    if (!Array.isArray(value) && !known) return [];
    return unlooked(value[key], below, seen);
  });
}

async function wrong(document) {
  const { apiVersion, kind } = document;
  if (!GROUPS.includes(apiVersion)) return [`${apiVersion} ${kind}: no definition`];
  const models = await import(`${PACKAGES[apiVersion] ?? "@kubernetes-models/istio"}/${apiVersion}`);
  if (!models[kind]) return [`${apiVersion} ${kind}: no definition`];
  const { metadata, spec, ...more } = document;
  const seen = new Map();
  // A model takes a copy of what it is given.
  const model = Object.assign(new models[kind](), { metadata: watched(metadata, "metadata", seen), spec: watched(spec, "spec", seen) });
  const name = `${kind} ${metadata.name}`;
  try {
    model.validate();
  } catch (error) {
    return [`${name}: ${error.message}`];
  }
  const unknown = Object.keys(more).filter((key) => !["apiVersion", "kind"].includes(key));
  unknown.push(...unlooked(metadata, "metadata", seen), ...unlooked(spec, "spec", seen));
  return unknown.map((path) => `${name}: ${path} is unknown`);
}

const findings = [];
for (const file of process.argv.slice(2)) {
  for (const document of JSON.parse(readFileSync(file, "utf8"))) {
    findings.push(...(await wrong(document)).map((line) => `${file}: ${line}`));
  }
}
findings.forEach((line) => console.log(line));
process.exitCode = findings.length ? 1 : 0;
