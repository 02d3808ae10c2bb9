//! Sees that `webui/dist` is there, empty when the console's pages were not built: then a gateway is built without them,
//! and nobody needs Node for that. An optimised build holds them inside (`console/assets.rs`), so it is made anew when
//! they change; others read them from there when they run.

#![expect(clippy::disallowed_methods, reason = "a build script stands outside the program")]

use std::path::Path;

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../webui/dist");
    // What cannot be made, in sources that are read-only say, is a build without pages as well.
    if !pages.is_dir() && std::fs::create_dir(&pages).is_err() {
        println!("cargo::warning={} is not there: this gateway has no web pages", pages.display());
        return Ok(());
    }
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed={}", pages.display());
    }
    Ok(())
}
