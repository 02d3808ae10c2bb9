#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = postern_tests::fuzz::find("pop3_relay").expect("a target");
    (target.run)(data);
});
