//! Images and documents: `data:` URLs (RFC 2397) taken apart and put together.

use std::borrow::Cow;

use super::conversation::{Media, MediaKind, Source};

/// The media that a URL of OpenAI's is; none for a `data:` URL that isn't base64.
pub(super) fn of_url(url: Cow<'_, str>, kind: MediaKind) -> Option<Media<'_>> {
    if !starts_with(&url, "data:") {
        let source = Source::Url(url);
        return Some(Media { kind, source });
    }
    let (head, base64) = match url {
        Cow::Borrowed(url) => url.split_once(',').map(|(a, b)| (a.into(), b.into())),
        Cow::Owned(url) => url
            .split_once(',')
            .map(|(a, b)| (Cow::Owned(a.to_owned()), Cow::Owned(b.to_owned()))),
    }?;
    let source = Source::Data {
        media_type: media_type(&head)?,
        base64,
    };
    Some(Media { kind, source })
}

fn media_type<'a>(head: &Cow<'a, str>) -> Option<Cow<'a, str>> {
    let mut fields = head.get(5..)?.split(';');
    let media_type = fields.next()?.to_ascii_lowercase();
    let is_base64 = fields.any(|field| field.eq_ignore_ascii_case("base64"));
    let usual = match media_type.as_str() {
        "image/jpg" => "image/jpeg".to_owned(),
        _ => media_type,
    };
    is_base64.then_some(Cow::Owned(usual))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The URL that a source is.
pub(super) fn url<'s>(source: &'s Source<'_>) -> Cow<'s, str> {
    match source {
        Source::Data { media_type, base64 } => Cow::Owned(format!("data:{media_type};base64,{base64}")),
        Source::Url(url) => Cow::Borrowed(url),
    }
}
