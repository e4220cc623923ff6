//! Which exchanges a validation, a guard or a moderation is for.

use crate::headers::Headers;

use super::error::{list, quote};
use super::field::{Field, Reading, Section};
use super::names::{self, PLAIN};
use super::types::ModelRoute;

/// Which exchanges something is for: those that meet all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Exact path, without query; any when none.
    pub path: Option<String>,
    /// Headers (lower case) that the request must carry with exactly these values.
    pub headers: Vec<(String, String)>,
    /// Entries of [`super::Policy::models`] by name; any when empty.
    pub models: Vec<String>,
}

impl When {
    /// Member `when` of a section.
    pub(super) fn read(section: &Section<'_>, routes: &[&ModelRoute], r: &mut Reading<'_>) -> Self {
        let when = section
            .get("when")
            .map(|field| field.section(r, &["path", "header", "model"]));
        let part = |name| when.as_ref().and_then(|when| when.get(name));
        let (path, headers, models) = (part("path"), part("header"), part("model"));
        Self {
            path: path.and_then(|f| f.parsed(r, "a path that begins with /, without query", exact_path)),
            headers: headers.map(|f| required_headers(&f, r)).unwrap_or_default(),
            models: models.map(|f| model_names(&f, routes, r)).unwrap_or_default(),
        }
    }

    /// The indices of those that a request with this path, its query apart, and these headers meets.
    pub fn met<'w>(all: impl Iterator<Item = &'w Self>, path: &str, headers: &Headers) -> Vec<usize> {
        let path = path.split('?').next().unwrap_or_default();
        let met = all.enumerate().filter(|(_, when)| when.is_met(path, headers));
        met.map(|(at, _)| at).collect()
    }

    fn is_met(&self, path: &str, headers: &Headers) -> bool {
        let carries = |(name, value): &(String, String)| headers.first(name) == Some(value.as_bytes());
        self.path.as_deref().is_none_or(|wanted| wanted == path) && self.headers.iter().all(carries)
    }

    /// Whether it is for this entry of the policy's models.
    #[must_use]
    pub fn concerns(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|name| name == model)
    }
}

/// A path as rules compare it.
fn exact_path(text: &str) -> Option<String> {
    let odd = |b: u8| !matches!(b, 0x21..=0x7e) || matches!(b, b'?' | b'#');
    let fits = text.starts_with('/') && text.len() <= 1_024 && !text.bytes().any(odd);
    fits.then(|| text.to_owned())
}

/// The headers that a rule asks for.
fn required_headers(field: &Field<'_>, r: &mut Reading<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in field.entries(r, "a map of headers and their values") {
        match names::header(name) {
            Some(name) => headers.extend(value.parsed(r, PLAIN, names::plain).map(|v| (name, v.to_owned()))),
            None => value.refuse(
                r,
                format!("{} can't be a header's name", quote(name)),
                names::HEADER,
            ),
        }
    }
    headers
}

/// Names of the policy's models.
fn model_names(field: &Field<'_>, routes: &[&ModelRoute], r: &mut Reading<'_>) -> Vec<String> {
    let known = list(&routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>());
    let mut found = Vec::new();
    let items = field.items(r, "a list of models");
    if items.is_empty() && field.tree().is_array() {
        field.refuse(
            r,
            "is empty",
            format!("one or more of: {known}; or no such field, for any model"),
        );
    }
    for item in items {
        let is_known = |text: &str| routes.iter().any(|route| route.name == text);
        found.extend(item.parsed(r, &known, |text| is_known(text).then(|| text.to_owned())));
    }
    found
}
