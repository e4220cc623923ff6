//! What is wrong with a policy, in the operator's words.
//!
//! Its invariant: a message names the field by its path, says what is wrong and what is allowed, and never holds the
//! value of a secret.

use core::fmt;

/// Everything that was found wrong with a policy; at least one problem.
///
/// Displays one problem per line, in the order of the document's sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field: `limits[0].tokens`, `providers.openai.models."gpt-4.1".context`; `policy` for the whole document.
    pub path: String,
    /// What is wrong with it.
    pub wrong: String,
    /// What it may be.
    pub allowed: String,
}

impl PolicyError {
    pub(super) fn of(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// The error of these problems; none when there is no problem.
    pub(super) fn of_all(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self(problems))
    }

    /// The problems, in the order of the document's sections.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (allowed: {})", self.path, self.wrong, self.allowed)
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl core::error::Error for PolicyError {}

/// The path of a member: `parent.name`, with names that aren't plain words in quotes.
pub(super) fn member(parent: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
    let name = match name.chars().all(plain) && !name.is_empty() && name.len() <= LONGEST_QUOTE {
        true => name.to_owned(),
        false => quote(name),
    };
    match parent {
        "" => name,
        parent => format!("{parent}.{name}"),
    }
}

/// The path of a list's item: `parent[index]`.
pub(super) fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// A message shows no more than this of what somebody wrote.
const LONGEST_QUOTE: usize = 64;

/// The text in quotes, control characters escaped, cut when it is long.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
    }
}

/// Names as a message lists them: with commas, and cut when there are many.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 24;
    let mut shown: Vec<&str> = names.iter().map(AsRef::as_ref).take(MOST).collect();
    let rest = format!("{} more", names.len().saturating_sub(MOST));
    if names.len() > MOST {
        shown.push(&rest);
    }
    match shown.is_empty() {
        true => "none".to_owned(),
        false => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::{item, list, member, quote};

    #[test]
    fn a_path_reads_like_the_document() {
        assert_eq!(member("", "limits"), "limits");
        assert_eq!(member(&item("limits", 0), "tokens"), "limits[0].tokens");
        assert_eq!(member("models", "gpt-4.1"), "models.\"gpt-4.1\"");
        assert_eq!(member("models", "a\nb"), r#"models."a\nb""#);
    }

    #[test]
    fn what_somebody_wrote_is_cut_and_escaped() {
        assert_eq!(quote("é\n"), "\"é\\n\"");
        assert_eq!(quote(&"é".repeat(100)), format!("\"{}\"…", "é".repeat(64)));
        assert_eq!(list::<&str>(&[]), "none");
        assert!(list(&["x"; 30]).ends_with("x, 6 more"));
    }
}
