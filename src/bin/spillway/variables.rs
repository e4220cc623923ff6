//! The variables that a check takes for the environment of the VM.

use std::collections::BTreeMap;
use std::fs;

use spillway::policy::{Environment, ProcessEnvironment};

/// Files of variables first, then the process's own, then what is assumed.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    files: BTreeMap<String, String>,
    assume: bool,
}

/// Fits wherever the policy wants a secret: a header's value, and a list of known keys.
const ASSUMED: &str = "assumed=0000000000000000000000000000000000000000000000000000000000000000";

impl Variables {
    /// From now on a variable that is missing counts as set.
    pub(crate) fn assume(&mut self) {
        self.assume = true;
    }

    /// Adds the variables of a file's text; on error, what is wrong, without the line itself.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) =
                variable(line).ok_or_else(|| format!("line {number} isn't NAME=VALUE or a comment"))?;
            self.files.insert(name, value);
        }
        Ok(())
    }

    /// Adds the variables of a file; on error, what is wrong, without any line of it.
    pub(crate) fn add_file(&mut self, file: &str) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        self.add(&text).map_err(|wrong| format!("{file}: {wrong}"))
    }

    /// Whether the variable is set, not just assumed.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.set(name).is_some()
    }

    fn set(&self, name: &str) -> Option<String> {
        let own = self
            .files
            .get(name)
            .cloned()
            .or_else(|| ProcessEnvironment.variable(name));
        own.filter(|value| !value.trim().is_empty())
    }
}

impl Environment for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        self.set(name).or_else(|| self.assume.then(|| ASSUMED.to_owned()))
    }
}

fn variable(line: &str) -> Option<(String, String)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    Some((name.to_owned(), unquoted(value.trim())?))
}

/// The value: as it stands, between single quotes, or between double quotes with `\n`, `\"` and `\\`.
fn unquoted(value: &str) -> Option<String> {
    if let Some(inner) = value.strip_prefix('\'') {
        return inner.strip_suffix('\'').map(str::to_owned);
    }
    let Some(inner) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut found = String::new();
    let mut chars = inner.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(found),
            '\\' => match chars.next()? {
                'n' => found.push('\n'),
                other => found.push(other),
            },
            other => found.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use spillway::policy::Environment;

    use super::Variables;

    #[test]
    fn a_file_of_variables_is_read_line_by_line() {
        let mut variables = Variables::default();
        let text = "# ours\n\nA=b c\nexport B = 'x=\"y\"'\nC=\"one\\ntwo \\\"q\\\" \\\\\"\r\nD=\n";
        assert_eq!(variables.add(text), Ok(()));
        assert_eq!(variables.variable("A").as_deref(), Some("b c"));
        assert_eq!(variables.variable("B").as_deref(), Some("x=\"y\""));
        assert_eq!(variables.variable("C").as_deref(), Some("one\ntwo \"q\" \\"));
        assert_eq!(variables.variable("D"), None);
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_only() {
        for line in [
            "s3cr3t",
            "=s3cr3t",
            "a b=s3cr3t",
            "A=\"s3cr3t",
            "A='s3cr3t",
            "A=\"s3\"cr3t",
        ] {
            let told = Variables::default().add(&format!("A=b\n{line}")).unwrap_err();
            assert_eq!(told, "line 2 isn't NAME=VALUE or a comment", "{line}");
        }
    }

    #[test]
    fn what_is_assumed_is_not_set() {
        let mut variables = Variables::default();
        assert_eq!(variables.variable("SPILLWAY_TEST_ABSENT"), None);
        variables.assume();
        assert!(variables.variable("SPILLWAY_TEST_ABSENT").is_some());
        assert!(!variables.is_set("SPILLWAY_TEST_ABSENT"));
    }
}
