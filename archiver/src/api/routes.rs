//! All routes: the command each stands for, what it takes, how it answers.
//!
//! A command gets a route by a line here; tests see that none lacks one, and that the fields are the command's own. Who may use it
//! stands in `access::needs`.

/// A route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: &'static str,
    /// Names in braces are fields of the command.
    pub(super) path: &'static str,
    pub(super) command: &'static str,
    pub(super) about: &'static str,
    /// What stands in the query of GET and DELETE, else in the JSON body.
    pub(super) fields: &'static [Field],
    pub(super) answer: Answer,
}

/// How a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200 and what the command says.
    Now,
    /// 201 and what was made.
    Made,
    /// A page of a list, which is the answer or that member of it; `limit` and `offset` choose.
    List(Option<&'static str>),
    /// A page of hits that the command itself makes; `cursor` leads to the next.
    Page,
    /// A page that the command itself chooses by `limit` and `before`.
    Before,
    /// 202 and a token to watch the call with.
    Long,
    /// A message's octets.
    Octets,
}

/// Something that a request brings along.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it is when it is left out, as JSON; without that it must be there.
    pub(super) default: Option<&'static str>,
    pub(super) about: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Number,
    Flag,
    /// An absolute path on the archiver's machine.
    Path,
    /// Text that is recorded nowhere.
    Secret,
    /// JSON of any form, which the command judges.
    Json,
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, default: None, about }
}

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, default: Some("null"), about }
}

