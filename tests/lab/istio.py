"""What istiod and its agent make of our manifests, as a bootstrap for a plain Envoy.

Only what our manifests use is known, and everything else is refused: a field that isn't understood here fails the test
instead of going unseen. Each rule is that of Istio's reference and of istiod's source (1.29, 1.30), with the names that
istiod gives. Istio's own filters aren't in a plain Envoy; what one of them adds to a request (`x-envoy-peer-metadata`) is
added by a filter of Envoy's.
"""

import copy
import json
from pathlib import Path

import yaml

TYPE = "type.googleapis.com/"
ROUTER = "envoy.filters.http.router"
MANAGER = "envoy.filters.network.http_connection_manager"
#: Where the proxy is, and the context of the patches that reach it.
CONTEXTS = {"gateway": "GATEWAY", "sidecar": "SIDECAR_OUTBOUND", "waypoint": "WAYPOINT"}


class Unknown(ValueError):
    """A manifest says something that this translation doesn't know."""


def taken(where, document, *known):
    """The members of a map, in the order of `known`; none for those that aren't there."""
    unknown = set(document) - set(known)
    if unknown:
        raise Unknown(f"{where}: {', '.join(sorted(unknown))}")
    return [document.get(name) for name in known]


def bootstrap(documents, directory, module):
    """The bootstrap of a proxy that all of `documents` select; `module` is what the agent has fetched for any URL."""
    by_kind = {}
    for document in documents:
        api, kind, meta, spec, data = taken("a manifest", document, "apiVersion", "kind", "metadata", "spec", "data")
        if (kind, api) not in KINDS:
            raise Unknown(f"{api} {kind}")
        taken(kind, meta, "name", "namespace", "labels")
        by_kind.setdefault(kind, []).append((meta, spec if data is None else data))
    plugins = [_plugin(kind, *one) for kind in ("WasmPlugin", "TrafficExtension") for one in by_kind.get(kind, [])]
    place = _place(by_kind)
    filters = [_discovered(name, config, directory, module) for name, config in plugins]
    config = _proxy(place, filters, Path(directory))
    for _, data in by_kind.get("ConfigMap", []):
        config.update(yaml.safe_load(*taken("ConfigMap", data, "custom_bootstrap.json")))
    config["static_resources"]["clusters"] = _clusters(by_kind)
    _manager(config)["route_config"]["virtual_hosts"] = _virtual_hosts(by_kind)
    for _, spec in by_kind.get("EnvoyFilter", []):
        _patch_all(config, spec, CONTEXTS[place])
    config["static_resources"]["clusters"] += _asked(config)
    return config


KINDS = {
    ("WasmPlugin", "extensions.istio.io/v1alpha1"), ("TrafficExtension", "extensions.istio.io/v1alpha1"),
    ("EnvoyFilter", "networking.istio.io/v1alpha3"), ("VirtualService", "networking.istio.io/v1"),
    ("ServiceEntry", "networking.istio.io/v1"), ("DestinationRule", "networking.istio.io/v1"),
    ("HTTPRoute", "gateway.networking.k8s.io/v1"), ("ConfigMap", "v1"),
}


def _place(by_kind):
    if "HTTPRoute" in by_kind:
        return "waypoint"
    (_, service), = by_kind["VirtualService"]
    return "sidecar" if service["gateways"] == ["mesh"] else "gateway"


# ── The proxy as istiod sets it up ─────────────────────────────────────────────────────────────────────────────────


def _proxy(place, plugins, directory):
    manager = {
        "@type": TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "llm", "server_name": "istio-envoy", "use_remote_address": place == "gateway",
        "normalize_path": True, "stream_idle_timeout": "0s", "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "forward_client_cert_details": "SANITIZE_SET", "set_current_client_cert_details": {"subject": True},
        "access_log": [_access_log(directory)],
        "http_filters": [_peer_metadata(), *plugins,
                         {"name": ROUTER, "typed_config": {"@type": TYPE + "envoy.extensions.filters.http.router.v3.Router"}}],
        "route_config": {"name": "http.8080", "validate_clusters": False, "virtual_hosts": []},
    }
    listener = {"name": "0.0.0.0_8080", "address": _socket(0),
                "traffic_direction": "INBOUND" if place == "waypoint" else "OUTBOUND",
                "filter_chains": [{"filters": [{"name": MANAGER, "typed_config": manager}]}]}
    return {"node": {"id": "lab", "cluster": "lab"}, "admin": {"address": _socket(0)},
            "stats_flush_on_admin": True,
            "static_resources": {"listeners": [listener], "clusters": []}}


