//! `spillway`, the native tool: what a policy says, before a proxy has to say it.
//!
//! Its invariant: it knows no rule of its own. What it refuses, the module refuses, in the same words.

#[cfg(not(target_arch = "wasm32"))]
mod check;
#[cfg(not(target_arch = "wasm32"))]
mod count;
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
spillway: checks policies of the Spillway filter, and counts as it does

  spillway check [--env-file FILE] [--assume-env] FILE…
      Reads each policy (JSON or YAML) as the module would, says in short what it does, or everything
      that is wrong with it. Secrets come from the environment and are never shown.

      --env-file FILE   lines of NAME=VALUE; in double quotes, \\n begins a new line. They come before
                        this process's own variables. Given several times, the last one wins.
      --assume-env      a variable that is missing counts as set, so that a policy can be checked where
                        its secrets aren't

      Exit codes: 0 all good, 1 one was refused or couldn't be read, 2 wrong usage.

  spillway count [--tokenizer o200k|cl100k|estimate] [--path PATH] FILE
      How many tokens the prompt in a request's body has (- reads the input): its texts, and what is
      around them. PATH says how the body is to be read (/v1/chat/completions).

  spillway help
      This text.";
