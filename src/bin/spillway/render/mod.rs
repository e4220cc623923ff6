//! `spillway render`: what a policy needs of its proxy, written out.

mod cluster;
mod embed;
mod envoy;
mod fill;
pub(crate) mod fleet;
mod istio;
mod mesh;
mod options;
mod route;
mod virtual_host;
mod yaml;

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;
use spillway::policy::Policy;

use crate::source::{self, Read};
use crate::usage;

use options::{Options, Target};
pub(crate) use route::{seconds, waits};

/// Renders the policy that the arguments name to standard output; notes and refusals to standard error.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let options = match Options::of(arguments) {
        Ok(options) => options,
        Err(wrong) => return usage(&wrong),
    };
    match fs::read_to_string(&options.file)
        .map_err(|error| format!("{}: {error}", options.file))
        .and_then(|text| rendered(&options, &text))
    {
        Ok(rendered) => {
            for note in &rendered.notes {
                eprintln!("{}: {note}", options.file);
            }
            // Whoever closed the pipe doesn't want to read it.
            let _ = std::io::stdout().write_all(rendered.text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(told) => {
            eprintln!("{told}");
            ExitCode::from(1)
        }
    }
}

/// What was written, and what its reader should know.
#[derive(Debug)]
struct Rendered {
    text: String,
    notes: Vec<String>,
}

/// Everything that the parts of a rendering need.
struct Job<'a> {
    options: &'a Options,
    document: &'a Value,
    policy: &'a Policy,
    policy_text: &'a str,
    variables: String,
}

fn rendered(options: &Options, text: &str) -> Result<Rendered, String> {
    let file = &options.file;
    let Read { document, policy } =
        source::read(file, text, &options.variables).map_err(|told| format!("{file}: refused\n{told}"))?;
    let mut variables = crate::summary::secrets(&document);
    variables.push("SPILLWAY_HASH_KEY");
    let job = Job {
        options,
        document: &document,
        policy: &policy,
        policy_text: text,
        variables: variables.join(", "),
    };
    job.fits().map_err(|told| format!("{file}: {told}"))?;
    let text = match options.target {
        Target::Envoy => envoy::bootstrap(&job),
        Target::EnvoyProxy => fleet::envoyproxy(&job),
        Target::Limitador => fleet::limitador(&job),
        Target::Istio => istio::manifests(&job).map_err(|told| format!("{file}: {told}"))?,
    };
    Ok(Rendered {
        text,
        notes: job.notes(),
    })
}

impl Job<'_> {
    fn is_native(&self) -> bool {
        crate::orders::native(self.policy).next().is_some()
    }

    /// What no configuration can do justice to.
    fn fits(&self) -> Result<(), String> {
        for name in self.options.endpoints.iter().map(|(name, _)| name) {
            let providers = self
                .policy
                .providers
                .iter()
                .map(|provider| provider.name.as_str());
            let outside = crate::outside::places(self.policy);
            let mut known = providers.chain(outside.iter().map(|place| place.name));
            if !known.any(|other| other == name) {
                return Err(format!("--endpoint: there is no provider {name:?}"));
            }
        }
        let of_service = matches!(self.options.target, Target::EnvoyProxy | Target::Limitador);
        if of_service && !fleet::is_there(self.policy) {
            return Err("--rls: no limit has scope: fleet".to_owned());
        }
        if self.options.priority && !self.is_native() {
            return Err("--priority: no model has failover.via: native".to_owned());
        }
        match cluster::shared(self.policy).first() {
            Some((first, second)) if self.is_native() => Err(format!(
                "providers {first} and {second} have the same cluster: an attempt couldn't tell whose credential to send"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// What is legal and still worth a look.
    fn notes(&self) -> Vec<String> {
        let mut notes = cluster::guesses(self);
        if self.options.priority {
            notes.extend(route::crashes(self.policy));
        }
        notes
    }
}

#[cfg(test)]
mod tests;
