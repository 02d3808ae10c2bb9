//! Who is let in: Basic, NTLMv2, an access token. Of one connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use postern_archiver::sources::ews::auth::ntlm::{hmac_md5, response_key};
use postern_shared::crypto::digest::sha256;

use super::{PASSWORD, Shared, USER, Wants};

const NONCE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// What a connection has shown so far.
#[derive(Debug, Default)]
pub(super) struct Shown {
    let_in: bool,
    /// The first two messages of NTLM.
    first: Vec<u8>,
    second: Vec<u8>,
}

/// Let in, or what `WWW-Authenticate` says.
pub(super) fn check(shared: &Shared, shown: &mut Shown, field: Option<&str>) -> Result<(), Vec<String>> {
    let (scheme, data) = field.and_then(|field| field.split_once(' ')).unwrap_or_default();
    match shared.wants {
        Wants::Basic => {
            let pair = format!("{USER}:{PASSWORD}");
            // What is beyond ASCII clients write in one way or the other (RFC 7617 §2.1).
            let latin: Option<Vec<u8>> = pair.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            let known = [Some(pair.into_bytes()), latin].map(|pair| pair.map(|pair| STANDARD.encode(pair)));
            let right = scheme == "Basic" && known.contains(&Some(data.to_owned()));
            if right { Ok(()) } else { Err(vec!["Basic realm=\"127.0.0.1\"".into()]) }
        }
        Wants::Bearer => {
            let right = scheme == "Bearer" && shared.tokens.iter().any(|token| token == data);
            let wanted = "Bearer client_id=\"00000002-0000-0ff1-ce00-000000000000\", trusted_issuers=\"x\"";
            if right { Ok(()) } else { Err(vec![wanted.into()]) }
        }
        Wants::Ntlm(bound) => {
            // A login belongs to the connection.
            if shown.let_in && scheme.is_empty() {
                return Ok(());
            }
            let offer = || vec!["Negotiate".to_owned(), "NTLM".to_owned()];
            let message = STANDARD.decode(data).ok().filter(|_| scheme == "NTLM").ok_or_else(offer)?;
            match message.get(8) {
                Some(1) => {
                    shown.let_in = false;
                    (shown.first, shown.second) = (message, challenge());
                    Err(vec![format!("NTLM {}", STANDARD.encode(&shown.second))])
                }
                Some(3) if proves(&message, shown, bound, &shared.certificate).is_some() => {
                    shown.let_in = true;
                    Ok(())
                }
                _ => Err(offer()),
            }
        }
    }
}

/// MS-NLMP §2.2.1.2, with a target and a time.
fn challenge() -> Vec<u8> {
    let mut target = Vec::new();
    for (id, text) in [(2_u16, "CORP"), (1, "EX01"), (4, "corp.example.com")] {
        let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        target.extend_from_slice(&id.to_le_bytes());
        target.extend_from_slice(&u16::try_from(text.len()).unwrap_or_default().to_le_bytes());
        target.extend_from_slice(&text);
    }
    target.extend_from_slice(&[7, 0, 8, 0]);
    // Some day in 2026.
    target.extend_from_slice(&134_000_000_000_000_000_u64.to_le_bytes());
    target.extend_from_slice(&[0; 4]);
    let mut message = b"NTLMSSP\0\x02\0\0\0".to_vec();
    message.extend_from_slice(&[0, 0, 0, 0, 56, 0, 0, 0]);
    message.extend_from_slice(&0xa289_8205_u32.to_le_bytes());
    message.extend_from_slice(&NONCE);
    message.extend_from_slice(&[0; 8]);
    let length = u16::try_from(target.len()).unwrap_or_default().to_le_bytes();
    message.extend_from_slice(&[length, length].concat());
    message.extend_from_slice(&56_u32.to_le_bytes());
    message.extend_from_slice(&[10, 0, 0x63, 0x45, 0, 0, 0, 15]);
    message.extend_from_slice(&target);
    message
}

/// Whether the third message proves the password, was not altered, and belongs to this server's certificate.
fn proves(message: &[u8], shown: &Shown, bound: bool, certificate: &[u8]) -> Option<()> {
    let at = |field: usize| {
        let length = usize::from(u16::from_le_bytes(message.get(field..field + 2)?.try_into().ok()?));
        let start = u32::from_le_bytes(message.get(field + 4..field + 8)?.try_into().ok()?);
        let start = usize::try_from(start).ok()?;
        message.get(start..start + length)
    };
    let text = |octets: &[u8]| {
        let units: Vec<u16> =
            octets.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    let (nt, domain, user) = (at(20)?, text(at(28)?), text(at(36)?));
    let key = response_key(&user, &domain, PASSWORD);
    let (proof, blob) = nt.split_at_checked(16)?;
    let known = user == USER && hmac_md5(&*key, &[&NONCE, blob]) == proof;
    let mut pairs = blob.get(28..)?;
    let (mut binding, mut has_code) = (None, false);
    loop {
        let id = u16::from_le_bytes(pairs.get(..2)?.try_into().ok()?);
        let length = usize::from(u16::from_le_bytes(pairs.get(2..4)?.try_into().ok()?));
        let value = pairs.get(4..4 + length)?;
        match id {
            0 => break,
            6 => has_code = value.first()? & 2 == 2,
            10 => binding = Some(value.to_vec()),
            _ => {}
        }
        pairs = pairs.get(4 + length..)?;
    }
    if has_code {
        let session = hmac_md5(&*key, &[proof]);
        let mut bare = message.to_vec();
        bare.get_mut(72..88)?.fill(0);
        let code = hmac_md5(&session, &[&shown.first, &shown.second, &bare]);
        // Who agrees on a session key of his own computes it with that; this server agrees on none.
        (message.get(72..88)? == code).then_some(())?;
    }
    let data = [b"tls-server-end-point:".as_slice(), &sha256(certificate).0].concat();
    let length = u32::try_from(data.len()).ok()?.to_le_bytes();
    let expected = Md5::digest([[0; 16].as_slice(), &length, &data].concat()).to_vec();
    let none = vec![0; 16];
    let binds = match binding.filter(|binding| *binding != none) {
        Some(binding) => binding == expected,
        None => !bound,
    };
    (known && binds).then_some(())
}
