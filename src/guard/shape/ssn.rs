//! US social security numbers: 3-2-4 digits, without the areas, groups and serials that are never given out.

use crate::guard::text::{Text, alnum, digit};

/// How far before a number without hyphens its name may stand.
const NAME: usize = 40;

/// The number that begins with the run of digits here.
pub(in crate::guard) fn at(text: Text<'_>, start: usize) -> Option<(usize, usize)> {
    if alnum(text.before(start)) || matches!(text.before(start), b'-' | b'.' | b'_' | b'/' | b'+') {
        return None;
    }
    let separator = match text.run(start, 10, digit) - start {
        3 => Some(text.at(start + 3)).filter(|byte| matches!(byte, b'-' | b' ')),
        9 => None,
        _ => return None,
    };
    let step = usize::from(separator.is_some());
    let (group, serial) = (start + 3 + step, start + 5 + 2 * step);
    let end = serial + 4;
    let parted = separator.is_none_or(|byte| text.at(start + 3) == byte && text.at(serial - 1) == byte);
    let digits = [start..start + 3, group..group + 2, serial..end];
    let digits = digits
        .into_iter()
        .all(|part| part.into_iter().all(|place| digit(text.at(place))));
    let named = separator == Some(b'-') || is_named(text, start);
    (parted && digits && ends(text, end) && given(text, [start, group, serial]) && named)
        .then_some((start, end))
}

fn ends(text: Text<'_>, end: usize) -> bool {
    match text.at(end) {
        b'_' => false,
        b'-' | b'.' => !alnum(text.at(end + 1)),
        byte => !alnum(byte),
    }
}

/// Never given out: area 000, 666 and 900–999, group 00, serial 0000 (SSA POMS RM 10201.035).
fn given(text: Text<'_>, [area, group, serial]: [usize; 3]) -> bool {
    let area = text.slice(area, area + 3);
    let never = area == b"000" || area == b"666" || area.starts_with(b"9");
    !never && text.slice(group, group + 2) != b"00" && text.slice(serial, serial + 4) != b"0000"
}

/// Whether the words before say what it is: without hyphens nine digits are anything.
fn is_named(text: Text<'_>, start: usize) -> bool {
    let words = text.slice(start.saturating_sub(NAME), start).to_ascii_lowercase();
    let says = |name: &[u8]| words.windows(name.len()).any(|window| window == name);
    says(b"ssn") || says(b"social security")
}
