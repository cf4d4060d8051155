//! What etcd says when it refuses: the one table of codes and exact texts.
//!
//! Clients compare the *text* (their libraries map it back to a typed error), so every string here is
//! etcd's to the letter. [`Refusal`] has a stable number: it is what the apply half puts into
//! `Outcome::status`, so a number is never reused. 0 means done and is no refusal.
//!
//! Two rows leave with [`Code::Unknown`] although etcd's source declares another code: its server
//! forgets to map them, and a client sees what is on the wire.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A gRPC status code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Code {
    /// No error.
    Ok = 0,
    /// The caller, or the server on its behalf, gave up.
    Canceled = 1,
    /// Anything that has no code of its own.
    Unknown = 2,
    /// The request can never succeed.
    InvalidArgument = 3,
    /// Too late; the outcome is unknown.
    DeadlineExceeded = 4,
    /// No such thing.
    NotFound = 5,
    /// There already.
    AlreadyExists = 6,
    /// Known, and not allowed.
    PermissionDenied = 7,
    /// No room.
    ResourceExhausted = 8,
    /// Not in this state.
    FailedPrecondition = 9,
    /// A conflict; try again from the start.
    Aborted = 10,
    /// A revision or a number outside of what there is.
    OutOfRange = 11,
    /// Not offered here.
    Unimplemented = 12,
    /// The transport or the server is at fault.
    Internal = 13,
    /// Try again, perhaps elsewhere.
    Unavailable = 14,
    /// The data cannot be trusted.
    DataLoss = 15,
    /// Not known.
    Unauthenticated = 16,
}

macro_rules! refusals {
    ($($name:ident = $number:literal, $code:ident, $message:literal;)*) => {
        /// One of etcd's errors. The variants say in English what the messages say.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum Refusal { $($name = $number,)* }

        impl Refusal {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];

            /// The code on the wire.
            pub const fn code(self) -> Code {
                match self { $(Refusal::$name => Code::$code,)* }
            }

            /// The text on the wire.
            pub const fn message(self) -> &'static str {
                match self { $(Refusal::$name => $message,)* }
            }

            /// The refusal with this number.
            pub const fn of_number(number: u16) -> Option<Refusal> {
                match number { $($number => Some(Refusal::$name),)* _ => None }
            }
        }
    };
}

