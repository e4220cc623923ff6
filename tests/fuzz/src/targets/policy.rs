//! The policy document, as a host hands it over.

use std::collections::BTreeMap;

use spillway::exchange::Gateway;
use spillway::ledger::{HashKey, Ledger};
use spillway::policy::{Policy, load_bytes};

use crate::input::Input;
use crate::lab::Lab;
use crate::lab::script::Script;

/// What the environment has, and no message may.
const SECRET: &str = "s3cr3t-of-the-environment";

/// A document is refused with at least one problem, each with a place and what is allowed there, none with a secret; or it
/// is a policy whose every index leads somewhere, and which carries a standard exchange to its end.
pub fn policy(data: &[u8]) {
    let bytes = Input::new(data).rest();
    let keys = format!("me={}", "ab".repeat(32));
    let environment: BTreeMap<String, String> = [
        ("OPENAI_API_KEY", SECRET),
        ("ANTHROPIC_API_KEY", SECRET),
        ("CALLER_KEYS", &keys),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    match load_bytes(bytes, &environment) {
        Err(error) => {
            assert!(!error.problems().is_empty());
            assert!(
                error
                    .problems()
                    .iter()
                    .all(|problem| !problem.path.is_empty() && !problem.wrong.is_empty())
            );
            assert!(!error.to_string().contains(SECRET));
        }
        Ok(policy) => {
            whole(&policy);
            let ledger = Ledger::new(HashKey::from_text("test"), policy.tracked_keys);
            let gateway = Gateway::new(policy, ledger);
            Lab::new(&gateway).play(&Script::standard());
        }
    }
}

fn whole(policy: &Policy) {
    let hops = policy
        .models
        .iter()
        .chain(&policy.any_model)
        .flat_map(|route| &route.chain);
    for hop in hops {
        let provider = policy.providers.get(hop.provider);
        assert!(
            provider.is_some_and(|provider| hop.model < provider.models.len()),
            "{hop:?} leads nowhere"
        );
    }
    let limits = policy
        .providers
        .iter()
        .flat_map(|provider| &provider.limits)
        .chain(&policy.limits);
    for limit in limits {
        assert!(
            limit.quota > 0 && !limit.period.is_zero() && limit.burst > 0,
            "{limit:?}"
        );
    }
    assert!(policy.tracked_keys > 0 && policy.bounds.request_body > 0 && policy.bounds.sse_line > 0);
}
