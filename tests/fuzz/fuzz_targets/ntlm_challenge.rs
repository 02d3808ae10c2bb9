#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = postern_tests::fuzz::find("ntlm_challenge").expect("a target");
    (target.run)(data);
});
