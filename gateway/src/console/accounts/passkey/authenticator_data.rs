//! Authenticator data (Web Authentication §6.1):
//!
//! ```text
//! 32  SHA-256 of the RP id
//!  1  flags: 0x01 user present, 0x04 user verified, 0x08 may be backed up, 0x10 is backed up, 0x40 key follows,
//!     0x80 extensions follow
//!  4  signature count, big-endian
//!     with 0x40: 16 AAGUID, 2 length of the id, the id, the key (CBOR)
//!     with 0x80: a map (CBOR)
//! ```

use postern_shared::crypto::digest::sha256;
use postern_shared::crypto::equal_constant_time;

use super::{PasskeyError, PublicKey, read};

const USER_PRESENT: u8 = 0x01;
const MAY_BE_BACKED_UP: u8 = 0x08;
const IS_BACKED_UP: u8 = 0x10;
const KEY_FOLLOWS: u8 = 0x40;
const EXTENSIONS_FOLLOW: u8 = 0x80;
/// §7.1 step 25.
const CREDENTIAL_BYTES_MAX: usize = 1023;

#[derive(Debug)]
pub(super) struct AuthenticatorData {
    party: [u8; 32],
    flags: u8,
    pub(super) count: u32,
    pub(super) attested: Option<Attested>,
}

#[derive(Debug)]
pub(super) struct Attested {
    pub(super) credential: Vec<u8>,
    pub(super) key: PublicKey,
}

impl AuthenticatorData {
    pub(super) fn read(octets: &[u8]) -> Result<Self, PasskeyError> {
        let mut rest = octets;
        let party = take::<32>(&mut rest)?;
        let [flags] = take::<1>(&mut rest)?;
        let count = u32::from_be_bytes(take::<4>(&mut rest)?);
        let attested = match flags & KEY_FOLLOWS {
            0 => None,
            _ => Some(Attested::read(&mut rest)?),
        };
        if flags & EXTENSIONS_FOLLOW != 0 && !read(&mut rest)?.is_map() {
            return Err(WRONG);
        }
        if !rest.is_empty() || flags & (MAY_BE_BACKED_UP | IS_BACKED_UP) == IS_BACKED_UP {
            return Err(WRONG);
        }
        Ok(Self { party, flags, count, attested })
    }

    /// Whether it is for the RP id, and was touched.
    pub(super) fn check(&self, party: &str) -> Result<(), PasskeyError> {
        if !equal_constant_time(&self.party, &sha256(party.as_bytes()).0) {
            return Err(PasskeyError::For("another site"));
        }
        match self.flags & USER_PRESENT {
            0 => Err(PasskeyError::Untouched),
            _ => Ok(()),
        }
    }
}

impl Attested {
    fn read(rest: &mut &[u8]) -> Result<Self, PasskeyError> {
        take::<16>(rest)?;
        let length = usize::from(u16::from_be_bytes(take::<2>(rest)?));
        if length == 0 || length > CREDENTIAL_BYTES_MAX {
            return Err(WRONG);
        }
        let (credential, behind) = rest.split_at_checked(length).ok_or(WRONG)?;
        *rest = behind;
        Ok(Self { credential: credential.to_vec(), key: PublicKey::of(&read(rest)?)? })
    }
}

const WRONG: PasskeyError = PasskeyError::Malformed("the authenticator data");

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], PasskeyError> {
    let (first, behind) = rest.split_first_chunk::<N>().ok_or(WRONG)?;
    *rest = behind;
    Ok(*first)
}
