//! Who may do what: one table of all routes. A route that is not in it is refused to everybody.

use super::accounts::{Role, Scope};

/// What a route asks of who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Need {
    /// Nothing.
    Anyone,
    /// A session, also one that has not come to its end.
    AnySession,
    /// A session; about one's own account, so no token will do.
    Own,
    /// Seeing everything that is not about administrators or settings.
    Read,
    /// Creating and changing mailboxes.
    Mailboxes,
    /// Deleting mailboxes.
    Deletion,
    /// Settings, log level, restart, certificate, bindings, looking for trouble.
    Settings,
    /// Administrators and the audit log.
    Administration,
    /// Making tokens that may do no more than oneself.
    Tokens,
}

impl Need {
    /// Whether somebody of this role may, in a session.
    pub(super) fn allows_role(self, role: Role) -> bool {
        match self {
            Self::Anyone | Self::AnySession | Self::Own | Self::Read | Self::Tokens => true,
            Self::Mailboxes => role >= Role::Operator,
            Self::Deletion | Self::Settings | Self::Administration => role >= Role::Administrator,
        }
    }

    /// Whether a token may that has these scopes, and whose owner has this role.
    pub(super) fn allows_token(self, scopes: &[Scope], owner: Role) -> bool {
        let scope = match self {
            Self::Anyone => return true,
            Self::AnySession | Self::Own => return false,
            Self::Read => return !scopes.is_empty(),
            Self::Mailboxes | Self::Deletion => Scope::Mailboxes,
            Self::Settings => Scope::Settings,
            Self::Administration | Self::Tokens => Scope::Admin,
        };
        scopes.contains(&scope) && self.allows_role(owner)
    }
}

/// Whether somebody of this role may make a token of this scope.
pub(super) fn may_give(role: Role, scope: Scope) -> bool {
    match scope {
        Scope::Read => true,
        Scope::Mailboxes => role >= Role::Operator,
        Scope::Settings | Scope::Admin => role >= Role::Administrator,
    }
}

/// All routes of the API: method, path, need.
pub(super) const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/api/openapi.json", Need::Anyone),
    ("GET", "/api/v1/sign-in", Need::Anyone),
    ("POST", "/api/v1/first-sign-in", Need::Anyone),
    ("POST", "/api/v1/session", Need::Anyone),
    ("GET", "/api/v1/session", Need::AnySession),
    ("DELETE", "/api/v1/session", Need::AnySession),
    ("POST", "/api/v1/session/second-factor", Need::AnySession),
    ("POST", "/api/v1/session/password-stored", Need::AnySession),
    ("POST", "/api/v1/session/passkey", Need::AnySession),
    ("PUT", "/api/v1/account/password", Need::Own),
    ("GET", "/api/v1/account/passkeys", Need::Own),
    ("POST", "/api/v1/account/passkeys", Need::Own),
    ("PUT", "/api/v1/account/passkeys", Need::Own),
    ("PATCH", "/api/v1/account/passkeys/{id}", Need::Own),
    ("POST", "/api/v1/account/passkeys/{id}/remove", Need::Own),
    ("POST", "/api/v1/account/totp", Need::Own),
    ("PUT", "/api/v1/account/totp", Need::Own),
    ("POST", "/api/v1/account/totp/remove", Need::Own),
    ("POST", "/api/v1/account/recovery-codes", Need::Own),
    ("GET", "/api/v1/account/sessions", Need::Own),
    ("DELETE", "/api/v1/account/sessions", Need::Own),
    ("DELETE", "/api/v1/account/sessions/{id}", Need::Own),
    ("GET", "/api/v1/administrators", Need::Administration),
    ("POST", "/api/v1/administrators", Need::Administration),
    ("PATCH", "/api/v1/administrators/{name}", Need::Administration),
    ("DELETE", "/api/v1/administrators/{name}", Need::Administration),
    ("POST", "/api/v1/administrators/{name}/reset-password", Need::Administration),
    ("DELETE", "/api/v1/administrators/{name}/sessions", Need::Administration),
    ("GET", "/api/v1/tokens", Need::Tokens),
    ("POST", "/api/v1/tokens", Need::Tokens),
    ("DELETE", "/api/v1/tokens/{id}", Need::Tokens),
    ("GET", "/api/v1/mailboxes", Need::Read),
    ("POST", "/api/v1/mailboxes", Need::Mailboxes),
    ("GET", "/api/v1/mailboxes/{id}", Need::Read),
    ("PATCH", "/api/v1/mailboxes/{id}", Need::Mailboxes),
    ("DELETE", "/api/v1/mailboxes/{id}", Need::Deletion),
    ("POST", "/api/v1/mailboxes/{id}/reset-password", Need::Mailboxes),
    ("GET", "/api/v1/mailboxes/{id}/connect", Need::Read),
    ("POST", "/api/v1/mailboxes/{id}/test-message", Need::Mailboxes),
    ("GET", "/api/v1/overview", Need::Read),
    ("GET", "/api/v1/overview/events", Need::Read),
    ("GET", "/api/v1/activity", Need::Read),
    ("GET", "/api/v1/audit", Need::Administration),
    ("GET", "/api/v1/settings", Need::Settings),
    ("POST", "/api/v1/settings/validate", Need::Settings),
    ("PUT", "/api/v1/settings", Need::Settings),
    ("POST", "/api/v1/settings/reload", Need::Settings),
    ("PUT", "/api/v1/log-level", Need::Settings),
    ("POST", "/api/v1/restart", Need::Settings),
    ("GET", "/api/v1/certificate", Need::Read),
    ("GET", "/api/v1/certificate/ports", Need::Read),
    ("POST", "/api/v1/certificate/self-signed", Need::Settings),
    ("POST", "/api/v1/certificate/import", Need::Settings),
    ("POST", "/api/v1/certificate/acme", Need::Settings),
    ("POST", "/api/v1/doctor", Need::Settings),
    ("POST", "/api/v1/proxy/test", Need::Settings),
    ("GET", "/api/v1/oauth/bindings", Need::Settings),
    ("POST", "/api/v1/oauth/bindings", Need::Settings),
    ("POST", "/api/v1/oauth/bindings/address", Need::Settings),
    ("POST", "/api/v1/oauth/bindings/revoke", Need::Settings),
];

