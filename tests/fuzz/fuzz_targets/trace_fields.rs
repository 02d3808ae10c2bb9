#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = postern_tests::fuzz::find("trace_fields").expect("a target");
    (target.run)(data);
});
