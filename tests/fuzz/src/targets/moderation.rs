//! What a moderation service, or a second model, answers.

use spillway::moderation::{Side, question, verdict};
use spillway::policy::moderation::{Ask, Category};

use crate::input::Input;
use crate::truth;

/// What isn't plainly a verdict is a failure; categories are few, short and plain; what is asked is JSON whatever the text.
pub fn moderation(data: &[u8]) {
    let mut input = Input::new(data);
    let (ask, status) = (ask(input.byte()), 100 + u16::from(input.byte()) * 2);
    let body = input.rest();
    if let Ok(found) = verdict(&ask, Some(status), body) {
        assert!((200..300).contains(&status), "{status}");
        assert!(truth::value(body).is_some(), "a verdict out of no JSON");
        assert!(found.categories.len() <= 8, "{:?}", found.categories);
        let plain =
            |name: &String| name.len() <= 48 && name.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        assert!(found.categories.iter().all(plain), "{:?}", found.categories);
    }
    assert!(verdict(&ask, None, body).is_err());
    truth::assert_json(&question(&ask, Side::Answer, &String::from_utf8_lossy(body)));
}

fn ask(choice: u8) -> Ask {
    let model = || "judge".to_owned();
    match choice % 4 {
        0 => Ask::Moderation {
            model: model(),
            categories: Vec::new(),
        },
        1 => Ask::Moderation {
            model: model(),
            categories: [("violence", Some(0.5)), ("hate", None)]
                .map(|(name, threshold)| Category {
                    name: name.to_owned(),
                    threshold,
                })
                .to_vec(),
        },
        2 => Ask::Model {
            model: model(),
            question: "Is it \"allowed\"?".to_owned(),
        },
        _ => Ask::Http {
            flagged: "/verdict/flagged".to_owned(),
            category: Some("/verdict/label".to_owned()),
        },
    }
}