/// What a route asks; `None` when there is no such route.
pub(super) fn need(method: &str, path: &str) -> Option<Need> {
    let method = if method == "HEAD" { "GET" } else { method };
    ROUTES.iter().find(|(m, p, _)| *m == method && *p == path).map(|(_, _, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: [Need; 9] = [
        Need::Anyone,
        Need::AnySession,
        Need::Own,
        Need::Read,
        Need::Mailboxes,
        Need::Deletion,
        Need::Settings,
        Need::Administration,
        Need::Tokens,
    ];

    #[test]
    fn roles_grow() {
        let allowed = |role| NEEDS.into_iter().filter(|need| need.allows_role(role)).collect::<Vec<_>>();
        let (viewer, operator) = (allowed(Role::Viewer), allowed(Role::Operator));
        assert_eq!(viewer, [Need::Anyone, Need::AnySession, Need::Own, Need::Read, Need::Tokens]);
        assert_eq!(operator.len(), viewer.len() + 1);
        assert!(operator.contains(&Need::Mailboxes) && !operator.contains(&Need::Deletion));
        assert_eq!(allowed(Role::Administrator), NEEDS);
    }

    #[test]
    fn a_token_may_what_its_scopes_say_and_no_more_than_its_owner() {
        let allowed = |scopes: &[Scope], role| {
            NEEDS.into_iter().filter(|need| need.allows_token(scopes, role)).collect::<Vec<_>>()
        };
        assert_eq!(allowed(&[], Role::Administrator), [Need::Anyone]);
        assert_eq!(allowed(&[Scope::Read], Role::Administrator), [Need::Anyone, Need::Read]);
        assert_eq!(
            allowed(&[Scope::Mailboxes], Role::Operator),
            [Need::Anyone, Need::Read, Need::Mailboxes],
            "its owner may not delete either"
        );
        let all = [Scope::Read, Scope::Mailboxes, Scope::Settings, Scope::Admin];
        assert_eq!(allowed(&all, Role::Viewer), [Need::Anyone, Need::Read, Need::Tokens]);
        let administrators = allowed(&all, Role::Administrator);
        assert_eq!(administrators.len(), NEEDS.len() - 2);
        assert!(!administrators.contains(&Need::Own) && !administrators.contains(&Need::AnySession));
    }
}
