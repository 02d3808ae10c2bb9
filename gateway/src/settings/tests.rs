use postern_shared::disk::{RealDisk, write_atomic};

use super::*;

fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.toml");
    write_atomic(&RealDisk, &path, text.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::load(&RealDisk, Some(&path), environment)
}

#[test]
fn the_example_shows_the_defaults() {
    let example = include_str!("../../../config/gateway.toml");
    let shown = load_text(example, &[]).unwrap();
    let uncommented: String =
        example.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let explicit = load_text(&uncommented, &[]).unwrap();
    let default =
        load_text("email_domain = 'gateway.example.com'\nhost_name = 'gateway.example.com'", &[]).unwrap();
    let same = |settings: &Settings| format!("{settings:?}").replace("\"files\"", "");
    assert_eq!(same(&explicit), same(&default));
    assert_eq!(shown.email_domain, "gateway.example.com");
}

#[test]
fn environment_and_file_go_together() {
    let text = "email_domain = 'Mail.Example.com'\n[listen]\nsmtp = []";
    let settings = load_text(text, &[("POSTERN_GATEWAY__LISTEN__POP3S", "127.0.0.1:1995")]).unwrap();
    assert_eq!(settings.email_domain, "mail.example.com");
    assert_eq!(settings.listen.smtp.0, []);
    assert_eq!(settings.listen.pop3s.0, ["127.0.0.1:1995".parse().unwrap()]);
}

#[test]
fn bad_values_are_named() {
    let error = |text: &str| load_text(text, &[]).unwrap_err().to_string();
    assert!(error("email_domain = 'a b'").contains("key \"email_domain\""));
    assert!(error("[tls]\nmode = 'files'").contains("needs certificate and key"));
    assert!(error("[tls]\nmode = 'acme'").contains("key \"acme.accept_terms\""));
    assert!(error("[acme]\ndirectory_url = 'x'").contains("key \"acme.directory_url\""));
    assert!(error("[authentication]\nmemory = '1 KiB'").contains("key \"authentication.memory\""));
    assert!(error("[proxy]\ndivider = '@'").contains("key \"proxy.divider\""));
    assert!(error("[proxy]\ndivider = '%%'").contains("not one character"));
    assert!(error("[proxy]\ndeny = ['a b']").contains("none of: a host name"));
    assert!(error("[proxy]\ntrust = 'all'").contains("none of: system"));
    assert!(error("[proxy]\nsessions_per_account = 0").contains("key \"proxy.sessions_per_account\""));
    assert!(error("[[proxy.target]]\nport = 25").contains("host"));
    assert!(error("[[proxy.target]]\nhost = 'a'\ntls = 'none'").contains("implicit"));
    assert!(error("[limits]\nsessions = 0").contains("key \"limits.sessions\""));
    assert!(error("[limits]\nlogins_at_once = 0").contains("key \"limits.logins_at_once\""));
    assert!(error("[limits]\nconnections_per_minute = 60000001").contains("0 is for no limit"));
    assert!(error("[limits]\ncommand_deadline = '0 s'").contains("span of time"));
    assert!(error("[limits]\nmax_message_size = '1 KB'").contains("line 2"));
    assert!(error("[listen]\nsmtp = ':25'\nbogus = 1").contains("line 3, key \"listen.bogus\""));
}

#[test]
fn a_log_file_rotates_by_size_or_day() {
    let file = |text: &str| load_text(&format!("[log]\nfile = '/var/log/g.log'\n{text}"), &[]);
    let log = file("").unwrap().log;
    assert_eq!((log.rotation, log.keep), (Rotation::Bytes(100 << 20), 10));
    let log = file("rotate = 'daily'\nkeep = 3").unwrap().log;
    assert_eq!((log.rotation, log.keep), (Rotation::Daily, 3));
    assert_eq!(file("rotate = '1 GiB'").unwrap().log.rotation, Rotation::Bytes(1 << 30));
    let error = file("rotate = 'weekly'").unwrap_err().to_string();
    assert!(error.contains("key \"log.rotate\"") && error.contains("\"daily\" or a size"), "{error}");
    assert!(file("keep = 0").unwrap_err().to_string().contains("log.keep"));
    assert!(load_text("log_format = 'xml'", &[]).unwrap_err().to_string().contains("log_format"));
}

