//! NTLMv2 (MS-NLMP): negotiate, challenge, authenticate. Values only.
//!
//! The connection is TLS, so no session key is agreed on and nothing is signed or sealed with NTLM's own ciphers. What binds the
//! login to this connection is the hash of the server's certificate in it (MS-NLMP §2.2.2.1 MsvAvChannelBindings, RFC 5929
//! `tls-server-end-point`): Exchange 2019 CU14 and later want that ("Extended Protection").

use hmac::{Hmac, KeyInit, Mac};
use md4::Md4;
use md5::{Digest, Md5};
use postern_shared::clock::UnixMillis;
use postern_shared::proto::sasl::PlainCredentials;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Octets of a challenge that is taken.
const CHALLENGE_OCTETS_MAX: usize = 16 * 1024;

const UNICODE: u32 = 0x0000_0001;
const REQUEST_TARGET: u32 = 0x0000_0004;
const NTLM: u32 = 0x0000_0200;
const ALWAYS_SIGN: u32 = 0x0000_8000;
const EXTENDED_SECURITY: u32 = 0x0008_0000;
const TARGET_INFO: u32 = 0x0080_0000;
const KEY_128: u32 = 0x2000_0000;
const KEY_56: u32 = 0x8000_0000;
const OURS: u32 =
    UNICODE | REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED_SECURITY | TARGET_INFO | KEY_128 | KEY_56;

const AV_END: u16 = 0;
const AV_FLAGS: u16 = 6;
const AV_TIMESTAMP: u16 = 7;
const AV_TARGET_NAME: u16 = 9;
const AV_CHANNEL_BINDINGS: u16 = 10;
/// The message has an integrity code.
const HAS_MIC: u32 = 2;

/// Fields of the last message up to its payload.
const HEADER_OCTETS: usize = 88;
const MIC_AT: usize = 72;

/// What is wrong with what the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NtlmError {
    /// It is no challenge.
    #[error("the server's challenge is no NTLM message")]
    Malformed,
    /// It speaks a version that proves nothing.
    #[error("the server does not speak NTLMv2, and older versions are not safe")]
    Old,
    /// The own credentials do not fit.
    #[error("user name or password are too long for NTLM")]
    Credentials,
}

/// The first message.
pub fn negotiate() -> Vec<u8> {
    let mut message = SIGNATURE.to_vec();
    message.extend_from_slice(&1_u32.to_le_bytes());
    message.extend_from_slice(&OURS.to_le_bytes());
    // Neither domain nor workstation: the server asks for none.
    message.extend_from_slice(&[0; 16]);
    message
}

/// The server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    message: Vec<u8>,
    flags: u32,
    nonce: [u8; 8],
    /// Pairs of the target, the end not among them.
    target: Vec<(u16, Vec<u8>)>,
}

impl Challenge {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none, or one that NTLMv2 cannot answer.
    pub fn parse(message: &[u8]) -> Result<Self, NtlmError> {
        let bad = NtlmError::Malformed;
        if message.len() > CHALLENGE_OCTETS_MAX || !message.starts_with(SIGNATURE) || u32_at(message, 8)? != 2
        {
            return Err(bad);
        }
        let flags = u32_at(message, 20)?;
        let nonce = message.get(24..32).and_then(|octets| octets.try_into().ok()).ok_or(bad)?;
        if flags & UNICODE == 0 || flags & TARGET_INFO == 0 {
            return Err(NtlmError::Old);
        }
        let length = usize::from(u16_at(message, 40)?);
        let at = usize::try_from(u32_at(message, 44)?).map_err(|_| bad)?;
        let info = at.checked_add(length).and_then(|end| message.get(at..end)).ok_or(bad)?;
        Ok(Self { message: message.to_vec(), flags, nonce, target: pairs(info)? })
    }

    fn timestamp(&self) -> Option<[u8; 8]> {
        let (_, value) = self.target.iter().find(|(id, _)| *id == AV_TIMESTAMP)?;
        value.as_slice().try_into().ok()
    }
}

