//! An OAuth provider run for real: Glewlwyd from Debian, with authorization code and PKCE, device code, refresh tokens that
//! serve once, and introspection (RFC 6749, 7636, 8628, 7662).
//!
//! What a person does there is done by curl: [`Glewlwyd::consent`] opens a link as a browser would, logged in as `anna`.
//!
//! [`Glewlwyd::for_dovecot`] makes a Dovecot take its tokens. The user's name there is `anna`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use postern_shared::clock::{Clock, SystemClock};
use postern_shared::disk::RealDisk;
use postern_shared::tls::server::Identity;
use serde_json::{Value, json};

use crate::foreign::{free_port, has, run, wait_for};
use crate::upstream::OAuth2;

const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
/// Letters and hyphens: Glewlwyd 2.7 does not undo the form encoding that RFC 6749 §2.3.1 wants.
const CLIENT_SECRET: &str = "shared-with-the-gateway";

/// A provider of its own in a temporary directory, stopped and removed at the end.
#[derive(Debug)]
pub struct Glewlwyd {
    dir: tempfile::TempDir,
    process: Child,
    port: u16,
    fingerprint: String,
}

/// Who asks and who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// `gateway`, which proves itself by a secret.
    Secret,
    /// `signing`, which proves itself by a signature (RFC 7523).
    Key,
}

impl Client {
    fn id(self) -> &'static str {
        match self {
            Self::Secret => "gateway",
            Self::Key => "signing",
        }
    }
}

impl Glewlwyd {
    /// Whether everything it needs is installed; says so when not.
    pub fn is_installed() -> bool {
        ["glewlwyd", "sqlite3", "curl", "openssl"].into_iter().all(has)
    }

