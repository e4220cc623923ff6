//! `spillway count`: how many tokens a request's prompt has, as the module would find it.

use std::io::Read as _;
use std::process::ExitCode;

use spillway::dialect::{Endpoint, scan};
use spillway::policy::Tokenizer;
use spillway::tokens::exact::{Count, Counter, Encoding};
use spillway::tokens::{Prompt, estimate};

const PATHS: &str = "/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/responses, /v1/messages";

/// What the command line asks for.
struct Asked {
    tokenizer: Tokenizer,
    endpoint: Endpoint,
    file: String,
}

/// Runs the command on its arguments.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let asked = match parse(arguments) {
        Ok(asked) => asked,
        Err(wrong) => return crate::usage(&wrong),
    };
    match read(&asked.file).and_then(|body| count(&asked, &body)) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{}: {wrong}", asked.file);
            ExitCode::from(1)
        }
    }
}

fn parse(arguments: &[String]) -> Result<Asked, String> {
    let (mut tokenizer, mut path, mut file) = (Tokenizer::O200k, "/v1/chat/completions", None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--tokenizer" => tokenizer = named(rest.next())?,
            "--path" => path = rest.next().ok_or("--path needs a path")?,
            other if other.starts_with("--") => return Err(format!("there is no option {other:?}")),
            other => file = Some(other.to_owned()),
        }
    }
    let endpoint = Endpoint::of(b"POST", path.as_bytes());
    Ok(Asked {
        tokenizer,
        endpoint: endpoint.ok_or(format!("no bodies are read of {path:?} (allowed: {PATHS})"))?,
        file: file.ok_or("count needs a file, or - for its input")?,
    })
}

fn named(name: Option<&String>) -> Result<Tokenizer, String> {
    match name.map(String::as_str) {
        Some("o200k") => Ok(Tokenizer::O200k),
        Some("cl100k") => Ok(Tokenizer::Cl100k),
        Some("estimate") => Ok(Tokenizer::Estimate),
        other => Err(format!(
            "--tokenizer is {other:?} (allowed: o200k, cl100k, estimate)"
        )),
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let read = match file {
        "-" => std::io::stdin().read_to_end(&mut body).map(|_| ()),
        path => std::fs::read(path).map(|bytes| body = bytes),
    };
    read.map(|()| body).map_err(|error| error.to_string())
}

fn count(asked: &Asked, body: &[u8]) -> Result<String, String> {
    let facts = scan(asked.endpoint, body).map_err(|error| error.to_string())?;
    let guess = estimate(&facts.prompt, asked.tokenizer);
    let (text, how) = match counted(&facts.prompt, asked.tokenizer) {
        Some(text) => (text, format!("counted; the estimate is {}", guess.text)),
        None => (guess.text, "estimated: no table for this tokenizer".to_owned()),
    };
    Ok(format!(
        "prompt  {} tokens\n  texts   {text} ({how})\n  around  {} (template, tools, images)",
        text.saturating_add(guess.around),
        guess.around
    ))
}

fn counted(prompt: &Prompt<'_>, tokenizer: Tokenizer) -> Option<u64> {
    match Counter::new().count(&prompt.texts, Encoding::of(tokenizer)?, u64::MAX) {
        Count::Exactly(tokens) => Some(tokens),
        Count::Over => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{count, parse};

    fn told(arguments: &[&str], body: &str) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        count(&parse(&arguments)?, body.as_bytes())
    }

    /// The first example of OpenAI's cookbook, "How to count tokens with tiktoken", by its formula: a message of
    /// three tokens, its role, its content, and three for the answer.
    #[test]
    fn a_prompt_is_counted_by_its_tokenizer() {
        let body = r#"{"model": "m", "messages": [{"role": "user", "content": "tiktoken is great!"}]}"#;
        let told = told(&["-"], body).unwrap();
        assert!(
            told.starts_with("prompt  13 tokens\n  texts   7 (counted; "),
            "{told}"
        );
    }

    #[test]
    fn what_has_no_table_is_estimated() {
        let body = r#"{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}"#;
        let told = told(&["--tokenizer", "estimate", "--path", "/v1/messages", "-"], body).unwrap();
        assert!(told.contains("estimated: no table"), "{told}");
    }

    #[test]
    fn wrong_usage_says_what_is_allowed() {
        for (arguments, expected) in [
            (&["--tokenizer", "p50k", "-"][..], "allowed: o200k"),
            (&["--path", "/v1/files", "-"], "allowed: /v1/chat"),
            (&[], "needs a file"),
            (&["--fast", "-"], "no option"),
        ] {
            let wrong = told(arguments, "{}").unwrap_err();
            assert!(wrong.contains(expected), "{wrong}");
        }
        assert!(told(&["-"], "[").is_err());
    }
}
