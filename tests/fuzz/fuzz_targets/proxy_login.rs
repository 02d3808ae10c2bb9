#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = postern_tests::fuzz::find("proxy_login").expect("a target");
    (target.run)(data);
});