/// Goal: what a reload takes over is what the reference says, key by key.
/// Method: each key gets another value; what counts after a reload differs exactly when the key says "reload".
#[test]
fn a_reload_takes_what_the_reference_says() {
    let base = "email_domain = 'a.example'\nhost_name = 'a.example'\n";
    let parse = |text: &str| {
        Settings::parse(text, Path::new("t"), []).unwrap_or_else(|error| panic!("{text}: {error}"))
    };
    let files = "[tls]\nmode = 'files'\ncertificate = '/a'\nkey = '/a'\n";
    for key in reference::tables().iter().flat_map(|table| &table.keys).filter(|key| !key.repeated) {
        let (table, name) = key.name.rsplit_once('.').unwrap_or(("", &key.name));
        let before =
            if table == "tls" && name != "mode" { format!("{base}{files}") } else { base.to_owned() };
        let other = match (key.name.as_str(), &key.default) {
            ("email_domain" | "host_name", _) => "'b.example'".to_owned(),
            ("tls.mode", _) => "'imported'".to_owned(),
            ("acme.contact", _) => "'b@example.com'".to_owned(),
            ("acme.names", _) => "'b.example'".to_owned(),
            ("acme.directory_url" | "acme.staging_url", _) => "'https://b.example/dir'".to_owned(),
            ("log_level", _) => "'debug'".to_owned(),
            ("log_format", _) => "'json'".to_owned(),
            ("proxy.divider", _) => "'!'".to_owned(),
            ("proxy.trust", _) => "'any'".to_owned(),
            ("proxy.on_recording_failure", _) => "'pass'".to_owned(),
            ("log.rotate", _) => "'daily'".to_owned(),
            ("console.hsts", _) => "true".to_owned(),
            (_, Some(toml::Value::Boolean(on))) => (!on).to_string(),
            (_, Some(toml::Value::Integer(number))) => (number + 1).to_string(),
            (_, Some(toml::Value::Array(_))) if table == "proxy" => "['b.example']".to_owned(),
            (_, Some(toml::Value::Array(_))) => "'127.0.0.1:7'".to_owned(),
            (_, _) if key.shape.starts_with("time") => "'11 h'".to_owned(),
            (_, _) if key.shape.starts_with("size") => "'77 MiB'".to_owned(),
            _ => "'/b'".to_owned(),
        };
        let line = format!("{name} = {other}\n");
        let after = match table {
            "" => format!(
                "{line}{}",
                base.lines().filter(|line| !line.starts_with(name)).collect::<Vec<_>>().join("\n")
            ),
            "tls" if name != "mode" => before.replace(&format!("{name} = '/a'\n"), &line),
            _ => format!("{before}[{table}]\n{line}"),
        };
        let (old, new) = (parse(&before), parse(&after));
        assert_ne!(format!("{old:?}"), format!("{new:?}"), "{}: no other value", key.name);
        let counts = format!("{:?}", old.reloaded(new)) != format!("{old:?}");
        assert_eq!(counts, key.effect == reference::Effect::Reload, "{}", key.name);
    }
}

/// Goal: beside a mistake it is still known where a running daemon is, and never guessed.
#[test]
fn the_data_directory_is_known_beside_a_mistake_or_not_at_all() {
    let found = |text: &str, file: &str| super::data_dir_in(text, Path::new(file), []);
    let said = |dir: &str| Some(PathBuf::from(dir));
    assert_eq!(found("bogus = \ndata_dir = \"/srv/p\"\n[listen]\nsmtp = 1", "g.toml"), said("/srv/p"));
    assert_eq!(found("# data_dir = \"/x\"\nbogus = ", DEFAULT_FILE), said("/var/lib/postern/gateway"));
    assert_eq!(found("bogus = 1", "g.toml"), None);
    for unsure in ["data_dir = /srv", "data_dirs = \"/srv\"", "\"data_dir\" = 1"] {
        assert_eq!(found(unsure, DEFAULT_FILE), None, "{unsure}");
    }
    let environment = [("POSTERN_GATEWAY__DATA_DIR".to_owned(), "/e".to_owned())];
    assert_eq!(super::data_dir_in("data_dir = 7", Path::new("g"), environment), said("/e"));
}

/// Goal: no number of the file makes the gateway fall over: what is too large is told as what is too small is.
#[test]
fn what_no_machine_has_is_refused() {
    let huge = usize::MAX / 2;
    for (table, key) in [
        ("limits", "sessions"),
        ("limits", "sessions_per_address"),
        ("limits", "pop3_sessions"),
        ("limits", "pop3_sessions_per_address"),
        ("limits", "handshakes_at_once"),
        ("limits", "logins_at_once"),
        ("limits", "logins_waiting"),
        ("limits", "max_message_size"),
        ("console", "connections"),
        ("console", "connections_per_address"),
        ("authentication", "at_once"),
        ("proxy", "sessions_per_account"),
        ("log", "keep"),
    ] {
        let error = load_text(&format!("[{table}]\n{key} = {huge}"), &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("{table}.{key}")) && error.contains("is the most"), "{error}");
    }
}
