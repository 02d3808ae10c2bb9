use jiff::Timestamp;
use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> UnixMillis {
    UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap())
}

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The next `count` times after `after`, in `zone`, as its clocks show them with their offset.
fn due(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (schedule, zone) = (schedule(text), Zone::bundled(zone));
    let mut at = at(after);
    let mut found = Vec::new();
    for _ in 0..count {
        at = schedule.next(at, &zone).unwrap();
        let moment = Timestamp::from_millisecond(at.0.try_into().unwrap()).unwrap();
        let local = moment.to_zoned(zone.rules().clone());
        found.push(local.strftime("%m-%d %H:%M %:z").to_string());
    }
    found
}

#[test]
fn calendar_times_come_in_their_order() {
    for (text, expected) in [
        ("0 2 * * *", ["01-02 02:00", "01-03 02:00", "01-04 02:00"]),
        ("daily at 2:00", ["01-02 02:00", "01-03 02:00", "01-04 02:00"]),
        ("*/20 * * * *", ["01-01 12:20", "01-01 12:40", "01-01 13:00"]),
        ("hourly", ["01-01 13:00", "01-01 14:00", "01-01 15:00"]),
        ("5/25 8-10/2,23 * * *", ["01-01 23:05", "01-01 23:30", "01-01 23:55"]),
        ("30 18 * * MON-fri", ["01-01 18:30", "01-02 18:30", "01-03 18:30"]),
        ("weekly on sat-sun at 03:00", ["01-06 03:00", "01-07 03:00", "01-13 03:00"]),
        ("weekly", ["01-07 00:00", "01-14 00:00", "01-21 00:00"]),
        ("0 0 * * 7", ["01-07 00:00", "01-14 00:00", "01-21 00:00"]),
        ("monthly on 1,31 at 04:00", ["01-31 04:00", "02-01 04:00", "03-01 04:00"]),
        ("0 0 29 feb *", ["02-29 00:00", "02-29 00:00", "02-29 00:00"]),
        // Either day suffices, unless one of them begins with `*`.
        ("0 0 3 * sun", ["01-03 00:00", "01-07 00:00", "01-14 00:00"]),
        ("0 0 */2 * mon", ["01-15 00:00", "01-29 00:00", "02-05 00:00"]),
        ("every 15m", ["01-01 12:15", "01-01 12:30", "01-01 12:45"]),
        ("every 1 h 30 min", ["01-01 13:30", "01-01 15:00", "01-01 16:30"]),
    ] {
        // A Monday.
        let found = due(text, "UTC", "2024-01-01T12:00:00Z", 3);
        let expected = expected.map(|time| format!("{time} +00:00"));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_due_now_is_not_next() {
    assert_eq!(
        schedule("0 2 * * *").next(at("2024-01-01T02:00:00Z"), &Zone::utc()),
        Some(at("2024-01-02T02:00:00Z"))
    );
    assert_eq!(
        schedule("0 2 * * *").next(at("2024-01-01T01:59:59.999Z"), &Zone::utc()),
        Some(at("2024-01-01T02:00:00Z"))
    );
    assert_eq!(
        schedule("every 1h").next(at("2024-01-01T02:00:00Z"), &Zone::utc()),
        Some(at("2024-01-01T03:00:00Z"))
    );
    let now = at("2024-01-01T02:00:00Z");
    assert_eq!(schedule("continuous").next(now, &Zone::utc()), Some(now));
    assert_eq!(schedule("daily").next(UnixMillis(u64::MAX), &Zone::utc()), None);
    assert_eq!(schedule("daily").next(at("9999-12-30T00:00:00Z"), &Zone::utc()), None);
    assert_eq!(schedule("every 1h").next(UnixMillis(u64::MAX), &Zone::utc()), None);
}

/// Goal: a time of day that clocks pass over is due at the first moment after the gap, once.
#[test]
fn what_does_not_exist_is_due_at_the_end_of_the_gap() {
    let before = "2024-03-30T12:00:00Z";
    let berlin = |text| due(text, "Europe/Berlin", before, 3);
    assert_eq!(berlin("30 2 * * *"), ["03-31 03:00 +02:00", "04-01 02:30 +02:00", "04-02 02:30 +02:00"]);
    assert_eq!(berlin("daily at 02:00"), ["03-31 03:00 +02:00", "04-01 02:00 +02:00", "04-02 02:00 +02:00"]);
    assert_eq!(
        berlin("0,20,40 2,3 31 3 *")[..],
        ["03-31 03:00 +02:00", "03-31 03:20 +02:00", "03-31 03:40 +02:00"]
    );
    let found = due("0 * * * *", "Europe/Berlin", "2024-03-30T23:30:00Z", 3);
    assert_eq!(found, ["03-31 01:00 +01:00", "03-31 03:00 +02:00", "03-31 04:00 +02:00"]);
    // Half an hour, and a whole day.
    let found = due("15 2 * * *", "Australia/Lord_Howe", "2024-10-05T10:00:00Z", 2);
    assert_eq!(found, ["10-06 02:30 +11:00", "10-07 02:15 +11:00"]);
    let found = due("0 9 * * *", "Pacific/Apia", "2011-12-29T19:30:00Z", 2);
    assert_eq!(found, ["12-31 00:00 +14:00", "12-31 09:00 +14:00"]);
}

/// Goal: a time of day that comes twice is due the first time; each hour is each hour.
#[test]
fn what_exists_twice_is_due_once() {
    let before = "2024-10-26T12:00:00Z";
    let found = due("30 2 * * *", "Europe/Berlin", before, 2);
    assert_eq!(found, ["10-27 02:30 +02:00", "10-28 02:30 +01:00"]);
    let found = due("0 1-3 * * *", "Europe/Berlin", before, 4);
    assert_eq!(
        found,
        ["10-27 01:00 +02:00", "10-27 02:00 +02:00", "10-27 03:00 +01:00", "10-28 01:00 +01:00"]
    );
    let found = due("30 * * * *", "Europe/Berlin", "2024-10-26T23:45:00Z", 4);
    assert_eq!(
        found,
        ["10-27 02:30 +02:00", "10-27 02:30 +01:00", "10-27 03:30 +01:00", "10-27 04:30 +01:00"]
    );
    // Clocks put back at midnight: the last hour of the day comes again.
    let found = due("30 23 * * *", "America/Havana", "2024-11-02T12:00:00Z", 2);
    assert_eq!(found, ["11-02 23:30 -04:00", "11-03 23:30 -05:00"]);
    let found = due("0 0 * * *", "America/Havana", "2024-11-02T12:00:00Z", 2);
    assert_eq!(found, ["11-03 00:00 -04:00", "11-04 00:00 -05:00"]);
    let found = due("30 * * * *", "America/Asuncion", "2024-03-24T01:45:00Z", 4);
    assert_eq!(
        found,
        ["03-23 23:30 -03:00", "03-23 23:30 -04:00", "03-24 00:30 -04:00", "03-24 01:30 -04:00"]
    );
}

#[test]
fn a_zone_of_its_own_comes_first() {
    let (tokyo, utc) = (schedule("daily at 02:00 in Asia/Tokyo"), Zone::utc());
    assert_eq!(tokyo.next(at("2024-01-01T00:00:00Z"), &utc), Some(at("2024-01-01T17:00:00Z")));
    assert_eq!(tokyo.zone().unwrap().to_string(), "Asia/Tokyo");
}

#[test]
fn files_and_text_say_the_same() {
    for (json, text) in [
        (r#"{"every":"15m"}"#, "every 15m"),
        (r#"{"every":"1d12h","zone":"Asia/Tokyo"}"#, "every 1d12h in Asia/Tokyo"),
        (r#"{"when":"daily at 02:00","zone":"Europe/Berlin"}"#, "daily at 02:00 in Europe/Berlin"),
        (r#"{"cron":"0 2 * * mon-fri"}"#, "0 2 * * mon-fri"),
        (r#"{"continuous":true}"#, "continuous"),
    ] {
        let schedule = schedule(text);
        assert_eq!(serde_json::from_str::<Schedule>(json).unwrap(), schedule);
        assert_eq!(serde_json::from_value::<Schedule>(text.into()).unwrap(), schedule);
        assert_eq!(
            (serde_json::to_string(&schedule).unwrap(), schedule.to_string()),
            (json.into(), text.into())
        );
    }
    let toml: toml::Table = toml::from_str("schedule = { cron = ' 0  2 * * Mon-Fri ' }").unwrap();
    let read: Schedule = toml["schedule"].clone().try_into().unwrap();
    assert_eq!(read, schedule("0 2 * * mon-fri"));
}

#[test]
fn mistakes_are_named() {
    for (text, says) in [
        ("", "no schedule like"),
        ("sometimes", "no schedule like"),
        ("daily at 25:00", "no schedule like"),
        ("daily at 2", "no schedule like"),
        ("daily at +2:00", "no schedule like"),
        ("hourly at 02:00", "no schedule like"),
        ("weekly on *", "no schedule like"),
        ("weekly on someday at 03:00", "\"someday\" is no day of week (0 to 7)"),
        ("monthly on 32 at 03:00", "\"32\" is no day of month (1 to 31)"),
        ("0 2 * *", "five fields"),
        ("60 2 * * *", "\"60\" is no minute (0 to 59)"),
        ("0 24 * * *", "\"24\" is no hour"),
        ("0 0 * * 8", "no day of week"),
        ("0 0 * 0 *", "no month"),
        ("0 0 * * fri-mon", "goes backwards in the day of week"),
        ("*/0 * * * *", "\"0\" is no step for the minute"),
        ("*/60 * * * *", "no step"),
        ("1,,2 * * * *", "\"\" is no minute"),
        ("0 +1 * * *", "\"+1\" is no hour"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("every 5s", "no interval like"),
        ("every 367d", "no interval like"),
        ("every 15", "no interval like"),
        ("every", "no interval like"),
        ("every 15 fortnights", "no interval like"),
        ("every 99999999999999999999d", "no interval like"),
        ("daily in Nowhere/Land", "\"Nowhere/Land\" is no time zone"),
        ("daily in ../../etc/passwd", "is no time zone"),
    ] {
        let error = text.parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
    assert!(format!("0 0 * * {}1", "1,".repeat(200)).parse::<Schedule>().is_err());
    for json in [
        "{}",
        r#"{"every":"15m","cron":"0 2 * * *"}"#,
        r#"{"continuous":false}"#,
        r#"{"zone":"UTC"}"#,
        r#"{"every":"15m","jitter":"1m"}"#,
        r#"{"every":15}"#,
        r#"{"when":"0 2 * * *"}"#,
        r#"{"continuous":true,"zone":"Mars/Olympus"}"#,
        "7",
    ] {
        assert!(serde_json::from_str::<Schedule>(json).is_err(), "{json}");
    }
}

/// Zones around a change of their clocks: forward, back, by half an hour, at midnight, over a day.
const CHANGES: [(&str, &str); 8] = [
    ("Europe/Berlin", "2024-03-31T01:00:00Z"),
    ("Europe/Berlin", "2024-10-27T01:00:00Z"),
    ("Australia/Lord_Howe", "2024-10-05T15:30:00Z"),
    ("Australia/Lord_Howe", "2024-04-06T15:00:00Z"),
    ("America/Havana", "2024-03-10T05:00:00Z"),
    ("America/Havana", "2024-11-03T05:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("UTC", "2024-02-29T00:00:00Z"),
];

/// What is due by going through all minutes of two days on both sides.
fn all_minutes(cron: &Cron, zone: &Zone, from: Timestamp, minutes: i64) -> Vec<Timestamp> {
    let minute = |n: i64| from + jiff::SignedDuration::from_mins(n);
    let local = |moment| zone.rules().to_datetime(moment);
    let means = |time: DateTime| {
        let date = time.date();
        cron::has(cron.minutes, time.minute())
            && cron::has(cron.hours, time.hour())
            && cron.has_day(date.month(), date.day(), date.weekday().to_sunday_zero_offset())
    };
    let step = jiff::SignedDuration::from_mins(1);
    let mut shown = std::collections::HashSet::new();
    // What the clocks showed shortly before that counts as seen.
    shown.extend((-180..0).map(|n| local(minute(n))));
    (0..minutes)
        .filter(|n| {
            let (here, expected) = (local(minute(*n)), local(minute(*n - 1)) + step);
            let mut passed_over = std::iter::successors(Some(expected), |time| Some(*time + step));
            let after_gap = passed_over.by_ref().take_while(|time| *time < here).any(means);
            let first = shown.insert(here);
            after_gap || means(here) && (first || cron.is_each_hour())
        })
        .map(minute)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: what is computed is what going through every minute finds.
    #[test]
    fn every_minute_agrees(
        change in prop::sample::select(&CHANGES[..]),
        minute in prop::sample::select(&["0", "*", "*/15", "7,37", "59", "30-45/5"][..]),
        hour in prop::sample::select(&["*", "0", "1-3", "2", "*/2", "23", "22,0,1"][..]),
        day in prop::sample::select(&["*", "30", "31", "1-6", "*/2"][..]),
        weekday in prop::sample::select(&["*", "sun", "fri-sun"][..]),
    ) {
        let zone = Zone::bundled(change.0);
        let from = change.1.parse::<Timestamp>().unwrap() - jiff::SignedDuration::from_hours(24);
        let cron: Cron = format!("{minute} {hour} {day} * {weekday}").parse().unwrap();
        let expected = all_minutes(&cron, &zone, from, 48 * 60);
        let mut found = Vec::new();
        let end = UnixMillis((from.as_millisecond() + 48 * 3_600_000).try_into().unwrap());
        let mut at = UnixMillis((from.as_millisecond() - 1).try_into().unwrap());
        while let Some(next) = cron.next(at, &zone).filter(|next| *next < end) {
            at = next;
            found.push(Timestamp::from_millisecond(at.0.try_into().unwrap()).unwrap());
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_text_is_a_schedule_or_an_error(text in "[a-z0-9*/, :-]{0,30}") {
        if let Ok(schedule) = text.parse::<Schedule>() {
            prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        }
    }
}