def _socket(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _access_log(directory):
    fields = {"code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%", "cluster": "%UPSTREAM_CLUSTER%",
              "path": "%PATH(NQ)%", "method": "%REQ(:METHOD)%", "flags": "%RESPONSE_FLAGS%",
              "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "spillway": "%FILTER_STATE(wasm.spillway.record:PLAIN)%"}
    return {"name": "envoy.access_loggers.file", "typed_config": {
        "@type": TYPE + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(directory / "access.log"), "log_format": {"json_format": fields}}}


def _peer_metadata():
    add = [{"append": {"header": {"key": name, "value": "lab"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
           for name in ("x-envoy-peer-metadata", "x-envoy-peer-metadata-id", "x-envoy-decorator-operation")]
    return {"name": "istio.metadata_exchange", "typed_config": {
        "@type": TYPE + "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        "mutations": {"request_mutations": add}}}


def _manager(config):
    (listener,) = config["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    return chain["filters"][0]["typed_config"]


# ── WasmPlugin and TrafficExtension ────────────────────────────────────────────────────────────────────────────────


def _plugin(kind, meta, spec):
    """Its name and what the extension-config server sends for it: no `vm_id`, no flag, the policy as JSON text."""
    if kind == "TrafficExtension":
        selector, targets, match, wasm = taken(kind, spec, "selector", "targetRefs", "match", "wasm")
        url, strategy, vm, policy = taken(kind, wasm, "url", "failStrategy", "vmConfig", "pluginConfig")
    else:
        selector, targets, match, url, strategy, vm, policy = taken(
            kind, spec, "selector", "targetRefs", "match", "url", "failStrategy", "vmConfig", "pluginConfig")
    if (selector is None) == (targets is None) or match not in (None, [{"mode": "CLIENT"}]):
        raise Unknown(f"{kind}: one of selector and targetRefs")
    env = taken(kind, vm, "env")[0]
    for one in env:
        if taken(kind, one, "name", "valueFrom")[1] != "HOST":
            raise Unknown(f"{kind}: {one}")
    scheme = url.partition("://")[0]
    if scheme not in ("oci", "http", "https", "file"):
        raise Unknown(f"{kind}: url {url}")
    if strategy not in ("FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"):
        raise Unknown(f"{kind}: failStrategy {strategy}")
    config = {
        "name": f"{meta['namespace']}.{meta['name']}", "root_id": "",
        "failure_policy": {"FAIL_CLOSE": "FAIL_CLOSED"}.get(strategy, strategy),
        "configuration": {"@type": TYPE + "google.protobuf.StringValue", "value": json.dumps(policy)},
        "vm_config": {"runtime": "envoy.wasm.runtime.v8",
                      "environment_variables": {"host_env_keys": [one["name"] for one in env]}},
    }
    return config["name"], config


def _discovered(name, config, directory, module):
    """The filter, whose configuration comes by extension-config discovery, as from istiod; here out of a file."""
    config["vm_config"]["code"] = {"local": {"filename": module}}
    source = Path(directory) / f"{name}.json"
    source.write_text(discovery(name, config))
    return {"name": name, "config_discovery": {
        "config_source": {"path_config_source": {"path": str(source)}, "initial_fetch_timeout": "0s"},
        "type_urls": [TYPE + "envoy.extensions.filters.http.wasm.v3.Wasm"]}}


def discovery(name, config, version="1"):
    """An answer of extension-config discovery."""
    wasm = {"@type": TYPE + "envoy.extensions.filters.http.wasm.v3.Wasm", "config": config}
    return json.dumps({"version_info": version, "resources": [
        {"@type": TYPE + "envoy.config.core.v3.TypedExtensionConfig", "name": name, "typed_config": wasm}]})


# ── Hosts and routes ───────────────────────────────────────────────────────────────────────────────────────────────


def _virtual_hosts(by_kind):
    hosts = [_virtual_service(*one) for one in by_kind.get("VirtualService", [])]
    return hosts + [_http_route(*one) for one in by_kind.get("HTTPRoute", [])]


def _virtual_host(name, routes):
    # Any name will do for a test's client.
    return {"name": f"{name}:80", "domains": ["*"], "include_request_attempt_count": True, "routes": routes}


def _virtual_service(_, spec):
    (host,), gateways, entries = taken("VirtualService", spec, "hosts", "gateways", "http")
    if host == "*" and gateways == ["mesh"]:
        raise Unknown("VirtualService: a host of the mesh can't be *")
    return _virtual_host(host, [_virtual_route(entry) for entry in entries])


def _virtual_route(entry):
    name, match, headers, route, retries, direct = taken(
        "http", entry, "name", "match", "headers", "route", "retries", "directResponse")
    found = {"name": name, "match": {"prefix": "/"}}
    if match:
        (one,) = match
        (wanted,) = taken("match", one, "headers")
        found["match"]["headers"] = [_header(key, *taken("headers", value, "exact")) for key, value in wanted.items()]
    if headers:
        (request,) = taken("headers", headers, "request")
        found["request_headers_to_remove"], = taken("request", request, "remove")
    if direct:
        status, body = taken("directResponse", direct, "status", "body")
        found["direct_response"] = {"status": status, "body": {"inline_string": taken("body", body, "string")[0]}}
        return found
    (one,) = route
    host, port = taken("destination", taken("route", one, "destination")[0], "host", "port")
    attempts, on = taken("retries", retries, "attempts", "retryOn") if retries else (2, ISTIO_RETRIES)
    found["route"] = _to(host, taken("port", port, "number")[0], attempts, on)
    return found


ISTIO_RETRIES = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


def _to(host, port, attempts, on):
    retry = {"retry_on": on, "num_retries": attempts, "host_selection_retry_max_attempts": "5",
             "retriable_status_codes": [503] if "retriable" in on else []}
    return {"cluster": f"outbound|{port}||{host}", "timeout": "0s", "retry_policy": retry}


def _header(name, value):
    return {"name": name, "string_match": {"exact": value}}


def _http_route(_, spec):
    parents, rules = taken("HTTPRoute", spec, "parentRefs", "rules")
    (parent,) = parents
    return _virtual_host(parent["name"], [_http_rule(rule) for rule in rules])


def _http_rule(rule):
    matches, filters, backends = taken("rule", rule, "matches", "filters", "backendRefs")
    (match,), (one,), (backend,) = matches, filters, backends
    (headers,) = taken("matches", match, "headers")
    kind, modifier = taken("filters", one, "type", "requestHeaderModifier")
    remove, = taken(kind, modifier, "remove")
    if kind != "RequestHeaderModifier" or len(remove) > 16:
        raise Unknown(f"{kind}: {len(remove)} headers")
    group, kind, host, port = taken("backendRefs", backend, "group", "kind", "name", "port")
    if (group, kind) != ("networking.istio.io", "Hostname"):
        raise Unknown(f"backendRefs: {group} {kind}")
    return {"match": {"prefix": "/", "headers": [_header(*taken("headers", h, "name", "value")) for h in headers]},
            "request_headers_to_remove": remove, "route": _to(host, port, 2, ISTIO_RETRIES)}


# ── Clusters ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _clusters(by_kind):
    rules = {spec["host"]: spec for _, spec in by_kind.get("DestinationRule", [])}
    entries = by_kind.get("ServiceEntry", [])
    found = [_cluster(spec, rules.get(spec["hosts"][0])) for _, spec in entries]
    # A rule without an entry is for a service that the mesh has anyway.
    known = {spec["hosts"][0] for _, spec in entries}
    return found + [_cluster({"hosts": [host], "resolution": "DNS", "ports": [{"number": 8000, "protocol": "HTTP"}]}, rule)
                    for host, rule in rules.items() if host not in known]


def _cluster(entry, rule):
    hosts, _, resolution, ports, endpoints = taken(
        "ServiceEntry", entry, "hosts", "location", "resolution", "ports", "endpoints")
    (host,), (port,) = hosts, ports
    number, _, protocol, target = taken("ports", port, "number", "name", "protocol", "targetPort")
    if (resolution, protocol) != ("DNS", "HTTP"):
        raise Unknown(f"ServiceEntry: {resolution} {protocol}")
    address = endpoints[0]["address"] if endpoints else host
    name = f"outbound|{number}||{host}"
    endpoint = {"address": {"socket_address": {"address": address, "port_value": target or number}}}
    cluster = {"name": name, "type": "STRICT_DNS", "connect_timeout": "10s",
               "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}}
    return {**cluster, **(_traffic_policy(rule) if rule else {})}


def _traffic_policy(rule):
    _, policy = taken("DestinationRule", rule, "host", "trafficPolicy")
    tls, pool = taken("trafficPolicy", policy, "tls", "connectionPool")
    tcp, http = taken("connectionPool", pool, "tcp", "http")
    connections, timeout = taken("tcp", tcp, "maxConnections", "connectTimeout")
    pending, requests, retries = taken("http", http, "http1MaxPendingRequests", "http2MaxRequests", "maxRetries")
    found = {"connect_timeout": timeout, "circuit_breakers": {"thresholds": [{
        "max_connections": connections, "max_pending_requests": pending, "max_requests": requests,
        "max_retries": retries}]}}
    if tls:
        mode, sni, names, roots = taken("tls", tls, "mode", "sni", "subjectAltNames", "caCertificates")
        if (mode, roots) != ("SIMPLE", "system"):
            raise Unknown(f"tls: {mode} {roots}")
        validation = {"trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"},
                      "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": n}} for n in names]}
        found["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": sni,
            "common_tls_context": {"validation_context": validation}}}
    return found


# ── EnvoyFilter ────────────────────────────────────────────────────────────────────────────────────────────────────


def _patch_all(config, spec, context):
    selector, patches = taken("EnvoyFilter", spec, "workloadSelector", "configPatches")
    taken("workloadSelector", selector, "labels")
    reached = 0
    for patch in patches:
        to, match, change = taken("configPatches", patch, "applyTo", "match", "patch")
        wanted, listener = taken("match", match, "context", "listener")
        operation, value = taken("patch", change, "operation", "value")
        if wanted not in CONTEXTS.values():
            raise Unknown(f"context {wanted}")
        if wanted == context:
            reached += 1
            PATCHES[to, operation](config, listener, copy.deepcopy(value))
    if not reached:
        raise Unknown(f"EnvoyFilter: no patch is for {context}")


def _merge_listener(config, listener, value):
    if listener:
        raise Unknown("LISTENER with a match")
    (found,) = config["static_resources"]["listeners"]
    found.update(value)


def _insert_filter(config, listener, value):
    wanted = {"filterChain": {"filter": {"name": MANAGER, "subFilter": {"name": ROUTER}}}}
    if listener != wanted:
        raise Unknown(f"HTTP_FILTER: {listener}")
    filters = _manager(config)["http_filters"]
    filters.insert([one["name"] for one in filters].index(ROUTER), value)


def _asked(config):
    """The mesh's own services that filters ask by gRPC: their ports are called grpc, so istiod's clusters speak HTTP/2."""
    names = [f["typed_config"]["rate_limit_service"]["grpc_service"]["envoy_grpc"]["cluster_name"]
             for f in _manager(config)["http_filters"] if f["name"] == "envoy.filters.http.ratelimit"]
    return [_mesh_service(name) for name in names if name.startswith("outbound|")]


def _mesh_service(name):
    _, port, _, host = name.split("|")
    endpoint = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"name": name, "type": "STRICT_DNS", "connect_timeout": "10s",
            "typed_extension_protocol_options": {options: {
                "@type": TYPE + options, "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}}


def _insert_route(config, listener, value):
    if listener:
        raise Unknown("HTTP_ROUTE with a listener")
    for host in _manager(config)["route_config"]["virtual_hosts"]:
        host["routes"].insert(0, value)


def _add_cluster(config, listener, value):
    if listener:
        raise Unknown("CLUSTER with a listener")
    config["static_resources"]["clusters"].append(value)


PATCHES = {
    ("LISTENER", "MERGE"): _merge_listener, ("HTTP_FILTER", "INSERT_BEFORE"): _insert_filter,
    ("HTTP_ROUTE", "INSERT_FIRST"): _insert_route, ("CLUSTER", "ADD"): _add_cluster,
}
