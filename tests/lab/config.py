"""The configurations we ship, turned towards mock providers: what is tested is what is shipped.

Changed are only addresses (ports, clusters, the access log's file, the module's path) and what a test says about the
policy.
"""

import copy
import hashlib
import json
import os
import subprocess
from itertools import combinations
from pathlib import Path

import yaml

from .process import ROOT, tool
from .waiting import PROGRAM_S

#: Secrets of the laboratory; no log, metric or record may ever show one.
SECRETS = {
    "OPENAI_API_KEY": "sk-openai-lab-7f3a9c",
    "ANTHROPIC_API_KEY": "sk-ant-lab-51be02",
    "BACKUP_API_KEY": "sk-backup-lab-88d1e4",
    "GEMINI_API_KEY": "AIza-gemini-lab-2c90ab",
    "AZURE_API_KEY": "azure-lab-77e5f0",
    "SPILLWAY_HASH_KEY": "lab-hash-key-0b6f",
}
CALLERS = ("alice", "bob", "carol")


def caller_key(name):
    """The API key that a caller of the laboratory presents."""
    return f"key-of-{name}-3e81"


def environment():
    """What Envoy's process needs for the policies we ship."""
    digests = (f"{name}={hashlib.sha256(caller_key(name).encode()).hexdigest()}" for name in CALLERS)
    return {**SECRETS, "CALLER_KEYS": "\n".join(digests)}


def module():
    """The module under test: SPILLWAY_MODULE, or what `./build.sh build` makes."""
    return str(Path(os.environ.get("SPILLWAY_MODULE", ROOT / "dist/spillway.wasm")).resolve())


def lean_module():
    """The module without the schema engine: SPILLWAY_LEAN, or what `./build.sh build` makes."""
    return str(Path(os.environ.get("SPILLWAY_LEAN", ROOT / "dist/spillway-lean.wasm")).resolve())


def merged(base, patch):
    """`base` with `patch` laid over it: objects key by key, `None` takes a key away, anything else replaces."""
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return copy.deepcopy(patch)
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def render(file, mocks, directory, policy=None):
    """The configuration of `envoy/FILE` with its clusters led to `mocks` (cluster name → port).

    Clusters that the file doesn't have are added, so that a policy can name further providers. A file of `envoy/istio` is
    put through what istiod does with it; with SPILLWAY_THROUGH=istio, so is every other file's policy.
    """
    if file.startswith("istio/") or os.environ.get("SPILLWAY_THROUGH") == "istio":
        return _through_istio(file, mocks, directory, policy or {})
    config = yaml.safe_load((ROOT / "envoy" / file).read_text())
    (listener,) = config["static_resources"]["listeners"]
    listener["address"]["socket_address"]["port_value"] = 0
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    _log_to_file(manager(config), Path(directory) / "access.log")
    plugin = wasm_plugin(config)
    plugin["vm_config"]["code"]["local"]["filename"] = module()
    plugin["vm_config"]["environment_variables"]["host_env_keys"] = sorted(environment())
    plugin["configuration"]["value"] = merged(plugin["configuration"]["value"], policy or {})
    _back_off(config, plugin["configuration"]["value"])
    clusters = config["static_resources"]["clusters"]
    orders = [cluster for cluster in clusters if "+" in cluster["name"]]
    plain = [_at(clusters[0], name, port) for name, port in mocks.items()]
    config["static_resources"]["clusters"] = plain + _orders(orders, plugin["configuration"], mocks)
    return config


def _through_istio(file, mocks, directory, patch):
    """What a mesh's proxy would run: the manifests, translated, their clusters led to `mocks`."""
    from . import istio
    source = ROOT / "envoy" / file
    if file.startswith("istio/"):
        documents = list(yaml.safe_load_all(source.read_text()))
        (command,) = [line for line in source.read_text().splitlines() if line.startswith("#   spillway render ")]
        own, *options = command.split()[3:]
        base = yaml.safe_load((ROOT / own).read_text())
    else:
        base, options = wasm_plugin(yaml.safe_load(source.read_text()))["configuration"]["value"], ["--istio"]
        documents = None
    policy = merged(base, patch)
    if documents is None or policy != base:
        documents = manifests(policy, options, directory)
    config = istio.bootstrap(documents, directory, module())
    _use_module(config)
    return _led(config, policy, mocks)


def manifests(policy, options, directory):
    """What `spillway render` writes of a policy."""
    path = Path(directory) / "policy.json"
    path.write_text(json.dumps(policy))
    bare = {name: value for name, value in os.environ.items() if name not in environment()}
    done = subprocess.run([tool("spillway", "SPILLWAY_TOOL", "debug"), "render", path, *options], env=bare, cwd=ROOT,
                          capture_output=True, text=True, check=False, timeout=PROGRAM_S)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _use_module(node):
    """Every module of a configuration is the one under test."""
    if isinstance(node, list):
        for one in node:
            _use_module(one)
    elif isinstance(node, dict):
        if "vm_config" in node:
            node["vm_config"]["code"]["local"]["filename"] = module()
        for one in node.values():
            _use_module(one)


