use super::*;

/// 2026-03-31T12:00:00Z
const NOW: Now = Now(1_774_958_400);

fn read(text: &str) -> Condition {
    parse(text, NOW).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn text(fields: &'static [Field], text: &str) -> Condition {
    Condition::Is(Term::Text(Text { fields, text: text.into(), begins: false }))
}

fn date(text: &str) -> (Option<i64>, Option<i64>) {
    match read(text) {
        Condition::Is(Term::Date(from, to)) => (from.map(|s| s / 86_400), to.map(|s| s / 86_400)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_language_is_read() {
    assert_eq!(read("*"), Condition::Is(Term::Everything));
    assert_eq!(
        read("invoice FROM:anna subject:\"annual report\""),
        Condition::All(vec![
            text(&[], "invoice"),
            text(&[Field::From], "anna"),
            text(&[Field::Subject], "annual report")
        ])
    );
    let begins = Text { fields: &[Field::Subject], text: "inv".into(), begins: true };
    assert_eq!(read("subject:inv*"), Condition::Is(Term::Text(begins)));
    assert_eq!(
        read("a AND b OR NOT c -d"),
        Condition::Any(vec![
            Condition::All(vec![text(&[], "a"), text(&[], "b")]),
            Condition::All(vec![
                Condition::Not(Box::new(text(&[], "c"))),
                Condition::Not(Box::new(text(&[], "d")))
            ]),
        ])
    );
    assert_eq!(
        read("subject:(a OR \"b c\") -(x y)"),
        Condition::All(vec![
            Condition::Any(vec![text(&[Field::Subject], "a"), text(&[Field::Subject], "b c")]),
            Condition::Not(Box::new(Condition::All(vec![text(&[], "x"), text(&[], "y")]))),
        ])
    );
    assert_eq!(read("http://example.com"), text(&[], "http://example.com"));
    assert_eq!(read("Re: 12:30 \"or: else\""), {
        Condition::All(vec![text(&[], "Re:"), text(&[], "12:30"), text(&[], "or: else")])
    });
    assert_eq!(read("id:<a@b>"), Condition::Is(Term::Id("a@b".into())));
    assert_eq!(read("or and not"), Condition::All(vec![text(&[], "or"), text(&[], "and"), text(&[], "not")]));
}

#[test]
fn dates_and_sizes_are_read() {
    assert_eq!(date("after:1970-01-02"), (Some(1), None));
    assert_eq!(date("before:1970-01-03"), (None, Some(2)));
    assert_eq!(date("on:1970-02"), (Some(31), Some(59)));
    assert_eq!(date("on:1970..1970-02-01"), (Some(0), Some(32)));
    assert_eq!(date("on:..1970"), (None, Some(365)));
    let today = NOW.0 / 86_400;
    assert_eq!(date("on:today"), (Some(today), Some(today + 1)));
    assert_eq!(date("after:7d"), (Some(today - 7), None));
    assert_eq!(date("after:1m"), (Some(today - 31), None), "February has no 31st, so its last day");
    let size = |text: &str| match read(text) {
        Condition::Is(Term::Size(from, to)) => (from, to),
        other => panic!("{other:?}"),
    };
    assert_eq!(size("size:>5mb"), (5 * 1024 * 1024 + 1, u64::MAX));
    assert_eq!(size("size:<=1.5k"), (0, 1536));
    assert_eq!(size("larger:10"), (11, u64::MAX));
    assert_eq!(size("smaller:10"), (0, 9));
}

/// Goal: whoever slips learns where, and what to write instead.
#[test]
fn mistakes_are_placed_and_say_what_to_do() {
    for (query, at, what) in [
        ("", 1, "* finds everything"),
        ("word \"open", 6, "not closed"),
        ("after:yesteryear", 7, "2026-01-31"),
        ("after:2026-13-01", 7, "2026-01-31"),
        ("x has:fun", 7, "has:attachment"),
        ("from: x", 6, "from:anna"),
        ("form:anna", 1, "did you mean from:?"),
        ("sbuject:x", 1, "did you mean subject:?"),
        ("zzzzzz:x", 1, "in quotes"),
        ("size:5mb", 6, "size:>5mb"),
        ("size:>5tb", 6, "5mb"),
        ("size:>99999999999gb", 6, "5mb"),
        ("(a", 1, "not closed"),
        ("a)", 2, "closes none"),
        ("()", 1, "nothing stands"),
        ("a OR", 3, "OR stands between"),
        ("OR a", 1, "OR stands between"),
        ("AND a", 1, "AND stands between"),
        ("a NOT", 3, "missing"),
        ("filename:*.pdf", 10, "filename:pdf"),
        ("in*oice", 1, "at the end of a word"),
        ("...", 1, "no letter"),
        (&"a ".repeat(65), 129, "several queries"),
        (&"(".repeat(40), 18, "parentheses"),
        (&"a".repeat(5000), 1, "several queries"),
    ] {
        let error = parse(query, NOW).expect_err(query);
        assert!(error.what.contains(what), "{query}: {error}");
        assert_eq!(error.at, at, "{query}: {error}");
    }
    assert!(parse(&"NOT ".repeat(500), NOW).is_err());
}

proptest::proptest! {
    /// Goal: whatever is asked, there is an answer.
    #[test]
    fn anything_is_a_query_or_a_mistake(text in "\\PC{0,80}", parts in proptest::collection::vec("[()\"*:-]|OR|AND|NOT|from|size|on|a| ", 0..40)) {
        let _ = parse(&text, NOW);
        let _ = parse(&parts.concat(), NOW);
    }
}