    /// Starts one that knows the person `anna` and both clients, who may send a browser to `redirects`.
    pub fn start(redirects: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("glewlwyd").tempdir()?;
        let at = dir.path();
        let now = SystemClock::new().wall();
        let identity = Identity::self_signed(&RealDisk, at, &["localhost".to_owned()], now)?;
        // Mail servers that ask it run as other users.
        run(Command::new("chmod").arg("755").arg(at))?;
        let own = at.join("self-signed.crt.pem");
        run(Command::new("install").args(["-m", "644"]).arg(own).arg(at.join("authority.pem")))?;
        let port = free_port()?;
        let database = at.join("database");
        let schema = std::fs::File::open(SCHEMA).with_context(|| SCHEMA.to_owned())?;
        run(Command::new("sqlite3").arg(&database).stdin(schema))?;
        std::fs::write(at.join("glewlwyd.conf"), configuration(at, port))?;
        let log = std::fs::File::create(at.join("log"))?;
        let process = Command::new("glewlwyd")
            .arg(format!("--config-file={}", at.join("glewlwyd.conf").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let fingerprint = format!("sha256:{}", identity.fingerprint());
        let provider = Self { dir, process, port, fingerprint };
        wait_for(SocketAddr::from(([127, 0, 0, 1], port))).with_context(|| provider.log())?;
        provider.set_up(redirects).with_context(|| provider.log())?;
        Ok(provider)
    }

    fn set_up(&self, redirects: &[&str]) -> Result<()> {
        self.send("admin", "auth/", &json!({ "username": "admin", "password": "password" }))?;
        let parameters = json!({
            "iss": format!("https://localhost:{}", self.port),
            "jwt-type": "sha", "jwt-key-size": "256", "key": "signs the tokens of a test",
            "access-token-duration": 3600, "refresh-token-duration": 1_209_600, "code-duration": 600,
            "refresh-token-rolling": true, "refresh-token-one-use": "always", "allow-non-oidc": true,
            "auth-type-code-enabled": true, "auth-type-id-token-enabled": true,
            "auth-type-device-enabled": true, "auth-type-refresh-enabled": true,
            "device-authorization-expiration": 600, "device-authorization-interval": 1,
            "pkce-allowed": true, "pkce-method-plain-allowed": false, "pkce-required": true,
            "introspection-revocation-allowed": true, "introspection-revocation-allow-target-client": true,
            "request-parameter-allow": true, "client-pubkey-parameter": "pubkey", "request-maximum-exp": 600,
        });
        let plugin =
            json!({ "module": "oidc", "name": "oidc", "display_name": "OIDC", "parameters": parameters });
        self.send("admin", "mod/plugin/", &plugin)?;
        let scope = json!({ "name": "mail", "display_name": "mail", "description": "Mail", "password_required": false });
        self.send("admin", "scope/", &scope)?;
        let anna = json!({
            "username": "anna", "name": "Anna", "email": "anna@example.com", "password": "annas own",
            "enabled": true, "scope": ["g_profile", "mail"],
        });
        self.send("admin", "user/", &anna)?;
        let client = |client: Client, method: &str| {
            json!({
                "client_id": client.id(), "name": "Postern", "confidential": true, "enabled": true,
                "redirect_uri": redirects, "scope": ["mail"], "token_endpoint_auth_method": [method],
                "authorization_type": ["code", "refresh_token", "device_authorization"],
            })
        };
        let mut with_secret = client(Client::Secret, "client_secret_basic");
        with_secret["client_secret"] = CLIENT_SECRET.into();
        self.send("admin", "client/", &with_secret)?;
        let mut with_key = client(Client::Key, "private_key_jwt");
        with_key["pubkey"] = self.make_client_key()?.into();
        self.send("admin", "client/", &with_key)?;
        self.send("anna", "auth/", &json!({ "username": "anna", "password": "annas own" }))?;
        Ok(())
    }

    /// Makes `client.pem` and `client.key`; the public key.
    fn make_client_key(&self) -> Result<String> {
        let (certificate, key) = (self.dir.path().join("client.pem"), self.dir.path().join("client.key"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=gateway"]);
        run(make.arg("-keyout").arg(&key).arg("-out").arg(certificate))?;
        let public = run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(key))?;
        Ok(String::from_utf8(public.stdout)?)
    }

    /// A `[[proxy.provider]]` table called `sso`; `more` is put behind it.
    pub fn settings(&self, client: Client, more: &str) -> String {
        let at = format!("https://localhost:{}/api/oidc", self.port);
        let (id, trust, dir) = (client.id(), &self.fingerprint, self.dir.path().display());
        let proof = match client {
            Client::Secret => format!("client_secret = \"{CLIENT_SECRET}\""),
            Client::Key => {
                format!("client_certificate = \"{dir}/client.pem\"\nclient_key = \"{dir}/client.key\"")
            }
        };
        format!(
            "[[proxy.provider]]\nname = \"sso\"\nclient_id = \"{id}\"\n{proof}\nscopes = [\"mail\"]\n\
             authorization_endpoint = \"{at}/auth\"\ntoken_endpoint = \"{at}/token\"\n\
             device_endpoint = \"{at}/device_authorization\"\ntrust = \"{trust}\"\n{more}\n"
        )
    }

    /// Its certificate, which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("authority.pem")
    }

    /// What makes a Dovecot take tokens of `anna` for [`Client::Secret`].
    pub fn for_dovecot(&self) -> OAuth2 {
        OAuth2::Settings(format!(
            "introspection_url = {}\nintrospection_mode = post\nusername_attribute = username\n\
             active_attribute = active\nactive_value = true\ntls_ca_cert_file = {}",
            self.introspection_url(),
            self.certificate().display()
        ))
    }

    /// Where a mail server asks whose token it was given; user name and password are in it.
    fn introspection_url(&self) -> String {
        format!("https://gateway:{CLIENT_SECRET}@localhost:{}/api/oidc/introspect", self.port)
    }

    /// Opens a link and consents, as `anna` for `client`; where the browser is sent then.
    pub fn consent(&self, client: Client, link: &str) -> Result<String> {
        let grant = self.api(&format!("auth/grant/{}", client.id()));
        self.curl("anna", &["-X", "PUT", "-H", JSON, "-d", "{\"scope\":\"mail\"}", &grant])?;
        // The page with the button is a script; this is what the button does.
        let link = format!("{link}&g_continue");
        let location = self.curl("anna", &["-o", "/dev/null", "-w", "%{redirect_url}", &link])?;
        ensure!(!location.is_empty(), "no redirect from {link}");
        Ok(location)
    }

    /// Takes back every consent of `anna`.
    pub fn take_back(&self) -> Result<()> {
        let tokens: Value = serde_json::from_str(&self.curl("anna", &[&self.api("oidc/token")])?)?;
        let enabled = tokens.as_array().into_iter().flatten().filter(|token| token["enabled"] == true);
        for token in enabled {
            let hash = token["token_hash"].as_str().context("no hash")?;
            let hash = hash.replace('{', "%7B").replace('}', "%7D");
            self.curl("anna", &["-X", "DELETE", &self.api(&format!("oidc/token/{hash}"))])?;
        }
        Ok(())
    }

    /// What it says of an access token (RFC 7662).
    pub fn introspect(&self, token: &str) -> Result<Value> {
        let (url, token) = (self.introspection_url(), format!("token={token}"));
        Ok(serde_json::from_str(&self.curl("gateway", &["--data-urlencode", &token, &url])?)?)
    }

    fn send(&self, who: &str, path: &str, body: &Value) -> Result<String> {
        self.curl(who, &["-H", JSON, "-d", &body.to_string(), &self.api(path)])
    }

    fn api(&self, path: &str) -> String {
        format!("https://localhost:{}/api/{path}", self.port)
    }

    /// curl with the cookies of `who`; what it prints.
    fn curl(&self, who: &str, arguments: &[&str]) -> Result<String> {
        let jar = self.dir.path().join(format!("cookies-{who}"));
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--globoff", "--max-time", "30"]);
        curl.arg("--cacert").arg(self.certificate()).arg("-b").arg(&jar).arg("-c").arg(&jar);
        let output = run(curl.args(arguments)).with_context(|| self.log())?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Glewlwyd {
    fn drop(&mut self) {
        // The test is over, however it went.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const JSON: &str = "Content-Type: application/json";

fn configuration(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "port={port}\nbind_address=\"127.0.0.1\"\nexternal_url=\"https://localhost:{port}\"\nlogin_url=\"login.html\"\n\
         api_prefix=\"api\"\nlog_mode=\"console\"\nlog_level=\"DEBUG\"\ncookie_secure=1\n\
         session_key=\"GLEWLWYD2_SESSION_ID\"\nadmin_scope=\"g_admin\"\nprofile_scope=\"g_profile\"\n\
         user_module_path=\"/usr/lib/glewlwyd/user\"\nclient_module_path=\"/usr/lib/glewlwyd/client\"\n\
         user_auth_scheme_module_path=\"/usr/lib/glewlwyd/scheme\"\nplugin_module_path=\"/usr/lib/glewlwyd/plugin\"\n\
         use_secure_connection=true\nsecure_connection_key_file=\"{dir}/self-signed.key.pem\"\n\
         secure_connection_pem_file=\"{dir}/self-signed.crt.pem\"\nhash_algorithm=\"SHA512\"\n\
         database =\n{{\n  type = \"sqlite3\"\n  path = \"{dir}/database\"\n}}\n"
    )
}
