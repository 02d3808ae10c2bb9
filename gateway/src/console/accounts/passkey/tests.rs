use super::device::{Device, cbor};
use super::*;

const NAME: &str = "gate.example.com";
const ORIGIN: &str = "https://gate.example.com:8450";
const CHALLENGE: [u8; CHALLENGE_BYTES] = [7; CHALLENGE_BYTES];

fn party() -> RelyingParty {
    RelyingParty::of(NAME, "gate.example.com:8450").unwrap()
}

fn devices() -> [Device; 2] {
    [Device::p256(NAME, ORIGIN), Device::ed25519(NAME, ORIGIN)]
}

fn register(device: &Device) -> Result<Made, PasskeyError> {
    made(&device.register(&CHALLENGE), &CHALLENGE, &party())
}

/// The verdict on an answer of a device that is changed between registration and use.
fn verdict(change: impl FnOnce(&mut Device)) -> Result<u32, PasskeyError> {
    let mut device = Device::p256(NAME, ORIGIN);
    let made = register(&device).unwrap();
    device.count = 2;
    change(&mut device);
    used(&device.answer(&CHALLENGE), (&made.key, made.count), &CHALLENGE, &party())
}

fn registration(change: impl FnOnce(&mut Device)) -> Result<Made, PasskeyError> {
    let mut device = Device::p256(NAME, ORIGIN);
    change(&mut device);
    register(&device)
}

#[test]
fn what_an_honest_authenticator_answers_is_taken() {
    for mut device in devices() {
        for format in ["none", "packed"] {
            device.format = format;
            let made = register(&device).unwrap();
            assert_eq!((&made.credential, made.count), (&device.credential, 1));
            device.count = 9;
            device.extensions = true;
            device.flags = 0x1d;
            let answer = device.answer(&CHALLENGE);
            assert_eq!(used(&answer, (&made.key, 1), &CHALLENGE, &party()), Ok(9));
            assert!(register(&device).is_ok());
            (device.count, device.extensions, device.flags) = (1, false, 1);
        }
    }
}

