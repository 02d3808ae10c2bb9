//! Configuration files.

use std::path::Path;

use postern_archiver::profiles::Profile;
use postern_shared::disk::RealDisk;

const SECRET: &str = "open sesame 1001";
const GATEWAY_VARIABLES: [&str; 4] = [
    "POSTERN_GATEWAY__LISTEN__SMTP",
    "POSTERN_GATEWAY__LOG_LEVEL",
    "POSTERN_GATEWAY__",
    "POSTERN_GATEWAY__A____B",
];

/// Whatever a file or a variable holds: it is taken, or refused in words that name it and do not tell the password.
/// What follows an octet 0xff is a variable's value.
pub(super) fn settings(data: &[u8]) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("the file.toml");
    let mut halves = data.splitn(2, |octet| *octet == 0xff);
    let text = halves.next().unwrap_or_default();
    let value = halves.next().map(|value| String::from_utf8_lossy(value).into_owned());
    if std::fs::write(&path, text).is_err() {
        return;
    }
    let variables = |names: &[&str]| -> Vec<(String, String)> {
        names.iter().filter_map(|name| Some(((*name).to_owned(), value.clone()?))).collect()
    };
    for variable in GATEWAY_VARIABLES {
        let loaded =
            postern_gateway::settings::Settings::load(&RealDisk, Some(&path), variables(&[variable]));
        judge(loaded.err().map(|error| error.to_string()), &path, variable);
    }
    let variable = "POSTERN_ARCHIVER__LISTEN__API";
    let loaded = postern_archiver::settings::Settings::load(&RealDisk, Some(&path), variables(&[variable]));
    judge(loaded.err().map(|error| error.to_string()), &path, variable);
    let loaded = Profile::read(&RealDisk, &path, |_| value.clone());
    let refusal = loaded.err().map(|error| error.to_string());
    let written = String::from_utf8_lossy(text);
    if written.contains(&format!("\npassword = \"{SECRET}\"")) && written.matches(SECRET).count() == 1 {
        assert!(!refusal.as_ref().is_some_and(|said| said.contains(SECRET)), "tells the password");
    }
    judge(refusal, &path, "password_env");
}

fn judge(refusal: Option<String>, path: &Path, variable: &str) {
    if let Some(said) = refusal {
        let named = said.contains(&path.display().to_string()) || said.contains(variable);
        assert!(named, "names neither the file nor the variable: {said}");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let shipped = ["gateway.toml", "archiver.toml", "profile-gateway.toml"];
    let shipped = shipped
        .iter()
        .filter_map(|name| std::fs::read(format!("{}/../config/{name}", env!("CARGO_MANIFEST_DIR"))).ok());
    let own = [
        &b"email_domain = \"gateway.example.com\"\ndata_dir = \"/x\"\n[listen]\nsmtp = [\"127.0.0.1:0\"]\n[limits]\nmax_message_size = \"1 MiB\"\nsessions = 5\n"[..],
        b"email_domain = \"g.example\"\n\xff[\"127.0.0.1:25\"]",
        b"name = \"journal\"\n[source]\ntype = \"gateway\"\nhost = \"g.example\"\nport = 995\ntrust = \"any\"\nusername = \"mbx-dead1234beef5678\"\npassword = \"open sesame 1001\"\n[assign]\nmode = \"user\"\nuser = \"anna\"\n",
        b"a.b.c = 1\n[a]\nb = [[[[[[1]]]]]]\n",
    ];
    shipped.chain(own.map(<[u8]>::to_vec)).collect()
}
