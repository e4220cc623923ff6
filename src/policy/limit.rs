//! Limits: rolling rates of requests or tokens, the callers' and the providers'.
//!
//! Its invariant: every limit can admit at least one request, and its identity depends on nothing but its name and unit,
//! so that a changed quota keeps what was spent.

use core::hash::Hasher;
use core::time::Duration;

use siphasher::sip::SipHasher13;

use super::error::{list, quote};
use super::field::{Field, Reading, Section};
use super::fleet;
use super::names::{self, LABEL};
use super::quantity::{self, COUNT, RATE, Rate};
use super::types::{Attribute, Limit, Mode, OnContention, Per, Reserve, Scope, Unit};

const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
const RESERVES: [(&str, Reserve); 2] = [("expected", Reserve::Expected), ("max", Reserve::Max)];
const CONTENTION: [(&str, OnContention); 2] = [("allow", OnContention::Allow), ("deny", OnContention::Deny)];

/// `enforce` or `shadow`.
pub(super) fn mode(field: &Field<'_>, r: &mut Reading<'_>) -> Option<Mode> {
    field.choice(r, &MODES)
}

/// The callers' limits, in the order written.
pub(super) fn limits(field: &Field<'_>, attributes: &[Attribute], r: &mut Reading<'_>) -> Vec<Limit> {
    const FIELDS: [&str; 10] = [
        "name",
        "per",
        "tokens",
        "requests",
        "burst",
        "mode",
        "reserve",
        "on_contention",
        "scope",
        "share",
    ];
    let mut limits: Vec<Limit> = Vec::new();
    for item in field.items(r, "a list of limits") {
        let section = item.section(r, &FIELDS);
        let name = unique_name(&section, &limits, r);
        let per = section
            .get("per")
            .map(|f| per(&f, attributes, r))
            .unwrap_or_default();
        limits
            .extend(limit(&section, name, r).map(|limit| fleet::scoped(&section, Limit { per, ..limit }, r)));
    }
    limits
}

/// What a provider grants us: one bucket each, named by the provider and the place.
pub(super) fn granted(provider: &str, field: &Field<'_>, r: &mut Reading<'_>) -> Vec<Limit> {
    const FIELDS: [&str; 6] = ["tokens", "requests", "burst", "mode", "reserve", "on_contention"];
    let items = field.items(r, "a list of limits");
    let read = |(index, item): (usize, &Field<'_>)| {
        let section = item.section(r, &FIELDS);
        limit(&section, format!("{provider}.{index}"), r)
    };
    items.iter().enumerate().filter_map(read).collect()
}

fn unique_name(section: &Section<'_>, before: &[Limit], r: &mut Reading<'_>) -> String {
    let Some(field) = section.require("name", r, LABEL) else {
        return String::new();
    };
    let name = field
        .parsed(r, LABEL, |text| names::is_label(text).then_some(text))
        .unwrap_or_default();
    if before.iter().any(|limit| !name.is_empty() && limit.name == name) {
        field.refuse(
            r,
            format!("{} is another limit's name", quote(name)),
            "a name of its own",
        );
    }
    name.to_owned()
}

fn per(field: &Field<'_>, attributes: &[Attribute], r: &mut Reading<'_>) -> Vec<Per> {
    let mut words = vec![
        ("caller", Per::Caller),
        ("model", Per::Model),
        ("provider", Per::Provider),
        ("route", Per::Route),
    ];
    words.extend(
        attributes
            .iter()
            .enumerate()
            .map(|(index, a)| (a.name.as_str(), Per::Attribute(index))),
    );
    let allowed = list(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>());
    let mut found: Vec<Per> = Vec::new();
    for item in field.items(r, &format!("a list of: {allowed}")) {
        let word = |text: &str| {
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, per)| per.clone())
        };
        match item.parsed(r, &allowed, word) {
            Some(per) if found.contains(&per) => item.refuse(r, "stands here twice", "each once"),
            Some(per) => found.push(per),
            None => {}
        }
    }
    found
}