/// Goal: an answer holds for our site, this attempt and its purpose only, and with a touch.
#[test]
fn answers_for_something_else_are_refused() {
    use PasskeyError::{For, Malformed, Untouched};
    let same = |change: fn(&mut Device), error| {
        assert_eq!(verdict(change), Err(error));
        assert_eq!(registration(change).unwrap_err(), error);
    };
    same(|device| device.origin = "https://evil.example".into(), For("another site"));
    same(|device| device.origin = "http://gate.example.com:8450".into(), For("another site"));
    same(|device| device.origin = "https://gate.example.com".into(), For("another site"));
    same(|device| device.party = "example.com".into(), For("another site"));
    same(|device| device.more_client_data = r#","crossOrigin":true"#, For("another site"));
    same(|device| device.more_client_data = r#","topOrigin":"https://evil.example""#, For("another site"));
    same(|device| device.kind = Some("payment.get"), For("something else"));
    same(|device| device.flags = 4, Untouched);
    same(|device| device.flags = 0x11, Malformed("the authenticator data"));
    assert_eq!(verdict(|device| device.kind = Some("webauthn.create")), Err(For("something else")));
    let device = Device::p256(NAME, ORIGIN);
    let made_ = register(&device).unwrap();
    let other = used(&device.answer(&[8; 32]), (&made_.key, 0), &CHALLENGE, &party());
    assert_eq!(other, Err(For("another attempt")));
    assert_eq!(made(&device.register(b""), &CHALLENGE, &party()).unwrap_err(), For("another attempt"));
    // An answer when it was made is none when it is used.
    let registered = device.register(&CHALLENGE);
    let mixed = Asserted { client_data: registered.client_data, ..device.answer(&CHALLENGE) };
    assert_eq!(used(&mixed, (&made_.key, 0), &CHALLENGE, &party()), Err(For("something else")));
}

#[test]
fn a_count_that_stands_or_falls_is_refused() {
    assert_eq!(verdict(|device| device.count = 2), Ok(2));
    for count in [0, 1] {
        assert_eq!(verdict(|device| device.count = count), Err(PasskeyError::Copied));
    }
    let mut device = Device::ed25519(NAME, ORIGIN);
    device.count = 0;
    let made = register(&device).unwrap();
    let never = used(&device.answer(&CHALLENGE), (&made.key, 0), &CHALLENGE, &party());
    assert_eq!(never, Ok(0), "many do not count at all");
}

#[test]
fn every_octet_of_an_answer_is_signed() {
    for mut device in devices() {
        let made = register(&device).unwrap();
        device.count = 2;
        let right = device.answer(&CHALLENGE);
        let check = |answer: &Asserted| used(answer, (&made.key, 1), &CHALLENGE, &party());
        for at in 0..right.authenticator_data.len() {
            let mut answer = right.clone();
            answer.authenticator_data[at] ^= 1;
            assert!(check(&answer).is_err(), "authenticator data {at}");
        }
        for at in 0..right.signature.len() {
            let mut answer = right.clone();
            answer.signature[at] ^= 1;
            assert!(check(&answer).is_err(), "signature {at}");
        }
        let mut answer = right.clone();
        answer.client_data.push(b' ');
        assert_eq!(check(&answer), Err(PasskeyError::BadSignature));
        let other = Device::p256(NAME, ORIGIN);
        let signature = other.sign(&signed(&right.authenticator_data, &right.client_data));
        assert_eq!(check(&Asserted { signature, ..right }), Err(PasskeyError::BadSignature));
    }
}

#[test]
fn keys_that_are_none_are_refused() {
    let device = Device::p256(NAME, ORIGIN);
    let with = |change: &dyn Fn(&mut Fields)| {
        let Value::Map(mut fields) = device.cose() else { panic!() };
        change(&mut fields);
        let registered = device.register_as(&CHALLENGE, &Value::Map(fields));
        made(&registered, &CHALLENGE, &party()).unwrap_err()
    };
    let malformed = PasskeyError::Malformed("the key");
    assert_eq!(with(&|fields| fields[1].1 = (-257).into()), PasskeyError::UnsupportedKey);
    assert_eq!(with(&|fields| fields[2].1 = 2.into()), PasskeyError::UnsupportedKey, "another curve");
    assert_eq!(with(&|fields| fields[3].1 = Value::Bytes(vec![1; 31])), malformed);
    assert_eq!(with(&|fields| fields[3].1 = Value::Bytes(vec![255; 32])), malformed, "not on the curve");
    assert_eq!(with(&|fields| fields.push(fields[3].clone())), malformed, "twice");
    assert_eq!(with(&|fields| fields.clear()), malformed);
    let registered = device.register_as(&CHALLENGE, &Value::Null);
    assert_eq!(made(&registered, &CHALLENGE, &party()).unwrap_err(), malformed);
}

/// Goal: nothing that can be sent makes the decoders panic, and nothing cut off or with something behind it is taken.
#[test]
fn whatever_is_cut_off_or_longer_is_refused() {
    let device = Device::p256(NAME, ORIGIN);
    let right = device.register(&CHALLENGE);
    for length in 0..right.attestation.len() {
        let attestation = right.attestation[..length].to_vec();
        assert!(
            made(&Registered { attestation, ..right.clone() }, &CHALLENGE, &party()).is_err(),
            "{length}"
        );
    }
    for length in 0..right.client_data.len() {
        let client_data = right.client_data[..length].to_vec();
        assert!(
            made(&Registered { client_data, ..right.clone() }, &CHALLENGE, &party()).is_err(),
            "{length}"
        );
    }
    let attestation = [&right.attestation[..], &[0]].concat();
    assert!(made(&Registered { attestation, ..right.clone() }, &CHALLENGE, &party()).is_err());
    let answer = device.answer(&CHALLENGE);
    let key = register(&device).unwrap().key;
    for length in 0..answer.authenticator_data.len() {
        let authenticator_data = answer.authenticator_data[..length].to_vec();
        let cut = Asserted { authenticator_data, ..answer.clone() };
        assert!(used(&cut, (&key, 0), &CHALLENGE, &party()).is_err(), "{length}");
    }
    let deep = [vec![0x81; 100_000], vec![0]].concat();
    assert!(made(&Registered { attestation: deep, ..right.clone() }, &CHALLENGE, &party()).is_err());
    // A map, and an array, that claim to be huge.
    for attestation in [vec![0xbb, 255, 255, 255, 255, 255, 255, 255, 255], vec![0x9a, 255, 255, 255, 255]] {
        assert!(made(&Registered { attestation, ..right.clone() }, &CHALLENGE, &party()).is_err());
    }
    assert!(registration(|device| device.credential = vec![1; 1024]).is_err());
    assert!(registration(|device| device.credential.clear()).is_err());
    let twice = Value::Map(vec![("fmt".into(), "none".into()), ("fmt".into(), "none".into())]);
    let attestation = cbor(&twice);
    assert!(made(&Registered { attestation, ..right }, &CHALLENGE, &party()).is_err());
}

#[test]
fn attestation_by_a_maker_is_refused() {
    assert_eq!(registration(|device| device.format = "fido-u2f").unwrap_err(), PasskeyError::Attestation);
    assert_eq!(registration(|device| device.format = "tpm").unwrap_err(), PasskeyError::Attestation);
}

#[test]
fn the_console_has_one_name() {
    let of = |host: &str| RelyingParty::of(NAME, host).map(|party| party.origin);
    assert_eq!(of("GATE.example.com:8450").as_deref(), Some("https://gate.example.com:8450"));
    assert_eq!(of("gate.example.com").as_deref(), Some("https://gate.example.com"));
    for other in ["", "example.com", "gate.example.com.evil.example", "192.0.2.1:8450", "gate.example.com:x"]
    {
        assert_eq!(of(other), None, "{other}");
    }
}
