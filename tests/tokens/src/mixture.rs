//! Megabytes of text out of what the repository has: sentences of its files in other orders and mixtures, generated JSON,
//! code, chats and numbers, and characters of every Unicode block. The same each time.

use crate::corpus::{self, Text};
use crate::random::Random;
use std::io;

/// A text and what it is.
pub type Named = (String, String);

/// At least five megabytes, in texts of at most some tens of kilobytes.
///
/// # Errors
/// When a file of the corpus can't be read.
pub fn texts() -> io::Result<Vec<Named>> {
    let mut files = corpus::load("fit")?;
    files.extend(corpus::load("held-out")?);
    let mut texts: Vec<Named> = files
        .iter()
        .map(|file| (file.kind.clone(), file.text.clone()))
        .collect();
    let mut random = Random::new(1);
    for round in 0..64 {
        texts.extend(
            files
                .iter()
                .filter(|file| file.kind != "code" || round % 2 == 0)
                .map(|file| {
                    (
                        format!("{}, shuffled {round}", file.kind),
                        shuffled(file, &mut random),
                    )
                }),
        );
        texts.push((format!("JSON {round}"), json(&files, &mut random)));
        texts.push((format!("chat {round}"), chat(&files, &mut random)));
        texts.push((format!("numbers {round}"), numbers(&mut random)));
        if texts.iter().map(|(_, text)| text.len()).sum::<usize>() > 5_400_000 {
            break;
        }
    }
    texts.push(("every block".into(), every_block(&mut random)));
    Ok(texts)
}

/// Sentences of `file` in another order, some in another case, some joined without what was between them.
fn shuffled(file: &Text, random: &mut Random) -> String {
    let sentences: Vec<&str> = file
        .text
        .split_inclusive(['.', '\n', '。', '।', '؟', '!'])
        .collect();
    let mut text = String::new();
    while text.len() < file.text.len().min(16_000) {
        let sentence = *random.one(&sentences);
        match random.below(12) {
            0 => text.push_str(&sentence.to_uppercase()),
            1 => text.push_str(sentence.trim()),
            2 => text.push_str(&sentence.replace(' ', "  ")),
            3 => text.push_str(&sentence.replace(' ', "_")),
            _ => text.push_str(sentence),
        }
    }
    text
}

fn line<'f>(files: &'f [Text], random: &mut Random) -> &'f str {
    let lines = random.one(files).text.lines();
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).take(200).collect();
    lines.get(random.below(lines.len())).copied().unwrap_or("nothing")
}

fn json(files: &[Text], random: &mut Random) -> String {
    let mut text = String::from("{\n");
    for index in 0..100 {
        let indent = "  ".repeat(1 + random.below(6));
        let value = corpus::escape(line(files, random));
        let number = random.below(100_000);
        text.push_str(&format!(
            "{indent}\"field_{index}\": {{\"id\": {number}, \"text\": \"{value}\", \"ok\": true}},\n"
        ));
    }
    text + "}\n"
}

fn chat(files: &[Text], random: &mut Random) -> String {
    let openings = [
        "I'm sure that's",
        "WE'LL see, you'Re",
        "Can't you",
        "they've said",
        "- [ ] TODO:",
        "```rust\n",
        "👩‍💻 ok,",
        "It'ſ",
    ];
    (0..60)
        .map(|_| {
            format!(
                "{} {}{}",
                random.one(&openings),
                line(files, random),
                random.one(&["\n", "\n\n", "  ", "\r\n\r\n", " 🙂\n"])
            )
        })
        .collect()
}

fn numbers(random: &mut Random) -> String {
    (0..500)
        .map(|_| match random.below(5) {
            0 => format!("{},", random.below(10)),
            1 => format!("{}.{:02} ", random.below(1_000_000), random.below(100)),
            2 => format!("0x{:x}\t", random.below(usize::MAX)),
            3 => format!("{:e}; ", random.below(1_000_000)),
            _ => format!(
                "{}-{:02}-{:02}T{:02}:00Z\n",
                1900 + random.below(200),
                random.below(13),
                random.below(32),
                random.below(24)
            ),
        })
        .collect()
}

/// Characters of each block of 128 code points, alone, in runs, and beside a letter, a space and a digit.
fn every_block(random: &mut Random) -> String {
    let blocks = (0..0x11_0000u32)
        .step_by(128)
        .filter(|first| *first < 0x3_2000 || first % 0x4000 == 0);
    let mut text = String::new();
    for first in blocks {
        for beside in ["", " ", "a", "A", "7", "\n", "'s ", "é"] {
            text.push_str(beside);
            text.extend((0..=random.below(3)).map(|_| random.character(first, first + 127)));
        }
    }
    text
}
