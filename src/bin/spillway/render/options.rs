//! The command line of `spillway render`.

use crate::endpoint::{Endpoint, URL};
use crate::variables::Variables;

use super::mesh::{Mesh, Place};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A static bootstrap.
    Envoy,
    /// Manifests.
    Istio,
    /// The fleet's limits for envoyproxy/ratelimit.
    EnvoyProxy,
    /// The fleet's limits for Limitador.
    Limitador,
}

/// What the command line asks for.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) file: String,
    pub(super) target: Target,
    /// Where the proxy finds the module.
    pub(super) module: String,
    pub(super) address: String,
    pub(super) port: u16,
    /// Priorities instead of composite clusters.
    pub(super) priority: bool,
    /// Providers' addresses, where the policy doesn't tell them.
    pub(super) endpoints: Vec<(String, Endpoint)>,
    pub(super) mesh: Mesh,
    /// Where the rate-limit service is.
    pub(super) rls_address: (String, u16),
    pub(super) variables: Variables,
    /// The command that writes the same again.
    pub(super) command: String,
}

const MODULE: [(Target, &str); 2] = [
    (Target::Envoy, "dist/spillway.wasm"),
    (Target::Istio, "/var/lib/spillway/plugin.wasm"),
];

impl Options {
    /// Of the arguments; on error, what is wrong with them.
    pub(super) fn of(arguments: &[String]) -> Result<Self, String> {
        let mut read = Given::default();
        // No secret is written, so none is needed: what isn't set counts as set.
        read.variables.assume();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = |what: &str| rest.next().ok_or(format!("{argument} needs {what}"));
            match argument.as_str() {
                "--envoy" => read.target(Target::Envoy)?,
                "--istio" => read.target(Target::Istio)?,
                "--rls" => read.target(service(value("envoyproxy or limitador")?)?)?,
                "--rls-address" => read.rls_address = Some(host(value("HOST:PORT")?)?),
                "--priority" => read.priority = true,
                "--assume-env" => {}
                "--module" => read.module = Some(value("a path")?.clone()),
                "--listen" => read.listen = Some(listen(value("ADDRESS:PORT")?)?),
                "--endpoint" => read.endpoints.push(endpoint(value(URL)?)?),
                "--at" => read.mesh.place = Place::of(value("gateway, sidecar or waypoint")?)?,
                "--plain" => read.mesh.plain = true,
                "--traffic-extension" => read.mesh.extension = true,
                "--namespace" => read.mesh.namespace = Some(value("a name")?.clone()),
                "--selector" => read.mesh.selector = Some(value("KEY=VALUE")?.clone()),
                "--host" => read.mesh.host = Some(value("a host name")?.clone()),
                "--gateway" => read.mesh.gateway = Some(value("NAMESPACE/NAME")?.clone()),
                "--env-file" => read.variables.add_file(value("a file")?)?,
                option if option.starts_with("--") => return Err(format!("there is no option {option}")),
                file => read.file(file)?,
            }
        }
        read.options(command(arguments))
    }
}

/// What was found of the options so far.
#[derive(Default)]
struct Given {
    file: Option<String>,
    target: Option<Target>,
    module: Option<String>,
    listen: Option<(String, u16)>,
    priority: bool,
    endpoints: Vec<(String, Endpoint)>,
    mesh: Mesh,
    rls_address: Option<(String, u16)>,
    variables: Variables,
}

impl Given {
    fn target(&mut self, target: Target) -> Result<(), String> {
        match self.target.replace(target) {
            Some(other) if other != target => Err("one of --envoy, --istio and --rls".to_owned()),
            Some(_) | None => Ok(()),
        }
    }

    fn file(&mut self, file: &str) -> Result<(), String> {
        match self.file.replace(file.to_owned()) {
            Some(_) => Err("render takes one policy file".to_owned()),
            None => Ok(()),
        }
    }