fn pairs(mut info: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, NtlmError> {
    let mut found = Vec::new();
    loop {
        let (id, length) = (u16_at(info, 0)?, usize::from(u16_at(info, 2)?));
        if id == AV_END {
            return Ok(found);
        }
        let value = info.get(4..4 + length).ok_or(NtlmError::Malformed)?;
        found.push((id, value.to_vec()));
        info = info.get(4 + length..).unwrap_or_default();
    }
}

/// What an answer depends on beside challenge and credentials.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Random.
    pub nonce: [u8; 8],
    /// Now.
    pub now: UnixMillis,
    /// `HTTP/` and the host.
    pub service: String,
    /// Of the server's certificate, as RFC 5929 §4.1 says.
    pub certificate_hash: Option<Vec<u8>>,
}

/// The last message.
///
/// # Errors
/// [`NtlmError::Credentials`].
pub fn authenticate(
    challenge: &Challenge,
    credentials: &PlainCredentials,
    with: &Circumstances,
) -> Result<Vec<u8>, NtlmError> {
    let (user, domain) = names(&credentials.user);
    let key = response_key(user, domain, credentials.password.expose_secret());
    let timestamp = challenge.timestamp();
    let time = timestamp.unwrap_or_else(|| file_time(with.now).to_le_bytes());
    let mut target = challenge.target.clone();
    target.retain(|(id, _)| !matches!(*id, AV_FLAGS | AV_TARGET_NAME | AV_CHANNEL_BINDINGS));
    if timestamp.is_some() {
        target.push((AV_FLAGS, HAS_MIC.to_le_bytes().to_vec()));
    }
    if let Some(hash) = &with.certificate_hash {
        target.push((AV_CHANNEL_BINDINGS, channel_binding(hash)));
        target.push((AV_TARGET_NAME, utf16(&with.service).to_vec()));
    }
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&time);
    blob.extend_from_slice(&with.nonce);
    blob.extend_from_slice(&[0; 4]);
    for (id, value) in &target {
        blob.extend_from_slice(&id.to_le_bytes());
        blob.extend_from_slice(&length(value)?.to_le_bytes());
        blob.extend_from_slice(value);
    }
    blob.extend_from_slice(&[0; 8]);
    let proof = hmac_md5(&*key, &[&challenge.nonce, &blob]);
    let session_key = Zeroizing::new(hmac_md5(&*key, &[&proof]));
    let nt = [proof.as_slice(), &blob].concat();
    // With a timestamp the other answer proves nothing and is left out (MS-NLMP §3.1.5.1.2).
    let lm = match timestamp {
        Some(_) => vec![0; 24],
        None => [hmac_md5(&*key, &[&challenge.nonce, &with.nonce]).as_slice(), &with.nonce].concat(),
    };
    let mut message = assembled(challenge.flags & OURS, &lm, &nt, &utf16(domain), &utf16(user))?;
    if timestamp.is_some() {
        let mic = hmac_md5(&*session_key, &[&negotiate(), &challenge.message, &message]);
        if let Some(place) = message.get_mut(MIC_AT..HEADER_OCTETS) {
            place.copy_from_slice(&mic);
        }
    }
    Ok(message)
}

fn assembled(flags: u32, lm: &[u8], nt: &[u8], domain: &[u8], user: &[u8]) -> Result<Vec<u8>, NtlmError> {
    let mut message = SIGNATURE.to_vec();
    message.extend_from_slice(&3_u32.to_le_bytes());
    let mut payload = Vec::new();
    // The places of the payload: both answers, domain, user, workstation, session key.
    for octets in [lm, nt, domain, user, b"", b""] {
        let at = u32::try_from(HEADER_OCTETS + payload.len()).unwrap_or_default();
        message.extend_from_slice(&length(octets)?.to_le_bytes());
        message.extend_from_slice(&length(octets)?.to_le_bytes());
        message.extend_from_slice(&at.to_le_bytes());
        payload.extend_from_slice(octets);
    }
    message.extend_from_slice(&flags.to_le_bytes());
    // Version and integrity code.
    message.resize(HEADER_OCTETS, 0);
    message.extend_from_slice(&payload);
    Ok(message)
}

