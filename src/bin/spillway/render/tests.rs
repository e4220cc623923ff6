//! The files in `envoy/` are what their first lines say, and every rendering reads as it should.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::options::Options;
use super::{Rendered, rendered};
use crate::agree::{Held, disagreements};
use crate::source;
use crate::variables::Variables;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn render(command: &str, text: &str) -> Result<Rendered, String> {
    let words = command.split_whitespace().skip(2).map(str::to_owned);
    let arguments: Vec<String> = words.collect();
    rendered(&Options::of(&arguments)?, text)
}

/// The command in a file's head.
fn command(text: &str) -> Option<&str> {
    let mut head = text.lines().take_while(|line| line.starts_with('#'));
    head.find_map(|line| {
        line.trim_start_matches(['#', ' '])
            .strip_prefix("spillway render ")
    })
}

fn shipped() -> Vec<PathBuf> {
    let within = |folder: &str| std::fs::read_dir(root().join(folder)).unwrap();
    let files = ["envoy", "envoy/istio", "envoy/fleet"]
        .into_iter()
        .flat_map(within);
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn the_files_in_envoy_are_rendered() {
    let files = shipped();
    assert!(files.len() >= 12, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let command = command(&text).unwrap_or_else(|| panic!("{file:?} doesn't say how it is written"));
        let policy = root().join(command.split_whitespace().next().unwrap());
        let policy = std::fs::read_to_string(policy).unwrap();
        let rendered = render(&format!("spillway render {command}"), &policy).unwrap();
        let same = rendered.text == text;
        assert!(
            same,
            "{file:?} isn't what `spillway render {command}` writes: ./build.sh render"
        );
        assert_eq!(rendered.notes, Vec::<String>::new(), "{file:?}");
    }
}

/// The tree of a rendering for Envoy, which agrees with its policy.
fn envoy(options: &str, policy: &str) -> Value {
    let rendered = render(&format!("spillway render p.yaml --envoy {options}"), policy).unwrap();
    assert!(!rendered.text.contains("${"), "{}", rendered.text);
    let config = source::yaml(&rendered.text).unwrap_or_else(|told| panic!("{told}\n{}", rendered.text));
    assert_eq!(found(&config, policy), Vec::<String>::new());
    config
}

/// Where a configuration disagrees with a policy.
fn found(config: &Value, policy: &str) -> Vec<String> {
    let mut variables = Variables::default();
    variables.assume();
    let read = source::read("p.yaml", policy, &variables).unwrap_or_else(|told| panic!("{told}"));
    let held = Held {
        name: "p.yaml",
        read: &read,
    };
    let findings = disagreements(config, Some(&held), &variables).unwrap();
    findings.iter().map(ToString::to_string).collect()
}

fn istio(options: &str, policy: &str) -> Vec<Value> {
    let rendered = render(&format!("spillway render p.yaml --istio {options}"), policy).unwrap();
    assert!(!rendered.text.contains("${"), "{}", rendered.text);
    let documents = rendered.text.split("---\n").map(source::yaml);
    documents.map(Result::unwrap).collect()
}

fn refusal(options: &str, policy: &str) -> String {
    render(&format!("spillway render p.yaml {options}"), policy)
        .err()
        .unwrap_or_default()
}

fn notes(options: &str, policy: &str) -> Vec<String> {
    render(&format!("spillway render p.yaml {options}"), policy)
        .unwrap()
        .notes
}

fn examples() -> Vec<String> {
    let files = std::fs::read_dir(root().join("examples/policies")).unwrap();
    files
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

/// Limits of a fleet: one in shadow, one by an attribute, one of all together.
const FLEET: &str = r#"
version: 1
attributes: {cost-center: {header: x-cost, trusted: true}}
providers: {a: {cluster: ca, dialect: openai, authority: "a.internal:8000", models: {m: {}}}}
models: {m: {chain: [a/m]}}
fleet: {cluster: rls, domain: edge, timeout: 30ms, on_rls_failure: deny}
limits:
  - {name: mine, per: [caller, cost-center], tokens: 100k/min, scope: fleet, share: 0.5}
  - {name: all, requests: 5/h, scope: fleet, mode: shadow}
  - {name: here, requests: 5/h}
"#;

#[test]
fn the_fleet_s_limits_are_asked_and_billed_where_its_service_is() {
    let config = envoy("--rls-address 10.0.0.9:8081", FLEET);
    let manager =
        &config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let filter = &manager["http_filters"][1]["typed_config"];
    assert_eq!(
        (&filter["domain"], &filter["timeout"]),
        (&json!("edge"), &json!("0.03s"))
    );
    assert_eq!(filter["failure_mode_deny"], true);
    let limits = manager["route_config"]["virtual_hosts"][0]["typed_per_filter_config"]["envoy.filters.http.ratelimit"]["rate_limits"]
        .as_array()
        .unwrap();
    let keys = |limit: &Value| -> Vec<String> {
        let actions = limit["actions"].as_array().unwrap().iter();
        actions
            .map(|action| {
                action["extension"]["typed_config"]["key"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    let [ask, of_shadow, bill, shadow] = limits.as_slice() else {
        panic!("{limits:?}")
    };
    let by = [
        "wasm.spillway.fleet.by.caller",
        "wasm.spillway.fleet.by.cost-center",
    ];
    assert_eq!(keys(ask), ["wasm.spillway.fleet.ask.mine", by[0], by[1]]);
    assert_eq!(keys(bill), ["wasm.spillway.fleet.bill.mine", by[0], by[1]]);
    assert_eq!(ask["hits_addend"], json!({"number": 0}));
    assert_eq!(
        bill["hits_addend"]["format"],
        "%FILTER_STATE(wasm.spillway.fleet.spent.mine:PLAIN)%"
    );
    assert_eq!(keys(of_shadow), ["wasm.spillway.fleet.ask.all"]);
    assert_eq!(keys(shadow), ["wasm.spillway.fleet.bill.all"]);
    assert!(ask["apply_on_stream_done"].is_null() && bill["apply_on_stream_done"] == true);
}

/// The tree of the limits for a service.
fn service(name: &str) -> Value {
    source::yaml(
        &render(&format!("spillway render p.yaml --rls {name}"), FLEET)
            .unwrap()
            .text,
    )
    .unwrap()
}

#[test]
fn both_services_are_told_the_same_limits() {
    let limit = json!({"unit": "minute", "requests_per_unit": 100_000});
    let by_caller = json!([{"key": "caller", "descriptors": [{"key": "cost-center", "rate_limit": limit}]}]);
    let all = json!({"unit": "hour", "requests_per_unit": 5});
    assert_eq!(
        service("envoyproxy"),
        json!({"domain": "edge", "descriptors": [
            {"key": "limit", "value": "mine", "descriptors": by_caller},
            {"key": "limit", "value": "all", "rate_limit": all, "shadow_mode": true},
        ]})
    );
    let of = |name: &str, max: u32, seconds: u32, variables: Value| {
        json!({"namespace": "edge", "name": name, "max_value": max, "seconds": seconds,
            "conditions": [format!("descriptors[0]['limit'] == '{name}'")], "variables": variables})
    };
    let variables = json!(["descriptors[0]['caller']", "descriptors[0]['cost-center']"]);
    assert_eq!(
        service("limitador"),
        json!([of("mine", 100_000, 60, variables), of("all", 5, 3_600, json!([]))])
    );
    assert!(refusal("--rls envoyproxy", LOCAL).contains("--rls: no limit has scope: fleet"));
}

/// Three local providers, two of them in a native chain.
const LOCAL: &str = r#"
version: 1
host: {body_pause: true}
failover: {via: native, retry_on: [connect, 503], retry_budget: 0.125, retry_after_max: 0s}
providers:
  a: {cluster: ca, dialect: openai, authority: "a.internal:8000", models: {m: {}}}
  b: {cluster: cb, dialect: openai, authority: "10.0.0.1:8000", models: {m: {}}}
  c: {cluster: cc, dialect: openai, models: {m: {}}}
models:
  m: {chain: [a/m, b/m]}
  n: {chain: [c/m], failover: {via: none}}
bounds: {request_body: 100MiB}
"#;

#[test]
fn every_example_becomes_a_configuration_that_agrees_with_it() {
    for policy in examples() {
        envoy("", &policy);
        istio("", &policy);
    }
    for options in ["", "--priority"] {
        envoy(options, LOCAL);
    }
}

/// A moderation and a review outside of the providers' clusters.
const OUTSIDE: &str = r#"
moderation:
  - {name: own, on: [request], provider: c, ask: moderation}
  - {name: judge, on: [request], cluster: judged, authority: api.judge.com, path: /j, ask: http, flagged: /f,
     credential: {env: JUDGE_KEY}}
review: {cluster: 'outbound|8080||review.ops.svc', path: /exchanges, when: [flagged]}
"#;

#[test]
fn services_outside_have_clusters_and_variables_of_their_own() {
    let policy = format!("{LOCAL}{OUTSIDE}");
    let config = envoy("--endpoint review=http://127.0.0.1:8080", &policy);
    let clusters = config["static_resources"]["clusters"].as_array().unwrap();
    let cluster = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
    assert!(
        cluster("judged")["transport_socket"].is_object(),
        "public, so encrypted"
    );
    let of = |name: &str| {
        let at = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
        cluster(name).pointer(at).unwrap().clone()
    };
    assert_eq!(
        (of("judged"), of("outbound|8080||review.ops.svc")),
        (443.into(), 8080.into())
    );
    assert!(config.to_string().contains("JUDGE_KEY"));
    assert!(refusal("--envoy --endpoint else=http://a", &policy).contains("there is no provider \"else\""));
    let manifests = istio("", &policy.replace("via: native", "via: callout"));
    let hosts: Vec<&Value> = manifests
        .iter()
        .map(|document| &document["spec"]["host"])
        .collect();
    assert!(hosts.contains(&&"review.ops.svc".into()), "{hosts:?}");
}

#[test]
fn a_service_outside_without_its_cluster_is_told() {
    let policy = format!("{LOCAL}{OUTSIDE}");
    let mut config = envoy("", &policy);
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] != "judged");
    let mut variables = Variables::default();
    variables.assume();
    let found = disagreements(&config, None, &variables).unwrap();
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("there is no cluster judged"), "{told:?}");
}

#[test]
fn an_address_that_the_cluster_s_name_tells_is_no_guess() {
    let text = include_str!("../../../../examples/policies/headers-first.yaml");
    assert_eq!(notes("--istio", text), Vec::<String>::new());
}

#[test]
fn a_policy_in_json_becomes_the_same() {
    let tree = source::yaml(LOCAL).unwrap();
    assert_eq!(envoy("", &tree.to_string()), envoy("", LOCAL));
}

#[test]
fn local_providers_are_reached_plainly_and_by_what_is_told_of_them() {
    let of = |config: &Value, at: usize| {
        let cluster = &config["static_resources"]["clusters"][at];
        let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
        let tls = if cluster["transport_socket"].is_null() {
            "plain"
        } else {
            "TLS"
        };
        format!(
            "{} {} {} {tls}",
            cluster["type"], address["address"], address["port_value"]
        )
        .replace('"', "")
    };
    let config = envoy("", LOCAL);
    assert_eq!(of(&config, 0), "STRICT_DNS a.internal 8000 plain");
    assert_eq!(of(&config, 1), "STATIC 10.0.0.1 8000 plain");
    assert_eq!(of(&config, 2), "STRICT_DNS cc 80 plain");
    let guess = "provider c has no authority, so http://cc:80 is written; --endpoint c=URL says better";
    assert_eq!(notes("--envoy", LOCAL), [guess]);
    let told = "--endpoint c=https://c.example.com";
    assert_eq!(of(&envoy(told, LOCAL), 2), "LOGICAL_DNS c.example.com 443 TLS");
    assert_eq!(notes(&format!("--envoy {told}"), LOCAL), Vec::<String>::new());
}

#[test]
fn the_policy_s_numbers_stand_where_the_router_reads_them() {
    let config = envoy("", LOCAL);
    let listener = &config["static_resources"]["listeners"][0];
    assert_eq!(listener["per_connection_buffer_limit_bytes"], 128 << 20);
    let routes = &listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        [0]["routes"];
    let retry = &routes[0]["route"]["retry_policy"];
    assert_eq!(
        retry["retry_back_off"],
        json!({"base_interval": "0.25s", "max_interval": "10s"})
    );
    assert_eq!(
        retry["rate_limited_retry_back_off"],
        Value::Null,
        "retry_after_max is nothing"
    );
    let clusters = config["static_resources"]["clusters"].as_array().unwrap();
    let alone = clusters
        .iter()
        .find(|cluster| cluster["name"] == "spillway+a")
        .unwrap();
    let budget = &alone["circuit_breakers"]["thresholds"][0]["retry_budget"];
    assert_eq!(
        budget,
        &json!({"budget_percent": {"value": 12.5}, "min_retry_concurrency": 3})
    );
    let own = &alone["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(
        own["metadata"]["filter_metadata"]["spillway"]["provider"], "a",
        "a composite's budget would see no request"
    );
    assert!(
        !clusters.iter().any(|cluster| cluster["name"] == "spillway+c"),
        "c fails over nowhere"
    );
}

#[test]
fn waits_that_differ_between_models_have_a_route_each() {
    let policy = LOCAL.replace(
        "{chain: [c/m], failover: {via: none}}",
        "{chain: [c/m], failover: {backoff: {base: 2s}, retry_after_max: 3s}}",
    );
    let config = envoy("--endpoint c=http://c", &policy);
    let place = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";
    let routes = config.pointer(place).unwrap();
    let of = |at: usize| {
        let retry = &routes[at]["route"]["retry_policy"];
        (
            routes[at]["name"].as_str().unwrap().to_owned(),
            routes[at]["match"]["headers"][1].clone(),
            retry["retry_back_off"]["base_interval"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    let own = json!({"name": "x-spillway-repeats", "string_match": {"exact": "2000-10000-3000"}});
    let common = json!({"name": "x-spillway-repeats", "present_match": true});
    assert_eq!(of(0), ("repeat-2000-10000-3000".to_owned(), own, "2s".to_owned()));
    assert_eq!(of(1), ("repeat".to_owned(), common, "0.25s".to_owned()));
    assert_eq!(routes[2]["name"], "provider");
    let mut wrong = config.clone();
    let base = format!("{place}/0/route/retry_policy/retry_back_off/base_interval");
    *wrong.pointer_mut(&base).unwrap() = json!("0.25s");
    let findings = found(&wrong, &policy);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].contains("isn't the policy's failover.backoff"),
        "{findings:?}"
    );
}

#[test]
fn what_older_envoys_crash_of_is_noted() {
    let text = LOCAL.replace("retry_on: [connect, 503]", "attempts: 2");
    let notes = notes("--envoy --priority --endpoint c=http://c", &text);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].starts_with("m: failover.retry_on has stream_error"),
        "{notes:?}"
    );
}

#[test]
fn what_cannot_be_rendered_is_refused_in_words() {
    let same = LOCAL.replace("cluster: cb", "cluster: ca");
    assert!(refusal("--envoy", &same).contains("providers a and b have the same cluster"));
    let named = LOCAL.replace("cluster: ca", "cluster: outbound|8000||a.internal");
    assert!(refusal("--istio", &named).contains("provider a: Istio's own clusters say of no endpoint"));
    assert!(refusal("--istio --module oci://r/spillway", LOCAL).contains("a file of the proxy's container"));
    assert!(refusal("--istio --plain", LOCAL).contains("--plain: host.body_pause needs"));
    assert!(refusal("--istio --at waypoint", LOCAL).contains("EnvoyFilters don't reach waypoints"));
    assert!(refusal("--istio --at moon", LOCAL).contains("isn't gateway, sidecar or waypoint"));
    assert!(
        refusal("--istio --selector gateway", LOCAL).contains("--selector: a label is written KEY=VALUE")
    );
    let early = LOCAL.replace(
        "true}\nfailover: {via: native, retry_on: [connect, 503], retry_budget: 0.125,",
        "false}\nfailover: {",
    );
    let foreign = refusal("--istio --plain", &early);
    assert!(
        foreign.contains("provider a: its cluster must be one of Istio's, such as outbound|80||a.internal"),
        "{foreign}"
    );
    assert!(
        refusal(
            "--envoy --priority",
            include_str!("../../../../examples/policies/minimal.yaml")
        )
        .contains("no model has failover.via: native")
    );
    assert!(refusal("--envoy --endpoint d=http://d", LOCAL).contains("there is no provider \"d\""));
    assert!(refusal("--envoy", "version: 2").starts_with("p.yaml: refused\nversion: is 2 (allowed: 1)"));
}

#[test]
fn a_plugin_where_istio_s_will_do_and_a_filter_where_it_will_not() {
    let kinds = |documents: &[Value]| -> Vec<String> {
        let kind = |document: &Value| document["kind"].as_str().unwrap().to_owned();
        documents.iter().map(kind).collect()
    };
    let text = include_str!("../../../../examples/policies/headers-first.yaml");
    let documents = istio(
        "--module oci://registry.example/spillway:1 --namespace edge",
        text,
    );
    assert_eq!(
        kinds(&documents),
        [
            "WasmPlugin",
            "EnvoyFilter",
            "VirtualService",
            "DestinationRule",
            "ConfigMap"
        ]
    );
    let plugin = &documents[0];
    assert_eq!(plugin["metadata"]["namespace"], "edge");
    assert_eq!(plugin["spec"]["url"], "oci://registry.example/spillway:1");
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
    assert_eq!(plugin["spec"]["pluginConfig"], source::yaml(text).unwrap());
    assert_eq!(
        plugin["spec"]["vmConfig"]["env"],
        json!([{"name": "AZURE_API_KEY", "valueFrom": "HOST"}, {"name": "SPILLWAY_HASH_KEY", "valueFrom": "HOST"}])
    );
    assert_eq!(documents[3]["spec"]["host"], "vllm.models.svc.cluster.local");

    let documents = istio("", LOCAL);
    assert_eq!(kinds(&documents), ["EnvoyFilter", "VirtualService", "ConfigMap"]);
    let patches = documents[0]["spec"]["configPatches"].as_array().unwrap();
    let values = |kind: &str| -> Vec<&Value> {
        let of = patches.iter().filter(|patch| patch["applyTo"] == kind);
        of.map(|patch| &patch["patch"]["value"]).collect()
    };
    let config = &values("HTTP_FILTER")[0]["typed_config"]["config"];
    assert_eq!(config["allow_on_headers_stop_iteration"], true);
    assert_eq!(config["configuration"]["value"], source::yaml(LOCAL).unwrap());
    // What Envoy itself is given.
    let clusters = envoy("", LOCAL.trim_start())["static_resources"]["clusters"].clone();
    let mut expected = clusters.as_array().unwrap().clone();
    let mut found: Vec<Value> = values("CLUSTER").into_iter().cloned().collect();
    let module = "/var/lib/spillway/plugin.wasm";
    for cluster in expected.iter_mut().chain(&mut found) {
        let at = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters/0/typed_config/config/vm_config/code/local/filename";
        if let Some(filename) = cluster.pointer_mut(at) {
            *filename = json!(module);
        }
    }
    assert_eq!(found, expected);
    assert_eq!(values("HTTP_ROUTE").len(), 2);
}

#[test]
fn a_public_provider_under_istio_s_name_gets_an_entry_and_a_rule() {
    let policy = "
version: 1
providers:
  OpenAI_eu: {cluster: 'outbound|443||api.openai.com', dialect: openai, authority: api.openai.com, models: {m: {}}}
models: {'*': {chain: [OpenAI_eu/m]}}
";
    let documents = istio("", policy);
    let [_, filter, _, entry, rule, _] = documents.as_slice() else {
        panic!("{documents:?}")
    };
    assert!(!filter.to_string().contains("\"CLUSTER\""), "{filter}");
    assert_eq!(entry["metadata"]["name"], "spillway-openai-eu");
    assert_eq!(
        entry["spec"]["ports"],
        json!([{"number": 443, "name": "http", "protocol": "HTTP"}])
    );
    let tls = &rule["spec"]["trafficPolicy"]["tls"];
    assert_eq!(
        (&tls["mode"], &tls["sni"]),
        (&json!("SIMPLE"), &json!("api.openai.com"))
    );
}

/// A provider by Istio's name for it, whose port isn't TLS's own.
const PLAIN: &str = "
version: 1
providers:
  openai: {cluster: 'outbound|80||api.openai.com', dialect: openai, authority: api.openai.com, models: {m: {}}}
models: {'*': {chain: [openai/m]}}
";

#[test]
fn istio_s_own_api_is_enough_for_a_plain_plugin_wherever_the_proxy_is() {
    for (options, expected) in [
        (
            "",
            "WasmPlugin VirtualService ServiceEntry DestinationRule ConfigMap",
        ),
        (
            "--traffic-extension",
            "TrafficExtension VirtualService ServiceEntry DestinationRule ConfigMap",
        ),
        (
            "--at sidecar",
            "WasmPlugin ServiceEntry VirtualService ServiceEntry DestinationRule ConfigMap",
        ),
        (
            "--at waypoint",
            "WasmPlugin ServiceEntry HTTPRoute ServiceEntry DestinationRule",
        ),
    ] {
        let documents = istio(&format!("--plain {options}"), PLAIN);
        let kinds: Vec<&str> = documents
            .iter()
            .map(|one| one["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds.join(" "), expected, "{options}");
        let entry = documents
            .iter()
            .find(|one| one["metadata"]["name"] == "spillway-openai")
            .unwrap();
        assert_eq!(entry["spec"]["ports"][0]["targetPort"], 443, "{options}");
    }
}

#[test]
fn a_plain_plugin_s_requests_go_where_the_filter_s_header_says() {
    let by_mesh = &istio("--plain --at sidecar --host llm.example", PLAIN)[2]["spec"];
    assert_eq!(
        (&by_mesh["hosts"], &by_mesh["gateways"]),
        (&json!(["llm.example"]), &json!(["mesh"]))
    );
    let route = &by_mesh["http"][0];
    assert_eq!(
        route["match"][0]["headers"]["x-spillway-cluster"]["exact"],
        "outbound|80||api.openai.com"
    );
    assert_eq!(route["route"][0]["destination"]["host"], "api.openai.com");
    let by_waypoint = &istio("--plain --at waypoint --selector edge", PLAIN);
    assert_eq!(by_waypoint[0]["spec"]["targetRefs"][0]["name"], "edge");
    let rule = &by_waypoint[2]["spec"]["rules"][0];
    assert_eq!(
        rule["matches"][0]["headers"][0]["value"],
        "outbound|80||api.openai.com"
    );
    let removed = rule["filters"][0]["requestHeaderModifier"]["remove"]
        .as_array()
        .unwrap();
    assert!(removed.len() <= 16, "as many as the API takes");
}

#[test]
fn a_sidecar_s_patches_are_for_what_its_application_sends() {
    let documents = istio("--at sidecar --selector app=assistant", LOCAL);
    assert_eq!(
        documents[0]["spec"]["workloadSelector"]["labels"],
        json!({"app": "assistant"})
    );
    for patch in documents[0]["spec"]["configPatches"].as_array().unwrap() {
        assert_eq!(patch["match"]["context"], "SIDECAR_OUTBOUND");
    }
}
