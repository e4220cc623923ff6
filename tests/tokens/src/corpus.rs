//! The texts, and how prompts are cut from them.

use std::io;
use std::path::PathBuf;

/// A file of a set. Its name is `KIND.SOURCE.txt`: a language by its ISO 639-1 code, or `code`, `json`, `logs`…
pub struct Text {
    /// What the report groups by.
    pub kind: String,
    /// The content.
    pub text: String,
}

/// The texts of `fit` or `held-out`, by name.
pub fn load(set: &str) -> io::Result<Vec<Text>> {
    files(set)?.iter().map(|path| one(path)).collect()
}

/// The files of a set, by name.
pub fn files(set: &str) -> io::Result<Vec<PathBuf>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(set);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "txt"));
    paths.sort();
    Ok(paths)
}

fn one(path: &std::path::Path) -> io::Result<Text> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = name.split('.').next().unwrap_or_default().to_owned();
    Ok(Text {
        kind,
        text: std::fs::read_to_string(path)?,
    })
}

/// Cuts a text into prompts whose lengths in bytes follow `sizes` round and round; a rest shorter than half the smallest
/// size is left out.
pub fn cut<'t>(text: &'t str, sizes: &[usize]) -> Vec<&'t str> {
    let least = sizes.iter().min().copied().unwrap_or(1) / 2;
    let mut prompts = Vec::new();
    let mut rest = text;
    for size in sizes.iter().cycle() {
        if rest.len() < least.max(1) {
            break;
        }
        let (prompt, after) = rest.split_at(rest.floor_char_boundary(*size));
        prompts.push(prompt);
        rest = after;
    }
    prompts
}

/// The text as it stands between the quotes of a JSON string, escaped as the official SDKs do (UTF-8 stays).
pub fn escape(text: &str) -> String {
    let mut raw = String::with_capacity(text.len() + text.len() / 16);
    for c in text.chars() {
        match c {
            '"' => raw.push_str("\\\""),
            '\\' => raw.push_str("\\\\"),
            '\n' => raw.push_str("\\n"),
            '\r' => raw.push_str("\\r"),
            '\t' => raw.push_str("\\t"),
            c if c < ' ' => raw.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => raw.push(c),
        }
    }
    raw
}
