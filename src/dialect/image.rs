//! How large an image is, from the header of its file, when the request carries the file.
//!
//! Only the bytes asked for are decoded from base64: an image of megabytes costs as much as a small one.

use crate::json;
use crate::tokens::{Detail, Image};

/// A data URL's media type and parameters are short; the payload must begin within this many bytes.
const HEADER_BOUND: usize = 128;

/// How many segments of a JPEG are passed over in search of its frame header.
const SEGMENTS: usize = 64;

/// The image that a URL (or bare base64, as Anthropic has it), still JSON-escaped, and a `detail` amount to.
pub(super) fn image(source: Option<&[u8]>, detail: &[u8]) -> Image {
    let detail = match &*json::name(detail) {
        b"low" => Detail::Low,
        b"high" => Detail::High,
        b"original" => Detail::Original,
        _ => Detail::Auto,
    };
    let size = source.and_then(payload).and_then(|base64| size(&Base64(base64)));
    Image { detail, size }
}

fn payload(source: &[u8]) -> Option<&[u8]> {
    if !source.starts_with(b"data:") {
        return Some(source);
    }
    let head = source.get(..HEADER_BOUND).unwrap_or(source);
    let comma = head.iter().position(|byte| *byte == b',')?;
    source.get(comma + 1..)
}

fn size(file: &Base64<'_>) -> Option<(u32, u32)> {
    match &file.bytes::<12>(0)? {
        [0x89, b'P', b'N', b'G', ..] => Some((
            u32::from_be_bytes(file.bytes(16)?),
            u32::from_be_bytes(file.bytes(20)?),
        )),
        [b'G', b'I', b'F', ..] => Some((little(file, 6)?, little(file, 8)?)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => webp(file),
        [0xff, 0xd8, ..] => jpeg(file),
        _ => None,
    }
    .filter(|(width, height)| *width > 0 && *height > 0)
}

fn webp(file: &Base64<'_>) -> Option<(u32, u32)> {
    match &file.bytes::<4>(12)? {
        b"VP8 " => Some((little(file, 26)? & 0x3fff, little(file, 28)? & 0x3fff)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(file.bytes(21)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => {
            let [a, b, c, d, e, f] = file.bytes::<6>(24)?;
            Some((
                u32::from_le_bytes([a, b, c, 0]) + 1,
                u32::from_le_bytes([d, e, f, 0]) + 1,
            ))
        }
        _ => None,
    }
}

/// Segments follow one another, each with its length, until the frame header (SOF0–15 without DHT, JPG, DAC).
fn jpeg(file: &Base64<'_>) -> Option<(u32, u32)> {
    let mut at = 2usize;
    for _ in 0..SEGMENTS {
        let [0xff, marker, high, low] = file.bytes::<4>(at)? else {
            return None;
        };
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            return Some((big(file, at + 7)?, big(file, at + 5)?));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    None
}

fn little(file: &Base64<'_>, at: usize) -> Option<u32> {
    file.bytes(at).map(|two| u32::from(u16::from_le_bytes(two)))
}

fn big(file: &Base64<'_>, at: usize) -> Option<u32> {
    file.bytes(at).map(|two| u32::from(u16::from_be_bytes(two)))
}

/// A file in base64, read at any place. Anything that isn't its alphabet (an escape, a line end) reads as nothing.
struct Base64<'a>(&'a [u8]);

impl Base64<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut found = [0; N];
        for (index, byte) in found.iter_mut().enumerate() {
            *byte = self.byte(at.checked_add(index)?)?;
        }
        Some(found)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        let group = (at / 3).checked_mul(4)?;
        let [a, b, c, d] = *self.0.get(group..)?.first_chunk::<4>()?;
        let pair = match at % 3 {
            0 => sextet(a)? << 10 | sextet(b)? << 4,
            1 => sextet(b)? << 12 | sextet(c)? << 6,
            _ => sextet(c)? << 14 | sextet(d)? << 8,
        };
        Some(pair.to_be_bytes()[0])
    }
}

fn sextet(digit: u8) -> Option<u16> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u16::from(value))
}

#[cfg(test)]
mod tests {
    use super::{Base64, Detail, Image, image};

    fn encode(file: &[u8]) -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for three in file.chunks(3) {
            let bits = three.iter().fold(0u32, |b, x| b << 8 | u32::from(*x)) << (8 * (3 - three.len()));
            for place in 0..4 {
                let digit = digits[(bits >> (18 - 6 * place) & 63) as usize];
                out.push(if place > three.len() {
                    '='
                } else {
                    char::from(digit)
                });
            }
        }
        out
    }

    fn padded(parts: &[&[u8]]) -> String {
        encode(&[parts.concat(), vec![0; 8]].concat())
    }

    #[test]
    fn base64_reads_at_any_place() {
        let file: Vec<u8> = (0..=255).collect();
        let text = encode(&file);
        for at in 0..252 {
            assert_eq!(
                Base64(text.as_bytes()).bytes::<2>(at),
                Some([file[at], file[at + 1]])
            );
        }
        assert_eq!(Base64(text.as_bytes()).bytes::<2>(usize::MAX), None);
    }

    #[test]
    fn sizes_are_read_from_each_format() {
        let png = padded(&[
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            &640u32.to_be_bytes(),
            &480u32.to_be_bytes(),
        ]);
        let gif = padded(&[b"GIF89a", &640u16.to_le_bytes(), &480u16.to_le_bytes()]);
        let jpeg = padded(&[
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08",
            &480u16.to_be_bytes(),
            &640u16.to_be_bytes(),
        ]);
        let lossy = padded(&[
            b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a",
            &640u16.to_le_bytes(),
            &480u16.to_le_bytes(),
        ]);
        let bits = 639u32 | 479 << 14;
        let lossless = padded(&[b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f", &bits.to_le_bytes()]);
        let extended = padded(&[
            b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0",
            &639u32.to_le_bytes()[..3],
            &479u32.to_le_bytes()[..3],
        ]);
        for file in [png, gif, jpeg, lossy, lossless, extended] {
            let url = format!("data:image/x;base64,{file}");
            let size = Some((640, 480));
            for (word, detail) in [
                ("auto", Detail::Auto),
                ("", Detail::Auto),
                ("low", Detail::Low),
                ("high", Detail::High),
                ("original", Detail::Original),
            ] {
                let found = image(Some(url.as_bytes()), word.as_bytes());
                assert_eq!(found, Image { detail, size }, "{url}");
            }
            assert_eq!(image(Some(file.as_bytes()), b"").size, size);
        }
    }

    #[test]
    fn what_is_no_image_has_no_size() {
        for source in [
            "",
            "data:",
            "https://example.com/a.png",
            "data:image/png;base64,",
            "data:image/png;base64,!!!!",
        ] {
            assert_eq!(image(Some(source.as_bytes()), b"high").size, None, "{source}");
        }
        assert_eq!(image(None, b"").size, None);
    }

    #[test]
    fn a_jpeg_of_endless_segments_is_given_up() {
        let file = encode(&[&b"\xff\xd8"[..], &b"\xff\xe0\0\x02".repeat(10_000)].concat());
        assert_eq!(image(Some(file.as_bytes()), b"").size, None);
    }
}
