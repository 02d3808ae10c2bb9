//! File descriptors: every session is one, every long message on its way another.

use postern_shared::descriptors::allow_many;

/// Besides sessions: listeners, segments, logs, commands.
const SPARE: u64 = 200;

/// Raises this process's limit on open files as far as the system lets it, and warns when it is too low for so many
/// sessions: the limit would then refuse connections in a rougher way than [`super::Limits`].
pub fn allow_many_descriptors(sessions: usize) {
    let wanted = 2 * sessions as u64 + SPARE;
    if let Some(limit) = allow_many()
        && limit < wanted
    {
        tracing::warn!(
            limit,
            wanted,
            "fewer files may be open than limits.sessions could need; raise the limit (LimitNOFILE in the systemd unit) \
             or lower limits.sessions"
        );
    }
}