fn limit(section: &Section<'_>, name: String, r: &mut Reading<'_>) -> Option<Limit> {
    let (unit, Rate { quota, period }) = amount(section, r)?;
    let burst = section.or("burst", quota, |f| burst(&f, Rate { quota, period }, r));
    if let (Some(field), Unit::Requests) = (section.get("reserve"), unit) {
        field.refuse(
            r,
            "a limit of requests reserves no output",
            "this field only with tokens",
        );
    }
    Some(Limit {
        id: id(&name, unit),
        name,
        per: Vec::new(),
        scope: Scope::default(),
        unit,
        quota,
        period,
        burst,
        mode: section.or("mode", Mode::default(), |f| mode(&f, r)),
        reserve: section.or("reserve", Reserve::default(), |f| f.choice(r, &RESERVES)),
        on_contention: section.or("on_contention", OnContention::default(), |f| {
            f.choice(r, &CONTENTION)
        }),
    })
}

/// More than this nobody sells, and the ledger's arithmetic is exact below it.
const LARGEST_QUOTA: u64 = 1_000_000_000_000;
/// A burst that takes longer to refill is a budget of its own kind, which a rolling rate can't be.
const LONGEST_REFILL: Duration = Duration::from_secs(366 * 86_400);

/// What is counted, and how much of it per period.
fn amount(section: &Section<'_>, r: &mut Reading<'_>) -> Option<(Unit, Rate)> {
    let (unit, field) = match (section.get("tokens"), section.get("requests")) {
        (Some(field), None) => (Unit::Tokens, field),
        (None, Some(field)) => (Unit::Requests, field),
        _ if !section.readable => return None,
        (tokens, _) => {
            let wrong = if tokens.is_some() {
                "has both tokens and requests"
            } else {
                "has neither tokens nor requests"
            };
            r.refuse(&section.path, wrong, format!("tokens or requests: {RATE}"));
            return None;
        }
    };
    let rate = field.parsed(r, RATE, quantity::rate)?;
    if !(1..=LARGEST_QUOTA).contains(&rate.quota) {
        let wrong = if rate.quota == 0 {
            "can never admit one request"
        } else {
            "limits nothing"
        };
        field.refuse(r, wrong, "from 1 to 1000G per period");
        return None;
    }
    Some((unit, rate))
}

/// A count as text or as a plain number.
fn burst(field: &Field<'_>, rate: Rate, r: &mut Reading<'_>) -> Option<u64> {
    let burst = match field.tree().is_number() {
        true => field.whole(r, 0..=LARGEST_QUOTA)?,
        false => field.parsed(r, COUNT, quantity::count)?,
    };
    if burst == 0 {
        field.refuse(r, "can never admit one request", "at least 1");
        return None;
    }
    let periods = u128::from(burst) / u128::from(rate.quota);
    if periods.saturating_mul(rate.period.as_nanos()) > LONGEST_REFILL.as_nanos() {
        field.refuse(
            r,
            "takes more than a year to refill",
            "at most what the rate grants in a year",
        );
        return None;
    }
    Some(burst)
}

/// The ledger knows a limit by this across loads, workers and versions: SipHash-1-3 with a fixed key.
fn id(name: &str, unit: Unit) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x7370_696c_6c77_6179, 0x6c69_6d69_742e_6964);
    hasher.write(name.as_bytes());
    hasher.write_u8(match unit {
        Unit::Requests => 0xfe,
        Unit::Tokens => 0xff,
    });
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{Unit, id};

    #[test]
    fn an_identity_never_changes_and_tells_name_and_unit_apart() {
        assert_eq!(id("caller-tokens", Unit::Tokens), 7_691_190_960_387_216_941);
        assert_ne!(id("a", Unit::Tokens), id("a", Unit::Requests));
        assert_ne!(id("a", Unit::Tokens), id("b", Unit::Tokens));
    }
}
