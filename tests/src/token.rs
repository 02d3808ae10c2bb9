//! Access tokens that a test signs itself.

use std::process::Command;

use anyhow::Result;

use crate::foreign::run;

/// A token for `user`, signed with `secret` (HS256, RFC 7519).
pub fn jwt(user: &str, secret: &str) -> Result<String> {
    let script = "import base64, hashlib, hmac, json, sys, time\n\
        enc = lambda b: base64.urlsafe_b64encode(b).rstrip(b'=')\n\
        now = int(time.time())\n\
        head = enc(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())\n\
        body = enc(json.dumps({'sub': sys.argv[1], 'iat': now - 60, 'nbf': now - 60, 'exp': now + 3600}).encode())\n\
        mac = hmac.new(sys.argv[2].encode(), head + b'.' + body, hashlib.sha256).digest()\n\
        print((head + b'.' + body + b'.' + enc(mac)).decode())\n";
    let output = run(Command::new("python3").args(["-c", script, user, secret]))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