    fn options(self, command: String) -> Result<Options, String> {
        let target = self.target.ok_or("render needs --envoy, --istio or --rls")?;
        let usual = MODULE.iter().find(|(of, _)| *of == target).map(|(_, path)| *path);
        let (address, port) = self.listen.unwrap_or_else(|| ("127.0.0.1".to_owned(), 10_000));
        Ok(Options {
            file: self.file.ok_or("render needs a policy file")?,
            target,
            module: self
                .module
                .unwrap_or_else(|| usual.unwrap_or_default().to_owned()),
            address,
            port,
            priority: self.priority,
            endpoints: self.endpoints,
            mesh: self.mesh,
            rls_address: self
                .rls_address
                .unwrap_or_else(|| ("ratelimit".to_owned(), 8_081)),
            variables: self.variables,
            command,
        })
    }
}

/// `127.0.0.1:10000`, `[::]:10000`.
fn listen(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("--listen: {text:?} isn't ADDRESS:PORT, such as 0.0.0.0:10000");
    let address: std::net::SocketAddr = text.parse().map_err(|_| wrong())?;
    Ok((address.ip().to_string(), address.port()))
}

/// The service that `--rls` names.
fn service(text: &str) -> Result<Target, String> {
    match text {
        "envoyproxy" => Ok(Target::EnvoyProxy),
        "limitador" => Ok(Target::Limitador),
        _ => Err(format!("--rls: {text:?} is neither envoyproxy nor limitador")),
    }
}

/// `ratelimit:8081`, `[::1]:8081`.
fn host(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        (!host.is_empty() && !host.contains(odd)).then_some((host.to_owned(), port.parse().ok()?))
    });
    parts.ok_or_else(|| format!("--rls-address: {text:?} isn't HOST:PORT, such as ratelimit:8081"))
}

fn endpoint(text: &str) -> Result<(String, Endpoint), String> {
    let found = text
        .split_once('=')
        .and_then(|(name, url)| Some((name.to_owned(), Endpoint::of_url(url)?)));
    found.ok_or_else(|| format!("--endpoint: {text:?} isn't {URL}"))
}

/// The arguments as a shell takes them, files of variables left out: they aren't the reader's.
fn command(arguments: &[String]) -> String {
    let mut words = vec!["spillway".to_owned(), "render".to_owned()];
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--env-file" => drop(rest.next()),
            "--assume-env" => {}
            other => words.push(word(other)),
        }
    }
    words.join(" ")
}

fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@+[]".contains(c);
    let printable: String = text
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    match !printable.is_empty() && printable.chars().all(plain) {
        true => printable,
        false => format!("'{}'", printable.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn of(arguments: &[&str]) -> Result<Options, String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        Options::of(&arguments)
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        for (arguments, wrong) in [
            (&["p.yaml"][..], "render needs --envoy, --istio or --rls"),
            (&["--envoy"], "render needs a policy file"),
            (&["--envoy", "--istio", "p"], "one of --envoy, --istio and --rls"),
            (&["--envoy", "p", "q"], "render takes one policy file"),
            (&["--envoy", "p", "--module"], "--module needs a path"),
            (
                &["--listen", "10000"],
                "--listen: \"10000\" isn't ADDRESS:PORT, such as 0.0.0.0:10000",
            ),
            (
                &["--endpoint", "a"],
                "--endpoint: \"a\" isn't PROVIDER=http://HOST:PORT or PROVIDER=https://HOST[:PORT]",
            ),
            (&["--helm"], "there is no option --helm"),
            (
                &["--rls", "redis"],
                "--rls: \"redis\" is neither envoyproxy nor limitador",
            ),
            (
                &["--rls-address", "http://r:1"],
                "--rls-address: \"http://r:1\" isn't HOST:PORT, such as ratelimit:8081",
            ),
        ] {
            assert_eq!(of(arguments).err().as_deref(), Some(wrong));
        }
    }

    #[test]
    fn the_command_is_kept_without_what_is_of_no_use_to_others() {
        let options = of(&[
            "a b.yaml",
            "--envoy",
            "--env-file",
            "/home/me/secrets",
            "--listen",
            "[::]:80",
        ]);
        let options = options.err().unwrap_or_default();
        // The file of variables isn't there.
        assert!(options.starts_with("/home/me/secrets: "), "{options}");
        let options = of(&["a b.yaml", "--envoy", "--assume-env", "--listen", "[::]:80"]).unwrap();
        assert_eq!(
            options.command,
            "spillway render 'a b.yaml' --envoy --listen [::]:80"
        );
        assert_eq!((options.address.as_str(), options.port), ("::", 80));
    }
}
