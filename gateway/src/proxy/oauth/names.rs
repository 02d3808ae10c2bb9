//! What accounts are called in bindings, and which host names belong together.
//!
//! Mail clients write a user as people please, and reach one account under several host names. Whatever way it is written,
//! the proxy password of a bound account must not reach the server: so more spellings are one here than at any server.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::Account;
use super::provider::{GOOGLE_HOSTS, MICROSOFT365_HOSTS, Provider};

/// An account under its own host name: without space around, lower case, NFKC, without characters that nobody sees.
pub fn account_key(account: &Account) -> String {
    normal(&account.to_string())
}

/// What a binding at that provider is called: where several host names are one, by the first of them.
pub(super) fn bound_as(account: &Account, provider: &Provider) -> String {
    Names::of([hosts_of(provider)]).canonical(&account.to_string())
}

/// Which host names belong together.
#[derive(Debug)]
pub(super) struct Names {
    groups: Vec<Vec<String>>,
}

impl Names {
    /// Those of the settings, and those of the presets also when no provider of theirs is in the settings any more.
    pub(super) fn new(providers: &[Provider]) -> Self {
        let owned = |hosts: &[&str]| hosts.iter().map(|&host| host.to_owned()).collect();
        let presets = [owned(MICROSOFT365_HOSTS), owned(GOOGLE_HOSTS)];
        Self::of(providers.iter().map(hosts_of).chain(presets))
    }

    /// Lists that share a host are one.
    fn of(lists: impl IntoIterator<Item = Vec<String>>) -> Self {
        let mut groups: Vec<Vec<String>> = Vec::new();
        for hosts in lists {
            let shares = |group: &Vec<String>| group.iter().any(|host| hosts.contains(host));
            let (sharing, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(shares);
            let mut one = sharing.concat();
            one.extend(hosts);
            groups = others;
            groups.push(one);
        }
        Self { groups }
    }

    /// The hosts at which `user%host` is the same account, itself among them.
    pub(super) fn hosts(&self, account: &str) -> Vec<String> {
        let (_, host) = split(account);
        let group = self.groups.iter().find(|group| group.iter().any(|other| other == host));
        group.map_or_else(|| vec![host.to_owned()], Clone::clone)
    }

    /// One name for an account, however it is written.
    pub(super) fn canonical(&self, account: &str) -> String {
        let account = normal(account);
        let host = self.hosts(&account).swap_remove(0);
        format!("{}%{host}", split(&account).0)
    }

    /// All names under which a binding of the account may have been stored; the first as it is written.
    pub(super) fn spellings(&self, account: &str) -> Vec<String> {
        let normal = normal(account);
        let mut all = vec![literal(account)];
        all.extend(self.hosts(&normal).iter().map(|host| format!("{}%{host}", split(&normal).0)));
        all
    }
}

/// What bindings were stored under first, and some still are.
pub(super) fn literal(account: &str) -> String {
    account.to_ascii_lowercase()
}

fn hosts_of(provider: &Provider) -> Vec<String> {
    provider.hosts.iter().map(ToString::to_string).collect()
}

/// User and host. A host holds no `%`.
fn split(account: &str) -> (&str, &str) {
    account.rsplit_once('%').unwrap_or((account, ""))
}

fn normal(account: &str) -> String {
    // Soft hyphen, zero-width spaces and joiners, directions, byte order mark: they come with copy and paste.
    let unseen = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{feff}');
    let (user, host) = split(account);
    let seen: String = user.chars().filter(|c| !unseen(*c)).collect();
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let lower = nfkc.normalize(&seen).to_lowercase();
    format!("{}%{}", nfkc.normalize(&lower).trim(), host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(lists: &[&[&str]]) -> Names {
        Names::of(lists.iter().map(|list| list.iter().map(|&host| host.to_owned()).collect()))
    }

    /// Goal: however people and programs write an account, it is one.
    #[test]
    fn spellings_are_one_account() {
        let names = Names::new(&[]);
        let expected = "jos\u{e9}@example.com%outlook.office365.com";
        for spelling in [
            "jos\u{e9}@example.com%outlook.office365.com",
            "JOS\u{c9}@Example.COM%outlook.office365.com",
            "jose\u{301}@example.com%smtp.office365.com",
            "JOSE\u{301}@example.com%outlook.office365.com",
            "  jos\u{e9}@example.com\u{a0}%smtp.office365.com",
            "\u{feff}jos\u{e9}@exam\u{ad}ple.com\u{200b}%smtp.office365.com",
            "\u{ff4a}os\u{e9}\u{ff20}example.com%outlook.office365.com",
        ] {
            assert_eq!(names.canonical(spelling), expected, "{spelling:?}");
        }
        for other in ["jose@example.com%outlook.office365.com", "jos\u{e9}@example.com%mail.example.com"] {
            assert_ne!(names.canonical(other), expected, "{other:?}");
        }
        assert_eq!(names.canonical("a%b@c%pop.gmail.com"), names.canonical("a%b@c%smtp.gmail.com"));
    }

    #[test]
    fn lists_that_share_a_host_are_one() {
        let names = names(&[&["a", "b"], &["c"], &[], &["d", "e"], &["e", "b", "f"]]);
        for host in ["a", "b", "d", "e", "f"] {
            assert_eq!(names.canonical(&format!("u%{host}")), "u%a", "{host}");
        }
        assert_eq!(names.canonical("u%c"), "u%c");
        assert_eq!(names.hosts("u%x"), ["x"]);
        assert!(names.spellings(" U%F").contains(&"u%d".to_owned()));
        assert_eq!(names.spellings(" U%F")[0], " u%f");
    }
}
