//! `spillway`, the native tool: what a policy says, before a proxy has to say it.
//!
//! Its invariant: it knows no rule of its own. What it refuses, the module refuses, in the same words.

#[cfg(not(target_arch = "wasm32"))]
mod agree;
#[cfg(not(target_arch = "wasm32"))]
mod check;
#[cfg(not(target_arch = "wasm32"))]
mod count;
#[cfg(not(target_arch = "wasm32"))]
mod endpoint;
#[cfg(not(target_arch = "wasm32"))]
mod orders;
#[cfg(not(target_arch = "wasm32"))]
mod outside;
#[cfg(not(target_arch = "wasm32"))]
mod render;
#[cfg(not(target_arch = "wasm32"))]
mod source;
#[cfg(not(target_arch = "wasm32"))]
mod summary;
#[cfg(not(target_arch = "wasm32"))]
mod variables;

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = arguments
        .split_first()
        .map_or(("help", [].as_slice()), |(c, r)| (c.as_str(), r));
    match command {
        "check" => check::run(rest),
        "count" => count::run(rest),
        "render" => render::run(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            std::process::ExitCode::SUCCESS
        }
        other => usage(&format!("there is no command {other:?}")),
    }
}

/// The tool is native; a build of everything for wasm finds an empty program.
#[cfg(target_arch = "wasm32")]
fn main() {}

/// Says what was wrong with the command line. Code 2: nothing was judged.
#[cfg(not(target_arch = "wasm32"))]
fn usage(wrong: &str) -> std::process::ExitCode {
    eprintln!("spillway: {wrong}\n\n{HELP}");
    std::process::ExitCode::from(2)
}

#[cfg(not(target_arch = "wasm32"))]
const HELP: &str = "\
spillway: policies of the Spillway filter, what they need of Envoy and Istio, and how it counts

  spillway check [--lean] [--env-file FILE] [--assume-env] FILE…
      Reads each policy (JSON or YAML) as the module would, says in short what it does, or everything
      that is wrong with it. Secrets come from the environment and are never shown.

      --lean            as spillway-lean.wasm would, the module without the schema engine
      --env-file FILE   lines of NAME=VALUE; in double quotes, \\n begins a new line. They come before
                        this process's own variables. Given several times, the last one wins.
      --assume-env      a variable that is missing counts as set, so that a policy can be checked where
                        its secrets aren't

      Exit codes: 0 all good, 1 one was refused or couldn't be read, 2 wrong usage.

  spillway check --envoy CONFIG [--env-file FILE] [--assume-env] [FILE]
      Says where an Envoy configuration (a bootstrap, JSON or YAML) disagrees with the policy, or without
      one with the policy that it holds: a line each, with the place and what is expected there.

      Exit codes: 0 they agree, 1 they don't or one couldn't be read, 2 wrong usage.

  spillway render FILE --envoy | --istio | --rls envoyproxy|limitador [OPTION…]
      Writes what the policy needs: a bootstrap for Envoy that runs as it is, manifests for Istio, or the
      limits with scope: fleet for the rate-limit service that counts them.
      Holds no secret and needs none.

      --module PATH     where the proxy finds the module (dist/spillway.wasm for Envoy,
                        /var/lib/spillway/plugin.wasm for Istio; there also oci://…)
      --endpoint NAME=URL
                        where provider NAME is, if its authority doesn't say: http://HOST:PORT, or
                        https://HOST[:PORT] for TLS. Given once for each provider.
      --listen ADDRESS:PORT
                        Envoy: what clients connect to (127.0.0.1:10000)
      --rls-address HOST:PORT
                        where the rate-limit service is (ratelimit:8081)
      --priority        failing over by priorities instead of composite clusters: Envoy before 1.37, and
                        Istio's proxies that are built without them

      Istio:
      --plain           a plugin and Istio's own API alone: no EnvoyFilter
      --traffic-extension
                        a TrafficExtension (Istio 1.30) instead of a WasmPlugin
      --at PLACE        gateway (the default), sidecar (of the application that calls) or waypoint
      --selector LABEL  which proxies: KEY=VALUE (gateway: istio=ingressgateway, sidecar:
                        spillway=enabled); of a waypoint its name (waypoint)
      --host NAME       what clients call (gateway: *, else llm.internal)
      --gateway NAME    the Gateway by which they come in (llm)
      --namespace NAME  where the proxies are (gateway: istio-ingress, else default)

      --env-file, --assume-env
                        as for check; a variable that is missing counts as set anyway

      Exit codes: 0 written, 1 the policy was refused or couldn't be read, 2 wrong usage.

  spillway count [--tokenizer o200k|cl100k|estimate] [--path PATH] FILE
      How many tokens the prompt in a request's body has (- reads the input): its texts, and what is
      around them. PATH says how the body is to be read (/v1/chat/completions).

  spillway help
      This text.";
