//! Templates: YAML as it will stand in the file, with its comments, and places to fill.
//!
//! A template and not a serializer, because comments, flow style and the order of keys are what people read a
//! configuration by; no serializer keeps all three. Its invariant: what is filled in is never searched for places.

/// A template with its places filled: `${name}` alone on a line stands for a block, which takes that line's
/// indentation (an empty block takes the line away); elsewhere it stands for a text. Blocks end with their line.
pub(super) fn fill(template: &str, places: &[(&str, String)]) -> String {
    let mut out = String::new();
    for line in template.lines() {
        match block_of(line, places) {
            Some((indent, block)) => push_block(&mut out, indent, block),
            None => push_line(&mut out, line, places),
        }
    }
    out
}

/// A block, each of its lines further in by `indent`.
pub(super) fn indented(block: &str, indent: &str) -> String {
    let mut out = String::new();
    push_block(&mut out, indent, block);
    out
}

fn block_of<'t>(line: &'t str, places: &'t [(&str, String)]) -> Option<(&'t str, &'t str)> {
    let name = line.trim_start().strip_prefix("${")?.strip_suffix('}')?;
    let indent = line.get(..line.len() - line.trim_start().len())?;
    Some((indent, value(name, places)?))
}

fn value<'p>(name: &str, places: &'p [(&str, String)]) -> Option<&'p str> {
    let found = places.iter().find(|(known, _)| *known == name)?;
    Some(found.1.as_str())
}

fn push_block(out: &mut String, indent: &str, block: &str) {
    for line in block.lines() {
        if !line.trim().is_empty() {
            out.push_str(indent);
            out.push_str(line.trim_end());
        }
        out.push('\n');
    }
}

fn push_line(out: &mut String, line: &str, places: &[(&str, String)]) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("${") {
        let found = after
            .split_once('}')
            .and_then(|(name, after)| Some((value(name, places)?, after)));
        let Some((text, after)) = found else { break };
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out.push_str(rest);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn a_block_takes_its_place_s_indentation_and_an_empty_one_takes_the_line_away() {
        let places = [
            ("block", "b: 1\n\n# c\nd:\n  - 2\n".to_owned()),
            ("none", String::new()),
        ];
        assert_eq!(
            fill("a:\n  ${block}\n  ${none}\nz: 0\n", &places),
            "a:\n  b: 1\n\n  # c\n  d:\n    - 2\nz: 0\n"
        );
    }

    #[test]
    fn texts_stand_within_a_line_and_are_not_searched_again() {
        let places = [("x", "${y}".to_owned()), ("y", "1".to_owned())];
        assert_eq!(fill("a: [${x}, ${y}] # ${z}", &places), "a: [${y}, 1] # ${z}\n");
        assert_eq!(fill("a: 1 ${", &places), "a: 1 ${\n");
    }
}