def _led(config, policy, mocks):
    """Each provider's cluster, plain and led to the provider's mock; others that have addresses are led nowhere."""
    owners = {provider["cluster"]: name for name, provider in policy["providers"].items()}
    for cluster in config["static_resources"]["clusters"]:
        if "load_assignment" not in cluster:
            continue
        owner = owners.get(cluster["name"], cluster["name"].removeprefix("spillway+"))
        port = mocks.get(owner, mocks.get(cluster["name"], 9))
        cluster.pop("transport_socket", None)
        cluster.pop("dns_lookup_family", None)
        for options in cluster.get("typed_extension_protocol_options", {}).values():
            if options.pop("auto_config", None) is not None:
                options["explicit_http_config"] = {"http_protocol_options": {}}
        (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
        cluster["type"] = "STATIC"
    return config
def _back_off(config, policy):
    """The route's waits between attempts at one provider are the policy's, as rendering would write them."""
    for route in manager(config)["route_config"]["virtual_hosts"][0]["routes"]:
        given = policy.get("failover", {}).get("backoff", {})
        if route["name"] == "repeat" and given:
            waits = route["route"]["retry_policy"]["retry_back_off"]
            waits.update({f"{name}_interval": _seconds(span) for name, span in given.items()})


def _seconds(span):
    """`250ms` as Envoy has it: `0.25s`."""
    return f"{float(span.removesuffix('ms')) / 1000}s" if span.endswith("ms") else span


def _orders(models, policy, mocks):
    """A cluster for each order of candidates that the policy's chains allow, like those of the file."""
    if not models:
        return []
    several, alone = (next(c for c in models if (c["name"].count("+") > 1) == more) for more in (True, False))
    chains = [[hop.split("/")[0] for hop in entry["chain"]] for entry in policy["value"]["models"].values()]
    orders = {order for chain in chains for order in _subsets(chain)}
    # A drill puts a chain's first second.
    orders |= {(order[0], chain[0], *order[1:]) for chain in chains for order in _subsets(chain[1:])}
    return [_order(alone if len(order) == 1 else several, order, policy, mocks) for order in sorted(orders)]


def _subsets(chain):
    return [order for n in range(1, len(chain) + 1) for order in combinations(chain, n)]


def _order(model, order, policy, mocks):
    cluster = copy.deepcopy(model)
    cluster["name"] = "+".join(("spillway", *order))
    (options,) = cluster["typed_extension_protocol_options"].values()
    _speak_plainly(options)
    plugin = options["http_filters"][0]["typed_config"]["config"]
    plugin["vm_config"]["code"]["local"]["filename"] = module()
    plugin["vm_config"]["environment_variables"]["host_env_keys"] = sorted(environment())
    plugin["configuration"] = policy
    of = {name: provider["cluster"] for name, provider in policy["value"]["providers"].items()}
    if "cluster_type" in cluster:
        cluster["cluster_type"]["typed_config"]["clusters"] = [{"name": of[name]} for name in order]
        return cluster
    endpoints = [{"priority": place, **_endpoint(mocks[of[name]], name)} for place, name in enumerate(order)]
    for tls in ("transport_socket", "transport_socket_matches"):
        cluster.pop(tls, None)
    return {**cluster, "type": "STATIC", "load_assignment": {"cluster_name": cluster["name"], "endpoints": endpoints}}


def _speak_plainly(options):
    """HTTP/1.1 to a mock, which has no TLS."""
    options.pop("auto_config", None)
    options["explicit_http_config"] = {"http_protocol_options": {}}


def manager(config):
    """The HTTP connection manager of a configuration."""
    (listener,) = config["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def wasm_plugin(config):
    """The plugin's part of a configuration."""
    filters = {entry["name"]: entry for entry in manager(config)["http_filters"]}
    return filters["spillway"]["typed_config"]["config"]


def _log_to_file(manager, path):
    (log,) = manager["access_log"]
    log["name"] = "envoy.access_loggers.file"
    log["typed_config"]["@type"] = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    log["typed_config"]["path"] = str(path)


def _at(model, name, port):
    """A cluster like `model` with one plain endpoint on loopback."""
    plain = ("transport_socket", "transport_socket_matches")
    cluster = {key: copy.deepcopy(value) for key, value in model.items() if key not in plain}
    options = cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    options.pop("http_filters", None)
    _speak_plainly(options)
    return {**cluster, "name": name, "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [_endpoint(port, name)]}}


def _endpoint(port, provider):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    metadata = {"filter_metadata": {"spillway": {"provider": provider}}}
    return {"lb_endpoints": [{"endpoint": {"address": address}, "metadata": metadata}]}
