//! Access tokens: a token endpoint that replaces its refresh tokens each time, and a Dovecot that checks what it gives.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use postern_archiver::profiles::probe::probe;
use postern_shared::control::Context;
use postern_tests::upstream::{Identity, OAuth2};
use serde_json::{Value, json};

use crate::{Archive, USER, awkward, dovecot, imap_profile, meanwhile};

const SECRET: &str = "a secret of the tests";

/// A refresh token is good once; the client's own credentials give a token for the scope's name.
const ENDPOINT: &str = r#"
import base64, hashlib, hmac, http.server, json, ssl, sys, time, urllib.parse
cert, key, secret, user = sys.argv[1:5]
enc = lambda b: base64.urlsafe_b64encode(b).rstrip(b'=')
def jwt(sub):
    now = int(time.time())
    head = enc(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())
    body = enc(json.dumps({'sub': sub, 'iat': now - 60, 'nbf': now - 60, 'exp': now + 3600}).encode())
    mac = hmac.new(secret.encode(), head + b'.' + body, hashlib.sha256).digest()
    return (head + b'.' + body + b'.' + enc(mac)).decode()
class Handler(http.server.BaseHTTPRequestHandler):
    good = 'r0'
    number = 0
    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers['Content-Length'])).decode()))
        basic = base64.b64decode(self.headers.get('Authorization', 'Basic ')[6:]).decode()
        answer, status = {'error': 'invalid_client'}, 401
        if basic == 'id:geheim':
            answer, status = {'error': 'invalid_grant', 'error_description': 'used already'}, 400
            if form['grant_type'] == 'client_credentials':
                answer, status = {'access_token': jwt(form['scope']), 'token_type': 'Bearer', 'expires_in': 3600}, 200
            elif form.get('refresh_token') == Handler.good:
                Handler.number += 1
                Handler.good = 'r%d' % Handler.number
                answer = {'access_token': jwt(user), 'token_type': 'bearer', 'refresh_token': Handler.good}
                status = 200
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Endpoint {
    process: Child,
    port: u16,
}

impl Endpoint {
    fn start(identity: &Identity) -> Result<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", ENDPOINT]).arg(&identity.certificate).arg(&identity.key).args([SECRET, USER]);
        let mut process = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self { process, port: line.trim().parse()? })
    }

    fn settings(&self, authority: &str, more: &Value) -> Value {
        let mut settings = json!({
            "token_endpoint": format!("https://localhost:{}/token", self.port), "trust": authority,
            "client_id": "id", "client_secret": "geheim",
        });
        crate::merge(&mut settings, more);
        settings
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // The test is over, however it went.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Goal: a refresh token that is good once lets in run after run, for each new one is kept before its access token is used; the
/// client's own credentials let in to accounts; a provider's refusal is told, without secrets.
#[tokio::test]
async fn tokens_let_in() -> Result<()> {
    let setup = dovecot(|setup| setup.oauth2(OAuth2::Secret(SECRET.into())))?;
    let Some((authority, server)) = setup else { return Ok(()) };
    let append = "must(M.append('INBOX', None, None, messages[0]))";
    meanwhile(&server, USER, crate::PASSWORD, append, &[awkward(1)])?;
    let endpoint = Endpoint::start(&authority.identity()?)?;
    let trust = format!("file:{}", authority.certificate().display());
    let archive = Archive::new(&[("anna", "anna@mail.test")])?;
    let with = |more: Value| imap_profile(&authority, &server, &json!({ "source": more }));
    let refresh = endpoint.settings(&trust, &json!({ "refresh_token": "r0" }));
    let by_refresh = with(json!({ "username": USER, "oauth": refresh, "mechanism": "xoauth2" }))?;
    for archived in [1, 0, 0] {
        let ran = archive.run(&by_refresh).await.with_context(|| server.log())?;
        assert_eq!(ran.archived, archived, "{ran:?}");
    }
    let own = endpoint.settings(&trust, &json!({ "scopes": [USER] }));
    let mut by_client =
        with(json!({ "accounts": [USER], "oauth": own.clone(), "mechanism": "oauthbearer" }))?;
    assert_eq!(archive.run(&by_client).await.with_context(|| server.log())?.archived, 0);
    assert_eq!(archive.contents("anna", "INBOX")?, [awkward(1)]);

    let (context, _told, _cancel) = Context::new();
    let mut wrong = own;
    wrong["client_secret"] = "another".into();
    by_client = with(json!({ "accounts": [USER], "oauth": wrong }))?;
    let probed = probe(&archive.instance, &by_client, &context).await?;
    let step = probed[0].steps.last().context("no step")?;
    assert_eq!((step.step.as_str(), step.ok), ("token", false));
    assert!(step.words.contains("invalid_client") && !step.words.contains("another"), "{probed:?}");
    Ok(())
}
