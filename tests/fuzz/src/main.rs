//! Replays inputs, runs mutated ones, writes seeds: `spillway-fuzz TARGET FILE…`, `spillway-fuzz seeds DIRECTORY`, `spillway-fuzz list`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use spillway_fuzz::mutate::Dice;
use spillway_fuzz::{TARGETS, seeds};

const USAGE: &str = "usage: spillway-fuzz TARGET FILE_OR_DIRECTORY…   replays inputs; the first that breaks a property ends it in a panic
       spillway-fuzz mutate TARGET N           runs N mutated seeds; one that breaks a property is left in ./broken-TARGET
       spillway-fuzz seeds DIRECTORY           writes each target's seeds into DIRECTORY/TARGET
       spillway-fuzz list                      targets, and what of src/ each is about";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["list"] => {
            TARGETS
                .iter()
                .for_each(|target| println!("{} {}", target.name, target.about.join(" ")));
            Ok(())
        }
        ["mutate", name, count] => mutated(name, count),
        ["seeds", directory] => write(Path::new(directory)),
        [name, ref files @ ..] if !files.is_empty() => replay(name, files),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(told) => {
            eprintln!("{told}");
            ExitCode::from(2)
        }
    }
}

fn replay(name: &str, files: &[&str]) -> Result<(), String> {
    let target = TARGETS.iter().find(|target| target.name == name).ok_or(USAGE)?;
    let mut count = 0;
    for file in files {
        for path in inputs(Path::new(file))? {
            let data = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            (target.run)(&data);
            count += 1;
        }
    }
    println!("{name}: {count} inputs");
    Ok(())
}

fn mutated(name: &str, count: &str) -> Result<(), String> {
    let target = TARGETS.iter().find(|target| target.name == name).ok_or(USAGE)?;
    let (seeds, count) = (seeds::seeds(name), count.parse::<u64>().map_err(|_| USAGE)?);
    let mut dice = Dice::new(count);
    for run in 1..=count {
        let input = dice.mutated(&seeds);
        if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
            let file = format!("broken-{name}");
            fs::write(&file, &input).map_err(|error| error.to_string())?;
            return Err(format!(
                "{name}: broken after {run} executions; the input is in ./{file}"
            ));
        }
    }
    println!("{name}: {count} mutated seeds");
    Ok(())
}

/// The file, or the files of the directory.
fn inputs(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

fn write(directory: &Path) -> Result<(), String> {
    for target in TARGETS {
        let folder = directory.join(target.name);
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        for (at, seed) in seeds::seeds(target.name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{at:03}")), seed).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}
