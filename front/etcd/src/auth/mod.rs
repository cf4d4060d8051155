//! Users, roles, and who may do what.
//!
//! ```text
//!   request ─► Needs::of_…  ─► what it needs: a user, root, intervals of keys to read or write, a lease's keys
//!                                          │
//!   identity ─► Rights::of  ─► what the user has: the union of the intervals of all roles      (rights)
//!                                          ▼
//!                                  permit: every need within what is had, or etcd's refusal
//! ```
//!
//! Everything that decides is replicated: users, roles and tokens are records of the state, and `permit` is a
//! function of a state, an identity and the needs. Writes are decided in the apply half, at their entry's index; reads
//! at the very state that they read; watches when they are created and again whenever users or roles change.
//!
//! **Default deny.** [`Needs`] begin at root and are lowered by name; the visitors match every kind of request, query
//! and plan, without a wildcard, so a new one does not compile until somebody has said what it needs.
//!
//! What is deliberately absent: passwords in clear text and bcrypt (the edge hashes before it proposes), clocks (the
//! edge ages tokens), JSON web tokens (nothing of them is kept).
//!
//! | to understand | read |
//! | --- | --- |
//! | what is kept | `records` |
//! | how it changes, and etcd's rules about that | `change` |
//! | which keys an interval means | `interval` |
//! | what a request needs | `needs` |
//! | how both are compared | `rights` |
//! | what somebody hears who may not | `told` |
//! | tokens | `token` |

mod change;
mod interval;
mod needs;
mod password;
mod records;
mod rights;
mod root_only;
mod token;
mod told;

pub use change::check_gate;
pub(crate) use change::{APPLY_VERSION, change};
pub use interval::{Interval, Intervals};
pub(crate) use needs::name_of;
pub use needs::{Level, Needs, Verb, changes_users};
pub use password::{PASSWORD_BYTES_MAX, PASSWORD_SHOWN_BYTES_MAX, PasswordChange, Secret};
pub(crate) use records::{ROLES, SETTINGS, Settings, USERS};
pub use records::{
    ROOT_ROLE, ROOT_USER, is_enabled, last_token, revision, role, roles, user, users,
};
pub(crate) use records::{answer_role, answer_roles, answer_status, answer_user, answer_users};
pub use rights::{Caller, Rights, permit, permit_caller, permit_root, user_identity};
pub use root_only::RootOnly;
pub use token::{
    IssueToken, TOKENS_MAX, Token, USER_TOKENS_MAX, find_token, is_token, may_come, token_number,
};
pub use told::told;

/// Bytes of the name of a user or a role; what an identity may have.
pub const NAME_BYTES_MAX: usize = store::command::IDENTITY_BYTES_MAX;

/// Permissions of one role: they are read at each request of its users.
pub const ROLE_PERMISSIONS_MAX: usize = 4096;

/// Roles of one user.
pub const USER_ROLES_MAX: usize = 4096;
