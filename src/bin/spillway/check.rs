//! `spillway check`: each file judged as the module would judge it.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use spillway::policy::Edition;

use crate::agree::{self, Finding, Held};
use crate::source::{self, Read};
use crate::summary::summary;
use crate::usage;
use crate::variables::Variables;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Request {
    variables: Variables,
    files: Vec<String>,
    /// Held against the policy, or against the one that it holds itself.
    envoy: Option<String>,
    /// As the lean module would judge.
    lean: bool,
}

impl Request {
    fn edition(&self) -> Edition {
        if self.lean { Edition::Lean } else { Edition::Full }
    }
}

/// Judges the files that the arguments name: summaries on standard output, refusals on standard error.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let request = match request(arguments) {
        Ok(request) => request,
        Err(wrong) => return usage(&wrong),
    };
    if let Some(envoy) = &request.envoy {
        return compare(envoy, &request);
    }
    let good = request.files.iter().map(|file| judge(file, &request));
    // Counted, not `all`: every file is to be judged.
    match good.filter(|good| !good).count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

fn request(arguments: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--assume-env" => request.variables.assume(),
            "--lean" => request.lean = true,
            "--env-file" => {
                let file = rest.next().ok_or("--env-file needs a file")?;
                request.variables.add_file(file)?;
            }
            "--envoy" => {
                let file = rest.next().ok_or("--envoy needs a configuration")?;
                if request.envoy.replace(file.clone()).is_some() {
                    return Err("--envoy takes one configuration".to_owned());
                }
            }
            option if option.starts_with("--") => return Err(format!("there is no option {option}")),
            file => request.files.push(file.to_owned()),
        }
    }
    match (request.files.len(), &request.envoy) {
        (0, None) => Err("check needs a policy file".to_owned()),
        (_, Some(_)) if request.lean => Err("--lean is for policies, not with --envoy".to_owned()),
        (2.., Some(_)) => Err("--envoy is held against one policy".to_owned()),
        (_, Some(_)) | (1.., None) => Ok(request),
    }
}

fn text_of(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))
}

/// Holds the configuration against the policy: one line for each disagreement, on standard error.
fn compare(envoy: &str, request: &Request) -> ExitCode {
    match disagreements(envoy, request) {
        Ok(findings) if findings.is_empty() => {
            let policy = request.files.first().map_or("its policy", String::as_str);
            let _ = writeln!(std::io::stdout(), "{envoy}: agrees with {policy}");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            eprintln!("{envoy}: disagrees");
            findings.iter().for_each(|finding| eprintln!("{finding}"));
            ExitCode::from(1)
        }
        Err(told) => {
            eprintln!("{told}");
            ExitCode::from(1)
        }
    }
}

fn disagreements(envoy: &str, request: &Request) -> Result<Vec<Finding>, String> {
    let told = |told: String| format!("{envoy}: {told}");
    let config = source::tree(envoy, &text_of(envoy)?).map_err(told)?;
    let read = match request.files.first() {
        None => None,
        Some(file) => {
            let read = source::read(file, &text_of(file)?, &request.variables);
            Some((file, read.map_err(|told| format!("{file}: refused\n{told}"))?))
        }
    };
    let held = read.as_ref().map(|(name, read)| Held { name, read });
    agree::disagreements(&config, held.as_ref(), &request.variables).map_err(told)
}

/// Judges one file; whether it is good.
fn judge(file: &str, request: &Request) -> bool {
    let text = match text_of(file) {
        Ok(text) => text,
        Err(wrong) => {
            eprintln!("{wrong}");
            return false;
        }
    };
    let variables = &request.variables;
    match source::read_for(request.edition(), (file, &text), variables) {
        Ok(Read { document, policy }) => {
            let summary = summary(&document, &policy, variables);
            // Whoever closed the pipe doesn't want to read it.
            let _ = writeln!(std::io::stdout(), "{file}: good\n{summary}");
            true
        }
        Err(told) => {
            eprintln!("{file}: refused\n{told}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::request;
    use crate::source;
    use crate::variables::Variables;

    #[test]
    fn every_example_is_good() {
        let mut variables = Variables::default();
        variables.assume();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies");
        let mut judged = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let told = source::read(path.to_str().unwrap(), &text, &variables).err();
            assert_eq!(told, None, "{path:?}");
            judged += 1;
        }
        assert!(judged >= 4);
    }

    fn wrong(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        request(&arguments).err().unwrap_or_default()
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        assert_eq!(wrong(&[]), "check needs a policy file");
        assert_eq!(wrong(&["--env-file"]), "--env-file needs a file");
        assert_eq!(wrong(&["--envoy"]), "--envoy needs a configuration");
        assert_eq!(
            wrong(&["--envoy", "a", "--envoy", "b"]),
            "--envoy takes one configuration"
        );
        assert_eq!(
            wrong(&["--envoy", "a", "b", "c"]),
            "--envoy is held against one policy"
        );
        assert_eq!(wrong(&["--envoy", "a"]), "");
        assert_eq!(wrong(&["--lean", "a"]), "");
        assert_eq!(
            wrong(&["--envoy", "a", "--lean"]),
            "--lean is for policies, not with --envoy"
        );
        assert_eq!(wrong(&["--strict", "a"]), "there is no option --strict");
        assert_eq!(wrong(&["--assume-env", "a", "b"]), "");
    }
}
