//! What the process that started the member is told, when it asked: systemd's notification protocol, which etcd keeps
//! too (`Type=notify` in a unit).

use base::Chain;
use sd_notify::NotifyState;
use tracing::warn;

/// The member serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The member ends.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Does nothing when nobody asked to be told (`NOTIFY_SOCKET` is not set).
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(error = %Chain(&error), "cannot tell the supervisor");
    }
}
