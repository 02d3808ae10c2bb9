//! SCRAM-SHA-256, the client's side (RFC 5802, RFC 7677): the password itself is never sent, and the server proves that it
//! knows it too.
//!
//! Without channel binding: TLS 1.3 has none that servers agree on (`tls-exporter`, RFC 9266, comes with SCRAM-SHA-256-PLUS).
//! Passwords beyond ASCII would need SASLprep (RFC 4013), which is not here: they go by another mechanism.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::PlainCredentials;
use crate::crypto::digest::{hmac_sha256, pbkdf2_sha256, sha256};
use crate::crypto::equal_constant_time;

/// Fewer iterations make it cheap to guess (RFC 7677 §4).
const ITERATIONS_MIN: u32 = 4096;
/// More would let a server keep us computing.
const ITERATIONS_MAX: u32 = 2_000_000;

/// What is wrong with what the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// User or password cannot be used with this mechanism.
    #[error("SCRAM-SHA-256 needs a password of printable ASCII characters here; use another mechanism")]
    Password,
    /// It does not speak the mechanism.
    #[error("the server's challenge is no SCRAM-SHA-256 message")]
    Malformed,
    /// It did not take up our nonce.
    #[error("the server answered another client's challenge")]
    Nonce,
    /// It wants too few or too many.
    #[error("the server wants {0} iterations; {ITERATIONS_MIN} to {ITERATIONS_MAX} are done here")]
    Iterations(u32),
    /// It does not know the password.
    #[error("the server does not know the password: it is not who it says it is")]
    Server,
    /// It says so.
    #[error("the server refuses the proof")]
    Refused,
}

/// One login. Call order: [`Scram::first`], [`Scram::proof`], [`Scram::verify`]; each gives or takes base64.
#[derive(Debug)]
pub struct Scram {
    password: SecretString,
    gs2_header: String,
    first_bare: String,
    nonce: String,
    server_signature: Option<[u8; 32]>,
}

impl Scram {
    /// A login by these credentials, acting for `act_as` if that is another one. `nonce` must be random and printable.
    ///
    /// # Errors
    /// [`ScramError::Password`].
    pub fn new(
        credentials: &PlainCredentials,
        act_as: Option<&str>,
        nonce: String,
    ) -> Result<Self, ScramError> {
        let PlainCredentials { user, password } = credentials;
        let is_plain =
            |text: &str| !text.is_empty() && text.bytes().all(|octet| (b' '..=b'~').contains(&octet));
        if !is_plain(password.expose_secret()) || !is_plain(user) {
            return Err(ScramError::Password);
        }
        let gs2_header = act_as.map_or_else(|| "n,,".to_owned(), |other| format!("n,a={},", escaped(other)));
        let first_bare = format!("n={},r={nonce}", escaped(user));
        Ok(Self { password: password.clone(), gs2_header, first_bare, nonce, server_signature: None })
    }

    /// The first message.
    pub fn first(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(format!("{}{}", self.gs2_header, self.first_bare)))
    }

    /// The proof, made of the server's first message.
    ///
    /// # Errors
    /// When the message cannot be trusted.
    pub fn proof(&mut self, challenge: &str) -> Result<Zeroizing<String>, ScramError> {
        let message = decoded(challenge)?;
        let mut parts = message.split(',');
        let mut part =
            |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(ScramError::Malformed);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Malformed)?;
        let iterations = iterations.parse().map_err(|_| ScramError::Malformed)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(ScramError::Iterations(iterations));
        }
        let salted = pbkdf2_sha256(self.password.expose_secret().as_bytes(), &salt, iterations);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(&self.gs2_header));
        let auth_message = format!("{},{message},{without_proof}", self.first_bare);
        let client_key = Zeroizing::new(hmac_sha256(&salted, b"Client Key").0);
        let signature = hmac_sha256(&sha256(&*client_key).0, auth_message.as_bytes()).0;
        let proof: Zeroizing<Vec<u8>> =
            Zeroizing::new(client_key.iter().zip(signature).map(|(key, sign)| key ^ sign).collect());
        let server_key = Zeroizing::new(hmac_sha256(&salted, b"Server Key").0);
        self.server_signature = Some(hmac_sha256(&server_key, auth_message.as_bytes()).0);
        Ok(Zeroizing::new(STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(&*proof)))))
    }

    /// Whether the server knows the password too; without this its consent counts for nothing.
    ///
    /// # Errors
    /// When it does not, or its last message came too early.
    pub fn verify(&mut self, challenge: &str) -> Result<(), ScramError> {
        let expected = self.server_signature.take().ok_or(ScramError::Malformed)?;
        let message = decoded(challenge)?;
        if message.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = message.strip_prefix("v=").and_then(|text| text.split(',').next());
        let signature = signature.and_then(|text| STANDARD.decode(text).ok()).ok_or(ScramError::Malformed)?;
        if equal_constant_time(&signature, &expected) { Ok(()) } else { Err(ScramError::Server) }
    }
}

fn decoded(challenge: &str) -> Result<String, ScramError> {
    let octets = STANDARD.decode(challenge).map_err(|_| ScramError::Malformed)?;
    String::from_utf8(octets).map_err(|_| ScramError::Malformed)
}

/// RFC 5802 §5.1: `,` and `=` in names.
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const LAST: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn login() -> Scram {
        let credentials = PlainCredentials { user: "user".into(), password: "pencil".to_owned().into() };
        Scram::new(&credentials, None, "rOprNGfwEbeRWgbNEkqO".into()).unwrap()
    }

    fn text(base64: &str) -> String {
        String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap()
    }

    /// RFC 7677 §3.
    #[test]
    fn the_standards_example_works() {
        let mut login = login();
        assert_eq!(text(&login.first()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = login.proof(&STANDARD.encode(FIRST)).unwrap();
        assert_eq!(
            text(&proof),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        login.verify(&STANDARD.encode(LAST)).unwrap();
        assert!(!format!("{login:?}").contains("pencil"));
    }

    #[test]
    fn a_server_that_cheats_is_told_nothing() {
        let proof = |message: &str| login().proof(&STANDARD.encode(message)).map(drop).unwrap_err();
        assert_eq!(proof("r=other,s=W22Z,i=4096"), ScramError::Nonce);
        assert_eq!(proof("r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096"), ScramError::Nonce);
        assert_eq!(proof(&FIRST.replace("4096", "1")), ScramError::Iterations(1));
        assert_eq!(proof(&FIRST.replace("4096", "4000000000")), ScramError::Iterations(4_000_000_000));
        assert_eq!(proof("m=x,r=a"), ScramError::Malformed);
        let mut login = login();
        assert_eq!(login.verify(&STANDARD.encode(LAST)), Err(ScramError::Malformed), "too early");
        login.proof(&STANDARD.encode(FIRST)).unwrap();
        let wrong = STANDARD.encode(format!("v={}", STANDARD.encode([0; 32])));
        assert_eq!(login.verify(&wrong), Err(ScramError::Server));
    }

    #[test]
    fn names_are_escaped_and_odd_passwords_refused() {
        let credentials = PlainCredentials { user: "a,b=c".into(), password: "x".to_owned().into() };
        let login = Scram::new(&credentials, Some("d,e"), "n".into()).unwrap();
        assert_eq!(text(&login.first()), "n,a=d=2Ce,n=a=2Cb=3Dc,r=n");
        let credentials = PlainCredentials { user: "a".into(), password: "é".to_owned().into() };
        assert_eq!(Scram::new(&credentials, None, "n".into()).map(drop), Err(ScramError::Password));
    }
}
