//! Expressions: what they say, what is refused, and that they end.

use serde_json::{Value, json};

use super::{Condition, Facts, Fault};

fn judge(source: &str, answer: &Value) -> Result<bool, Fault> {
    let request = json!({"model": "gpt-4o", "caller": "acme"});
    let condition = Condition::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    condition.holds(Facts {
        answer,
        request: &request,
    })
}

#[test]
fn expressions_say_what_cel_says() {
    let answer = json!({
        "discount": 15, "price": 80.5, "name": "Ada", "tags": ["new", "sale"], "none": null, "ok": true,
        "items": [{"qty": 2, "sku": "a-1"}, {"qty": 3, "sku": "b-2"}], "odd name": 1, "empty": {},
    });
    let table = [
        ("answer.discount <= 20", Ok(true)),
        ("answer.discount > 20 || answer.price < 100", Ok(true)),
        ("answer.discount + 5 * 2 == 25", Ok(true)),
        ("(answer.discount + 5) * 2 == 40", Ok(true)),
        ("answer.discount - 5 - 5 == 5", Ok(true)),
        ("answer.discount % 4 == 3 && answer.discount / 2 == 7.5", Ok(true)),
        ("-answer.discount == -15", Ok(true)),
        ("!answer.ok", Ok(false)),
        ("answer.none == null", Ok(true)),
        ("answer.name == 'Ada' && answer.name != \"Bob\"", Ok(true)),
        ("answer.name < 'Bob'", Ok(true)),
        ("answer['odd name'] == 1", Ok(true)),
        ("answer.tags[1] == 'sale'", Ok(true)),
        ("answer.items[0].qty == 2", Ok(true)),
        ("'new' in answer.tags && !('old' in answer.tags)", Ok(true)),
        ("'name' in answer && answer.discount in [10, 15, 20]", Ok(true)),
        (
            "size(answer.tags) == 2 && size('né') == 2 && answer.items.size() == 2",
            Ok(true),
        ),
        ("has(answer.discount) && !has(answer.rebate)", Ok(true)),
        ("has(answer.rebate) ? answer.rebate < 5 : true", Ok(true)),
        (
            "answer.name.startsWith('A') && answer.name.endsWith('a') && answer.name.contains('d')",
            Ok(true),
        ),
        ("answer.items.all(i, i.qty > 0 && i.sku.contains('-'))", Ok(true)),
        ("answer.items.exists(i, i.qty > 2)", Ok(true)),
        (
            "answer.items.all(i, answer.items.exists(j, j.qty >= i.qty))",
            Ok(true),
        ),
        (
            "answer.tags == ['new', 'sale'] && answer.empty == answer.empty",
            Ok(true),
        ),
        (
            "request.model == 'gpt-4o' ? answer.discount <= 20 : answer.discount <= 10",
            Ok(true),
        ),
        ("answer.name + '!' == 'Ada!'", Ok(true)),
        ("1 == 1.0", Ok(true)),
        ("'1' == 1", Ok(false)),
        ("answer.rebate > 1", Err(Fault::Missing)),
        ("answer.name > 1", Err(Fault::Type)),
        ("answer.name", Err(Fault::Type)),
        ("answer.name.first == 1", Err(Fault::Type)),
        ("answer.tags[2] == ''", Err(Fault::Missing)),
        ("1 / 0 == 1", Err(Fault::Number)),
        ("answer.rebate > 1 || true", Ok(true)),
        ("answer.rebate > 1 && false", Ok(false)),
        ("answer.rebate > 1 && true", Err(Fault::Missing)),
        ("answer.items.exists(i, i.lot == 1 || i.qty == 3)", Ok(true)),
    ];
    for (source, expected) in table {
        assert_eq!(judge(source, &answer), expected, "{source}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_what_is_allowed() {
    let table = [
        (
            "",
            "at column 1: it ends here (allowed: answer, request, has(), size(), ",
        ),
        ("answer.discount <= ", "at column 20: it ends here"),
        ("answer.discount =< 20", "at column 17: '=' means nothing"),
        (
            "discount <= 20",
            "at column 1: \"discount\" is unknown (allowed: answer, request)",
        ),
        (
            "answer.matches('a')",
            "at column 8: there is no matches() (allowed: startsWith, endsWith, ",
        ),
        (
            "has(answer)",
            "at column 5: this is no field (allowed: has(answer.field))",
        ),
        (
            "answer.a b",
            "at column 10: \"b\" isn't expected (allowed: an operator, or the end)",
        ),
        (
            "answer.items.all(answer, true)",
            "at column 18: \"answer\" is taken",
        ),
        (
            "answer.a == 'x",
            "at column 13: the text isn't closed (allowed: ')",
        ),
        ("answer.a == '\\d'", "at column 14: this escape means nothing"),
        ("answer.a == 1.2.3", "at column 13: \"1.2.3\" is no number"),
        ("(answer.a", "at column 10: it ends here (allowed: ))"),
        ("answer.a == 0x10", "at column 13: \"0x10\" is no number"),
    ];
    for (source, expected) in table {
        let told = Condition::parse(source).unwrap_err().to_string();
        assert!(told.starts_with(expected), "{source}: {told}");
    }
}

#[test]
fn hostile_expressions_and_answers_come_to_an_end() {
    for source in [
        "(",
        "[",
        "!",
        "-",
        "answer.a[",
        "answer.a.",
        "1 + ",
        "true ? ",
        "a",
    ] {
        assert!(Condition::parse(&source.repeat(400)).is_err(), "{source}");
        assert!(Condition::parse(&source.repeat(100_000)).is_err(), "{source}");
    }
    let many = json!(vec![1; 60_000]);
    let nested = "answer.all(a, answer.all(b, answer.all(c, a == b && b == c)))";
    assert_eq!(judge(nested, &many), Err(Fault::Steps));
    let long = json!(["x".repeat(1 << 20), vec!["x".repeat(1 << 10); 500]]);
    let search = "answer[1].all(a, answer[1].all(b, answer[0].contains(a + b)))";
    assert_eq!(judge(search, &long), Err(Fault::Steps));
}