/// `DOMAIN\user` is both, anything else a user without domain (as `user@domain` is).
pub(crate) fn names(user: &str) -> (&str, &str) {
    user.split_once('\\').map_or((user, ""), |(domain, user)| (user, domain))
}

/// NTOWFv2 (MS-NLMP §3.3.2).
pub fn response_key(user: &str, domain: &str, password: &str) -> Zeroizing<[u8; 16]> {
    let hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(&*utf16(password))));
    let who = utf16(&format!("{}{domain}", user.to_uppercase()));
    Zeroizing::new(hmac_md5(&*hash, &[&who]))
}

/// MD5 over the structure of RFC 2744 §3.11 that holds the certificate's hash (RFC 5929 §4).
fn channel_binding(certificate_hash: &[u8]) -> Vec<u8> {
    let data = [b"tls-server-end-point:".as_slice(), certificate_hash].concat();
    let mut structure = vec![0; 16];
    structure.extend_from_slice(&u32::try_from(data.len()).unwrap_or_default().to_le_bytes());
    structure.extend_from_slice(&data);
    <[u8; 16]>::from(Md5::digest(&structure)).to_vec()
}

/// HMAC-MD5 over these one after the other.
pub fn hmac_md5(key: &[u8], pieces: &[&[u8]]) -> [u8; 16] {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().into()
}

fn utf16(text: &str) -> Zeroizing<Vec<u8>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    text.encode_utf16().for_each(|unit| octets.extend_from_slice(&unit.to_le_bytes()));
    octets
}

/// Tenths of microseconds since 1601 (MS-DTYP §2.3.3).
fn file_time(now: UnixMillis) -> u64 {
    now.0.saturating_add(11_644_473_600_000).saturating_mul(10_000)
}

fn length(octets: &[u8]) -> Result<u16, NtlmError> {
    u16::try_from(octets.len()).map_err(|_| NtlmError::Credentials)
}

fn u16_at(octets: &[u8], at: usize) -> Result<u16, NtlmError> {
    let found = octets.get(at..at + 2).and_then(|octets| octets.try_into().ok());
    found.map(u16::from_le_bytes).ok_or(NtlmError::Malformed)
}