refusals! {
    // The request is wrong.
    EmptyKey = 1, InvalidArgument, "etcdserver: key is not provided";
    KeyNotFound = 2, InvalidArgument, "etcdserver: key not found";
    ValueProvided = 3, InvalidArgument, "etcdserver: value is provided";
    LeaseProvided = 4, InvalidArgument, "etcdserver: lease is provided";
    TooManyOps = 5, InvalidArgument, "etcdserver: too many operations in txn request";
    DuplicateKey = 6, InvalidArgument, "etcdserver: duplicate key given in txn request";
    InvalidClientApiVersion = 7, InvalidArgument, "etcdserver: invalid client api version";
    InvalidSortOption = 8, InvalidArgument, "etcdserver: invalid sort option";
    BadMemberUrls = 9, InvalidArgument, "etcdserver: given member URLs are invalid";
    RequestTooLarge = 10, InvalidArgument, "etcdserver: request is too large";
    UserEmpty = 11, InvalidArgument, "etcdserver: user name is empty";
    RoleEmpty = 12, InvalidArgument, "etcdserver: role name is empty";
    AuthFailed = 13, InvalidArgument,
        "etcdserver: authentication failed, invalid user ID or password";
    PermissionNotGiven = 14, InvalidArgument, "etcdserver: permission not given";
    InvalidAuthManagement = 15, InvalidArgument, "etcdserver: invalid auth management";
    AuthOldRevision = 16, InvalidArgument, "etcdserver: revision of auth store is old";
    WrongDowngradeVersionFormat = 17, InvalidArgument,
        "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTargetVersion = 18, InvalidArgument,
        "etcdserver: invalid downgrade target version";

    // There is no such thing.
    LeaseNotFound = 30, NotFound, "etcdserver: requested lease not found";
    MemberNotFound = 31, NotFound, "etcdserver: member not found";

    // Not allowed, or not known.
    PermissionDenied = 40, PermissionDenied, "etcdserver: permission denied";
    InvalidAuthToken = 41, Unauthenticated, "etcdserver: invalid auth token";

    // No room.
    NoSpace = 50, ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    TooManyRequests = 51, Unknown, "etcdserver: too many requests";

    // Not in this state.
    LeaseExists = 60, FailedPrecondition, "etcdserver: lease already exists";
    MemberExists = 61, FailedPrecondition, "etcdserver: member ID already exist";
    PeerUrlExists = 62, FailedPrecondition, "etcdserver: Peer URLs already exists";
    NotEnoughStartedMembers = 63, Unknown,
        "etcdserver: re-configuration failed due to not enough started members";
    MemberNotLearner = 64, FailedPrecondition, "etcdserver: can only promote a learner member";
    LearnerNotReady = 65, FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners = 66, FailedPrecondition, "etcdserver: too many learner members in cluster";
    ClusterIdMismatch = 67, FailedPrecondition, "etcdserver: cluster ID mismatch";
    RootUserNotExist = 68, FailedPrecondition, "etcdserver: root user does not exist";
    RootRoleNotExist = 69, FailedPrecondition, "etcdserver: root user does not have root role";
    UserAlreadyExist = 70, FailedPrecondition, "etcdserver: user name already exists";
    UserNotFound = 71, FailedPrecondition, "etcdserver: user name not found";
    RoleAlreadyExist = 72, FailedPrecondition, "etcdserver: role name already exists";
    RoleNotFound = 73, FailedPrecondition, "etcdserver: role name not found";
    RoleNotGranted = 74, FailedPrecondition, "etcdserver: role is not granted to the user";
    PermissionNotGranted = 75, FailedPrecondition,
        "etcdserver: permission is not granted to the role";
    AuthNotEnabled = 76, FailedPrecondition, "etcdserver: authentication is not enabled";
    NotLeader = 77, FailedPrecondition, "etcdserver: not leader";
    NotCapable = 78, FailedPrecondition, "etcdserver: not capable";
    NotSupportedForLearner = 79, FailedPrecondition, "etcdserver: rpc not supported for learner";
    BadLeaderTransferee = 80, FailedPrecondition, "etcdserver: bad leader transferee";
    ClusterVersionUnavailable = 81, FailedPrecondition,
        "etcdserver: cluster version not found during downgrade";
    DowngradeInProcess = 82, FailedPrecondition,
        "etcdserver: cluster has a downgrade job in progress";
    NoInflightDowngrade = 83, FailedPrecondition, "etcdserver: no inflight downgrade job";

    // Outside of what there is.
    Compacted = 100, OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FutureRevision = 101, OutOfRange,
        "etcdserver: mvcc: required revision is a future revision";
    LeaseTtlTooLarge = 102, OutOfRange, "etcdserver: too large lease TTL";

    // Try again.
    NoLeader = 110, Unavailable, "etcdserver: no leader";
    LeaderChanged = 111, Unavailable, "etcdserver: leader changed";
    Stopped = 112, Unavailable, "etcdserver: server stopped";
    Timeout = 113, Unavailable, "etcdserver: request timed out";
    TimeoutLeaderFailure = 114, Unavailable,
        "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutConnectionLost = 115, Unavailable,
        "etcdserver: request timed out, possibly due to connection lost";
    TimeoutAppliedIndex = 116, Unavailable,
        "etcdserver: request timed out, waiting for the applied index took too long";
    UnhealthyCluster = 117, Unavailable, "etcdserver: unhealthy cluster";

    // The data cannot be trusted.
    Corrupt = 130, DataLoss, "etcdserver: corrupt cluster";

    // Given up.
    WatchCanceled = 140, Canceled, "etcdserver: watch canceled";
    RequestCanceled = 141, Canceled, "etcdserver: request canceled";
    ContextCanceled = 142, Canceled, "context canceled";
    DeadlineExceeded = 143, DeadlineExceeded, "context deadline exceeded";

    // Not offered, or not readable.
    DowngradeUnimplemented = 161, Unimplemented,
        "quorate: a cluster cannot be downgraded; its members upgrade one by one";
    RangeStreamSort = 164, Unimplemented, "RangeStream does not support custom sort orders";
    RangeStreamFilter = 165, Unimplemented, "RangeStream does not support revision filters";
    AuthNeedsUpgrade = 166, FailedPrecondition,
        "quorate: users and roles need apply version 3: upgrade every member first";
    // 162 and 163 said that there were no locks and elections.
    Malformed = 170, Internal, "grpc: error unmarshalling request: malformed protobuf";

    // Locks and elections. etcd's server asks itself as a client would, and so their codes are lost.
    SessionExpired = 180, Unknown, "mutex: session is expired";
    ElectionNotLeader = 181, Unknown, "election: not leader";
    ElectionNoLeader = 182, Unknown, "election: no leader";
    LeaderMissing = 183, Unknown, "\"leader\" field must be provided";
    NameTooLong = 184, InvalidArgument,
        "quorate: the name of a lock or an election is longer than 4096 bytes";

    // Users and roles, where etcd has no words or only its libraries'.
    AuthNameTooLong = 190, InvalidArgument,
        "quorate: the name of a user or a role is longer than 1024 bytes";
    PasswordTooLong = 191, Unknown, "bcrypt: password length exceeds 72 bytes";
    TooManyPermissions = 192, ResourceExhausted, "quorate: a role has at most 4096 permissions";
    TooManyRoles = 193, ResourceExhausted, "quorate: a user has at most 4096 roles";
    TooManyAttempts = 194, ResourceExhausted,
        "quorate: too many failed attempts to authenticate this user: wait a second";
    VerifyOnly = 195, Unknown, "token signing attempted with verify-only key";

    // Work that etcd would do, or try to.
    TxnReadsTooMuch = 200, ResourceExhausted,
        "quorate: the transaction reads more than 2097152 keys or 256 MiB: read in several";
}

/// An error as a gRPC client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// `grpc-status`.
    pub code: Code,
    /// `grpc-message`, before percent-encoding.
    pub message: Cow<'static, str>,
}

impl Status {
    /// An error in our own words.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status {
            code,
            message: message.into(),
        }
    }
}

impl Status {
    /// As Go's gRPC prints an error: what etcd says where it has room for a text alone. Its client finds the message in
    /// it again.
    pub fn in_words(&self) -> String {
        format!("rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        Status::new(refusal.code(), refusal.message())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl Error for Status {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl Error for Refusal {}