const fn or(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Field {
    Field { name, kind, default: Some(default), about }
}

const fn route(
    (method, path): (&'static str, &'static str),
    command: &'static str,
    about: &'static str,
    fields: &'static [Field],
    answer: Answer,
) -> Route {
    Route { method, path, command, about, fields, answer }
}

use Answer::{Before, List, Long, Made, Now, Octets, Page};
use Kind::{Flag, Json, Number, Path, Secret, Text, Texts};

const STORE: Field = may("store", Text, "Only this store.");
const PRIVILEGES: Field =
    may("privileges", Texts, "What they may do: read-own, search, export, auditor, admin.");
const READS: Field =
    may("reads", Texts, "Archives of others that they may read, also unassigned and quarantine.");
const BEFORE: Field = may("before", Number, "Only lines older than the one of this number.");
const LINES: Field = or("limit", Number, "100", "The most lines, 1000 at most.");

/// All routes that are commands.
pub(super) const ROUTES: &[Route] = &[
    route(("GET", "/api/v1/status"), "status", "How the archiver and its instances stand.", &[], Now),
    route(("GET", "/api/v1/instances"), "instance-list", "All instances.", &[], List(None)),
    route(
        ("POST", "/api/v1/instances"),
        "instance-create",
        "Create an instance. The answer has its recovery key, this once.",
        &[must("id", Text, "Its id."), may("passphrase", Secret, "Let this open it, instead of a key file.")],
        Made,
    ),
    route(("GET", "/api/v1/instances/{id}"), "instance-show", "One instance.", &[], Now),
    route(
        ("DELETE", "/api/v1/instances/{id}"),
        "instance-delete",
        "Take an instance out of the archiver. Its data stays; the answer tells where it lies.",
        &[],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{id}/start"),
        "instance-start",
        "Open an instance.",
        &[or("safe", Flag, "false", "In safe mode: for reading and verifying only.")],
        Now,
    ),
    route(("POST", "/api/v1/instances/{id}/stop"), "instance-stop", "Close an instance.", &[], Now),
    route(
        ("POST", "/api/v1/instances/{id}/unlock"),
        "instance-unlock",
        "Open an instance that a passphrase opens.",
        &[must("passphrase", Secret, "Its passphrase.")],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{id}/recover"),
        "instance-recover",
        "Make a new key file with the recovery key, or set another passphrase.",
        &[
            must("recovery_key", Secret, "The recovery key."),
            may("passphrase", Secret, "Another passphrase, for an instance that one opens."),
        ],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{id}/recovery-key"),
        "instance-new-recovery-key",
        "Make another recovery key. The answer has it, this once; the old one opens nothing any more.",
        &[],
        Made,
    ),
    route(
        ("POST", "/api/v1/instances/{id}/restore"),
        "restore",
        "Make an instance from a backup, checking every file.",
        &[
            must("from", Path, "The backup's directory."),
            may("key_file", Path, "The key file that opens it."),
            may("recovery_key", Secret, "The recovery key that opens it."),
            or(
                "despite_damage",
                Flag,
                "false",
                "Restore what is whole of a backup with damaged packs, key tables or logs.",
            ),
        ],
        Long,
    ),
    route(("GET", "/api/v1/instances/{instance}/users"), "user-list", "All users.", &[], List(None)),
    route(
        ("POST", "/api/v1/instances/{instance}/users"),
        "user-add",
        "Add a user.",
        &[
            must("id", Text, "Also the name of their archive."),
            or("emails", Texts, "[]", "Addresses whose mail is theirs."),
            PRIVILEGES,
            READS,
        ],
        Made,
    ),
    route(("GET", "/api/v1/instances/{instance}/users/{id}"), "user-show", "One user.", &[], Now),
    route(
        ("PATCH", "/api/v1/instances/{instance}/users/{id}"),
        "user-edit",
        "Change a user. What is left out stays.",
        &[
            may("emails", Texts, "These addresses and no others are theirs."),
            or("add_emails", Texts, "[]", "These are theirs as well."),
            or("remove_emails", Texts, "[]", "These no longer are."),
            PRIVILEGES,
            READS,
        ],
        Now,
    ),
    route(
        ("DELETE", "/api/v1/instances/{instance}/users/{id}"),
        "user-delete",
        "Delete a user, and the tokens that stand for them. Their archive stays.",
        &[],
        Now,
    ),
    route(("GET", "/api/v1/instances/{instance}/profiles"), "profile-list", "All profiles.", &[], List(None)),
    route(
        ("PUT", "/api/v1/instances/{instance}/profiles"),
        "profile-put",
        "Add or replace a profile. Its password is stored sealed.",
        &[must("profile", Json, "As its file, in JSON; the password in it, not in a file or variable.")],
        Now,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/profiles/{name}"),
        "profile-show",
        "A profile, without its password.",
        &[],
        Now,
    ),
    route(
        ("DELETE", "/api/v1/instances/{instance}/profiles/{name}"),
        "profile-delete",
        "Delete a profile. What it archived stays.",
        &[],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/profiles/{name}/run"),
        "profile-run",
        "Pull now.",
        &[],
        Long,
    ),
    route(
        ("PUT", "/api/v1/instances/{instance}/profiles/{name}/enabled"),
        "profile-enable",
        "Switch a profile's schedule on or off.",
        &[must("enabled", Flag, "Whether it runs by itself.")],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/test-profile"),
        "profile-test",
        "Go the way into each account and say which step fails. Reads no message.",
        &[must(
            "profile",
            Json,
            "{\"name\": …} of one that is stored, or a whole profile, which is not stored.",
        )],
        Long,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/profiles/{name}/retries"),
        "profile-retries",
        "What could not be archived and is tried again. Looking alone wants scope `read`.",
        &[or(
            "then",
            Json,
            "\"nothing\"",
            "\"now\": all of it in the next run, what was discarded too; {\"discard\": {\"item\", \"folder\", \"account\"} as listed, or \
             null for all}: never again.",
        )],
        Now,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/jobs"),
        "job-list",
        "All jobs, those of profiles with a schedule too.",
        &[],
        List(None),
    ),
    route(
        ("PUT", "/api/v1/instances/{instance}/jobs"),
        "job-put",
        "Add or replace a job.",
        &[must("job", Json, "As its file, in JSON; see docs/jobs.md.")],
        Now,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/jobs/{name}"),
        "job-show",
        "A job, when it is due, and how its last run ended.",
        &[],
        Now,
    ),
    route(
        ("DELETE", "/api/v1/instances/{instance}/jobs/{name}"),
        "job-delete",
        "Delete a job. Its results stay.",
        &[],
        Now,
    ),
    route(("POST", "/api/v1/instances/{instance}/jobs/{name}/run"), "job-run", "Run it now.", &[], Long),
    route(
        ("POST", "/api/v1/instances/{instance}/jobs/{name}/cancel"),
        "job-cancel",
        "End its run at the next safe point.",
        &[],
        Now,
    ),
    route(
        ("PUT", "/api/v1/instances/{instance}/jobs/{name}/enabled"),
        "job-enable",
        "Switch a job's schedule on or off.",
        &[must("enabled", Flag, "Whether it runs by itself.")],
        Now,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/results"),
        "result-list",
        "What jobs did, the newest first.",
        &[
            may("job", Text, "Only this job's."),
            or("limit", Number, "100", "The most results, 1000 at most."),
            may("before", Text, "Only results older than the one of this id."),
        ],
        Now,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/results/{id}"),
        "result-show",
        "A result, with its errors and its log.",
        &[],
        Now,
    ),
    route(
        ("POST", "/api/v1/notifications/test"),
        "notifications-test",
        "Send a mail that shows that mail about jobs goes through.",
        &[],
        Long,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/search"),
        "search",
        "Find messages.",
        &[
            must("query", Text, "What to find; see docs/search.md."),
            may("user", Text, "Only this user's archive; also unassigned and quarantine."),
            or("limit", Number, "50", "The most hits, 10,000 at most."),
            or("offset", Number, "0", "Hits passed over; a cursor stays in place when mail arrives."),
            or("order", Text, "\"newest\"", "newest, oldest or relevance."),
            may("cursor", Text, "The next page: what the page before said as next."),
        ],
        Page,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/messages/{id}"),
        "message-get",
        "A message, byte for byte as it was archived. When the connection breaks off it is damaged.",
        &[or("report", Flag, "false", "The journal report it came in instead.")],
        Octets,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/folders"),
        "folder-list",
        "Folders, with how many messages they have.",
        &[may("user", Text, "Only this user's.")],
        List(None),
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/stores"),
        "store-list",
        "All stores.",
        &[],
        List(Some("stores")),
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/stores"),
        "store-create",
        "Make another store and make it the current one.",
        &[],
        Made,
    ),
    route(
        ("PUT", "/api/v1/instances/{instance}/stores/{store}/state"),
        "store-state",
        "Give a store another state.",
        &[must("state", Text, "current, normal, write-protected or disabled.")],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/attach-store"),
        "store-attach",
        "Add a store of this instance that lies in a directory, write-protected.",
        &[must("dir", Path, "The store's directory.")],
        Made,
    ),
    route(
        ("DELETE", "/api/v1/instances/{instance}/stores/{store}"),
        "store-detach",
        "Take a store out of the instance. Its directory stays as it is.",
        &[],
        Now,
    ),
    route(
        ("PUT", "/api/v1/instances/{instance}/roll-over"),
        "store-roll-over",
        "Set when another store becomes the current one.",
        &[
            may("messages", Number, "At so many messages."),
            may("bytes", Number, "At so many octets on disk."),
        ],
        Now,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/verify"),
        "verify",
        "Read every message and compare it with what was archived. Fails when any is damaged.",
        &[STORE, or("afresh", Flag, "false", "Begin from the beginning.")],
        Long,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/rebuild"),
        "rebuild",
        "Make catalog and index anew from the packs.",
        &[STORE],
        Long,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/rebuild-index"),
        "index-rebuild",
        "Make full-text indexes anew while the old ones serve.",
        &[
            STORE,
            or("damaged", Flag, "false", "Only those that are damaged; all are read and checked first."),
            or("afresh", Flag, "false", "Begin from the beginning."),
        ],
        Long,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/compact"),
        "compact",
        "Free what nobody needs any more.",
        &[or("unused_percent", Number, "20", "Rewrite packs of which so much is not needed.")],
        Long,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/backup"),
        "backup",
        "Copy an instance to a directory, consistently.",
        &[must("to", Path, "The directory, outside the data directory.")],
        Long,
    ),
    route(
        ("GET", "/api/v1/instances/{instance}/audit"),
        "audit-list",
        "The instance's audit log, the newest line first.",
        &[BEFORE, LINES],
        Before,
    ),
    route(
        ("POST", "/api/v1/instances/{instance}/audit/verify"),
        "audit-verify",
        "Check that no line was altered, inserted or taken out.",
        &[],
        Long,
    ),
    route(
        ("GET", "/api/v1/audit"),
        "audit-list",
        "The archiver's audit log: instances, tokens, and what was refused to tokens of other instances.",
        &[BEFORE, LINES],
        Before,
    ),
    route(
        ("POST", "/api/v1/audit/verify"),
        "audit-verify",
        "Check that no line of the archiver's log was altered, inserted or taken out.",
        &[],
        Long,
    ),
    route(("GET", "/api/v1/tokens"), "token-list", "All tokens, without their texts.", &[], List(None)),
    route(
        ("POST", "/api/v1/tokens"),
        "token-create",
        "Make a token that may do no more than the one it is made with. The answer has its text, this once.",
        &[
            must("name", Text, "What to call it."),
            must("scopes", Texts, "read, mail, manage, audit, admin."),
            may("bound_to", Text, "It reaches this instance only."),
            may("user", Text, "It stands for this user of the instance."),
            may("expires_in_days", Number, "It ends after so many days."),
        ],
        Made,
    ),
    route(("DELETE", "/api/v1/tokens/{id}"), "token-revoke", "End a token at once.", &[], Now),
];

impl Route {
    /// The names in the path, in order.
    pub(super) fn path_fields(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }

    /// Whether fields come in the query.
    pub(super) fn has_query(&self) -> bool {
        matches!(self.method, "GET" | "DELETE")
    }
}
