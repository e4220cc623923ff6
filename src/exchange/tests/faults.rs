//! Faults of the host: a store without room, a clock that steps, a proxy that answers in the provider's place.

use core::time::Duration;

use serde_json::json;

use super::*;
use crate::time::UnixMillis;

impl Lab {
    fn says_of_answers(&mut self, details: &str) {
        self.properties
            .insert("response.code_details".into(), details.into());
    }

    /// What the tick does with what couldn't be written.
    fn flush(&mut self) {
        let bookings = core::mem::take(&mut self.effects.bookings);
        let transitions = core::mem::take(&mut self.effects.transitions);
        self.turn(|turn| turn.retry(bookings, transitions));
    }
}

fn with(on_contention: &str) -> Lab {
    Lab::new(
        json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": "10000/min", "on_contention": on_contention}]}),
    )
}

#[test]
fn a_store_without_room_lets_requests_through_and_their_charges_wait() {
    let mut lab = with("allow");
    lab.store.fill(true);
    for _ in 0..3 {
        let call = lab.exchange(&chat(json!({})), 200, &answered("hi", 10, 20));
        assert_eq!(call.record(&mut lab)["end"], "complete");
    }
    lab.flush();
    assert_eq!(lab.used("acme"), 0, "still no room");
    assert_eq!(lab.effects.bookings.len(), 3, "and nothing is given up");
    lab.store.fill(false);
    lab.flush();
    assert_eq!((lab.used("acme"), lab.effects.bookings.len()), (90, 0));
}

#[test]
fn where_the_policy_says_so_a_store_without_room_lets_nobody_through() {
    let mut lab = with("deny");
    lab.store.fill(true);
    assert_eq!(lab.send(&chat(json!({}))).refused(), Some(429));
    lab.store.fill(false);
    lab.flush();
    assert_eq!(lab.used("acme"), 0);
    let call = lab.exchange(&chat(json!({})), 200, &answered("hi", 10, 20));
    assert_eq!(call.record(&mut lab)["end"], "complete");
}

#[test]
fn a_store_that_fills_while_an_answer_comes_loses_neither_its_charge_nor_its_refund() {
    let mut lab = with("allow");
    let mut call = lab.send(&chat(json!({"max_tokens": 500})));
    let reserved = lab.used("acme");
    lab.store.fill(true);
    call.answer(&mut lab, 200, &answered("hi", 10, 20));
    assert_eq!(lab.used("acme"), reserved);
    lab.store.fill(false);
    lab.flush();
    assert_eq!(lab.used("acme"), 30);
}

#[test]
fn a_provider_that_fails_is_left_alone_though_the_store_has_no_room_for_long() {
    let mut lab = with("allow");
    lab.store.fill(true);
    for _ in 0..2 {
        let mut call = lab.send(&chat(json!({})));
        call.answer(&mut lab, 500, "{}");
        call.record(&mut lab);
    }
    lab.store.fill(false);
    lab.flush();
    let call = lab.send(&chat(json!({})));
    let cluster = call.header("x-spillway-cluster");
    assert!(cluster.is_some(), "it goes on, to whoever may be asked");
}

#[test]
fn a_wall_clock_that_steps_back_or_ahead_changes_no_limit_and_no_duration() {
    let mut lab = Lab::new(
        json!({"limits": [{"name": "tokens", "per": ["caller"], "tokens": "100/min", "reserve": "max"}]}),
    );
    let day = 86_400_000;
    for wall in [0, lab.now.wall.0 - 400 * day, lab.now.wall.0 + day, u64::MAX] {
        lab.later(Duration::from_secs(120));
        let mut call = lab.send(&chat(json!({"max_tokens": 50})));
        lab.now.wall = UnixMillis(wall);
        lab.later(Duration::from_millis(30));
        call.answer(&mut lab, 200, &answered("hi", 10, 70));
        let refused = lab.send(&chat(json!({"max_tokens": 60})));
        assert_eq!(refused.refused(), Some(429), "{wall}");
        let wait: u64 = refused.reply_header("retry-after-ms").unwrap().parse().unwrap();
        assert!((20_000..40_000).contains(&wait), "{wall}: {wait}");
        assert_eq!(call.record(&mut lab)["duration_ms"], 30);
    }
}

#[test]
fn what_the_proxy_answers_in_a_provider_s_place_costs_the_prompt_that_it_may_have_read() {
    for (details, status, read) in [
        ("response_timeout", 504, true),
        ("upstream_per_try_timeout", 504, true),
        (
            "upstream_reset_before_response_started{connection_termination}",
            503,
            true,
        ),
        (
            "upstream_reset_before_response_started{connection_failure}",
            503,
            false,
        ),
        ("upstream_reset_before_response_started{overflow}", 503, false),
        ("no_healthy_upstream", 503, false),
        ("via_upstream", 500, false),
    ] {
        let mut lab = Lab::new(json!({}));
        lab.says_of_answers(details);
        let mut call = lab.send(&chat(json!({})));
        call.answer(&mut lab, status, "upstream request timeout");
        let record = call.record(&mut lab);
        let prompt = record["estimate"].as_u64().unwrap();
        assert_eq!(lab.used("acme"), if read { prompt } else { 0 }, "{details}");
    }
}