fn u32_at(octets: &[u8], at: usize) -> Result<u32, NtlmError> {
    let found = octets.get(at..at + 4).and_then(|octets| octets.try_into().ok());
    found.map(u32::from_le_bytes).ok_or(NtlmError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of MS-NLMP §4.2.1 and §4.2.4.
    const SERVER: &str = "0123456789abcdef";
    const CLIENT: [u8; 8] = [0xaa; 8];
    const TARGET: &str = "02000c0044006f006d00610069006e0001000c005300650072007600650072000000000000000000";

    fn user() -> PlainCredentials {
        PlainCredentials { user: "Domain\\User".into(), password: "Password".to_owned().into() }
    }

    fn challenge(target: &str, flags: u32) -> Vec<u8> {
        let target = hex::decode(target).unwrap();
        let mut message = SIGNATURE.to_vec();
        message.extend_from_slice(&2_u32.to_le_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&flags.to_le_bytes());
        message.extend_from_slice(&hex::decode(SERVER).unwrap());
        message.extend_from_slice(&[0; 8]);
        let length = u16::try_from(target.len()).unwrap().to_le_bytes();
        message.extend_from_slice(&[length, length].concat());
        message.extend_from_slice(&48_u32.to_le_bytes());
        message.extend_from_slice(&target);
        message
    }

    fn circumstances() -> Circumstances {
        // The document's time is zero, which was in 1601.
        let now = UnixMillis(0);
        Circumstances { nonce: CLIENT, now, service: "HTTP/mail".into(), certificate_hash: None }
    }

    #[test]
    fn keys_and_answers_are_those_of_the_specification() {
        let key = response_key("User", "Domain", "Password");
        assert_eq!(hex::encode(*key), "0c868a403bfd7a93a3001ef22ef02e3f", "§4.2.4.1.1");
        let server = hex::decode(SERVER).unwrap();
        let lm = hmac_md5(&*key, &[&server, &CLIENT]);
        assert_eq!(hex::encode(lm), "86c35097ac9cec102554764a57cccc19", "§4.2.4.2.1");
        let mut blob = hex::decode("0101000000000000").unwrap();
        blob.extend_from_slice(&[0; 8]);
        blob.extend_from_slice(&CLIENT);
        blob.extend_from_slice(&[0; 4]);
        blob.extend_from_slice(&hex::decode(TARGET).unwrap());
        let proof = hmac_md5(&*key, &[&server, &blob]);
        assert_eq!(hex::encode(proof), "68cd0ab851e51c96aabc927bebef6a1c", "§4.2.4.2.2");
        let session = hmac_md5(&*key, &[&proof]);
        assert_eq!(hex::encode(session), "8de40ccadbc14a82f15cb0ad0de95ca3", "§4.2.4.1.2");
    }

    #[test]
    fn a_challenge_is_answered() {
        let challenge = Challenge::parse(&challenge(TARGET, OURS)).unwrap();
        let message = authenticate(&challenge, &user(), &circumstances()).unwrap();
        assert!(message.starts_with(SIGNATURE));
        let at = |field: usize| {
            let length = usize::from(u16_at(&message, field).unwrap());
            let start = usize::try_from(u32_at(&message, field + 4).unwrap()).unwrap();
            message[start..start + length].to_vec()
        };
        assert_eq!(hex::encode(&at(12)[..16]), "86c35097ac9cec102554764a57cccc19");
        assert_eq!((at(28), at(36)), (utf16("Domain").to_vec(), utf16("User").to_vec()));
        assert!(message[MIC_AT..HEADER_OCTETS].iter().all(|octet| *octet == 0), "no timestamp, no code");
    }

    #[test]
    fn a_challenge_with_a_time_gets_a_code_and_the_binding() {
        let target = "07000800010203040506070800000000";
        let challenge = Challenge::parse(&challenge(target, OURS)).unwrap();
        let with = Circumstances { certificate_hash: Some(vec![7; 32]), ..circumstances() };
        let message = authenticate(&challenge, &user(), &with).unwrap();
        let mut bare = message.clone();
        bare[MIC_AT..HEADER_OCTETS].fill(0);
        let nt = usize::try_from(u32_at(&message, 24).unwrap()).unwrap();
        let key = response_key("User", "Domain", "Password");
        let session = hmac_md5(&*key, &[&message[nt..nt + 16]]);
        let mic = hmac_md5(&session, &[&negotiate(), &challenge.message, &bare]);
        assert_eq!(message[MIC_AT..HEADER_OCTETS], mic);
        let text = hex::encode(&message);
        assert!(text.contains(&hex::encode(channel_binding(&[7; 32]))), "the certificate is bound");
        assert!(text.contains(&hex::encode(&*utf16("HTTP/mail"))));
        assert!(text.contains("0102030405060708aaaaaaaaaaaaaaaa"), "the server's time");
    }

    #[test]
    fn what_is_no_challenge_is_refused() {
        let whole = challenge(TARGET, OURS);
        for end in 0..whole.len() {
            assert!(Challenge::parse(&whole[..end]).is_err(), "{end}");
        }
        assert_eq!(Challenge::parse(&challenge(TARGET, OURS & !TARGET_INFO)), Err(NtlmError::Old));
        assert_eq!(Challenge::parse(&challenge("0200ff00", OURS)), Err(NtlmError::Malformed));
        let mut far = whole;
        far[44..48].fill(0xff);
        assert_eq!(Challenge::parse(&far), Err(NtlmError::Malformed));
    }

    #[test]
    fn domains_are_told_from_users() {
        assert_eq!(names("CORP\\anna"), ("anna", "CORP"));
        assert_eq!(names("anna@example.com"), ("anna@example.com", ""));
    }
}
