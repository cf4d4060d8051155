//! What can go wrong, in one table: each with a code, a page, and what it means to gRPC, to HTTP and to a shell.
//!
//! A code is for ever. Its page says what happened, whether the write took effect and what to do; `quorate explain CODE`
//! prints it.

use crate::proto;
use crate::proto::Effect;

/// Codes of gRPC that are used here, by their numbers in its documentation.
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Grpc {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal $grpc:ident $http:literal $exit:literal $effect:ident $title:literal,)*) => {
        /// One thing that can go wrong.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// All of them, ascending.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// `Q2104`.
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// In a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// Its page, in Markdown.
            pub fn page(self) -> &'static str {
                match self { $(Code::$name => include_str!(concat!("../pages/", $text, ".md")),)* }
            }

            /// The status over gRPC.
            pub fn grpc(self) -> Grpc {
                match self { $(Code::$name => Grpc::$grpc,)* }
            }

            /// The status over HTTP.
            pub fn http(self) -> u16 {
                match self { $(Code::$name => $http,)* }
            }

            /// What a command exits with.
            pub fn exit(self) -> u8 {
                match self { $(Code::$name => $exit,)* }
            }

            /// Whether a write that ends with it took effect. [`Code::NoAnswer`] and its like are said of reads, and of
            /// writes that were not sent.
            pub fn effect(self) -> Effect {
                match self { $(Code::$name => Effect::$effect,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed.
    Malformed = 1001 "Q1001" InvalidArgument 400 2 None "the request is malformed",
    /// A name is empty or too long.
    BadName = 1002 "Q1002" InvalidArgument 400 2 None "a name is empty or too long",
    /// The request is too large.
    TooLarge = 1003 "Q1003" ResourceExhausted 413 5 None "the request is too large",
    /// The session token is no token of this cluster.
    BadToken = 1004 "Q1004" InvalidArgument 400 2 None "the session token is no token of this cluster",
    /// Which keys is not clear.
    BadKeys = 1005 "Q1005" InvalidArgument 400 2 None "which keys is not clear",
    /// The transaction has too many operations.
    TooManyOperations = 1006 "Q1006" InvalidArgument 400 2 None "the transaction has too many operations",
    /// The time is no time.
    BadTime = 1007 "Q1007" InvalidArgument 400 2 None "the time is no time",
    /// The consistency is not clear.
    BadLevel = 1008 "Q1008" InvalidArgument 400 2 None "the consistency is not clear",
    /// This call is not built.
    NotBuilt = 1009 "Q1009" Unimplemented 501 2 None "this call is not built",
    /// The member has too much to do.
    Busy = 2101 "Q2101" ResourceExhausted 429 5 None "the member has too much to do",
    /// No majority answered in time.
    NoAnswer = 2102 "Q2102" Unavailable 503 5 None "no majority answered in time",
    /// The member has stopped.
    Stopped = 2103 "Q2103" Unavailable 503 5 None "the member has stopped",
    /// The write has an unknown outcome.
    OutcomeUnknown = 2104 "Q2104" Unavailable 503 6 Unknown "the write has an unknown outcome",
    /// There is no space.
    NoSpace = 2105 "Q2105" ResourceExhausted 507 5 None "there is no space",
    /// A learner does not serve this.
    Learner = 2106 "Q2106" Unavailable 503 5 None "a learner does not serve this",
    /// The members' data differ.
    Corrupt = 2107 "Q2107" FailedPrecondition 409 5 None "the members' data differ",
    /// The history is compacted.
    Compacted = 3101 "Q3101" OutOfRange 410 3 None "the history is compacted",
    /// The revision has not happened yet.
    Future = 3102 "Q3102" OutOfRange 400 2 None "the revision has not happened yet",
    /// The member has not seen what the session has seen.
    Behind = 3103 "Q3103" Unavailable 503 5 None "the member has not seen what the session has seen",
    /// There is no lease to read by.
    NoLease = 3104 "Q3104" FailedPrecondition 409 5 None "there is no lease to read by",
    /// The staleness bound cannot be met.
    BoundNotMet = 3105 "Q3105" Unavailable 503 5 None "the staleness bound cannot be met",
    /// No state of that time can be read.
    NoSuchTime = 3106 "Q3106" OutOfRange 400 3 None "no state of that time can be read",
    /// The error of the clock is not known.
    NoClockBound = 3107 "Q3107" FailedPrecondition 409 5 None "the error of the clock is not known",
    /// The fencing token is stale.
    StaleToken = 4001 "Q4001" FailedPrecondition 409 4 None "the fencing token is stale",
    /// The token does not hold yet.
    NotHeld = 4002 "Q4002" FailedPrecondition 409 4 None "the token does not hold yet",
    /// Too many wait in this line.
    QueueFull = 4003 "Q4003" ResourceExhausted 429 5 None "too many wait in this line",
    /// The number of permits is not that of the others.
    BadPermits = 4004 "Q4004" FailedPrecondition 409 4 None "the number of permits is not that of the others",
    /// The lock was lost.
    LockLost = 4005 "Q4005" Aborted 409 8 None "the lock was lost",
    /// The time to wait is over.
    WaitOver = 4006 "Q4006" DeadlineExceeded 408 124 None "the time to wait is over",
    /// A condition does not hold.
    ConditionFailed = 5001 "Q5001" FailedPrecondition 412 4 None "a condition does not hold",
    /// There is no such key.
    KeyNotFound = 5002 "Q5002" NotFound 404 3 None "there is no such key",
    /// There is no such lease.
    LeaseNotFound = 5003 "Q5003" NotFound 404 3 None "there is no such lease",
    /// The lease is granted already.
    LeaseExists = 5004 "Q5004" AlreadyExists 409 4 None "the lease is granted already",
    /// The session is over.
    SessionOver = 6001 "Q6001" FailedPrecondition 409 6 Unknown "the session is over",
    /// The session has gone on.
    Superseded = 6002 "Q6002" FailedPrecondition 409 5 None "the session has gone on",
    /// The number was used for another write.
    NumberReused = 6003 "Q6003" InvalidArgument 409 5 None "the number was used for another write",
    /// The write took effect before.
    AnswerNotKept = 6004 "Q6004" AlreadyExists 409 0 Done "the write took effect before",
    /// No member can be reached.
    NotConnected = 7001 "Q7001" Unavailable 503 5 None "no member can be reached",
    /// There is no such context.
    NoContext = 7002 "Q7002" InvalidArgument 400 2 None "there is no such context",
    /// Nobody says who asks.
    Unauthenticated = 8001 "Q8001" Unauthenticated 401 2 None "nobody says who asks",
    /// The user may not do this.
    Denied = 8002 "Q8002" PermissionDenied 403 2 None "the user may not do this",
    /// Something that cannot be happened.
    Internal = 9001 "Q9001" Internal 500 1 Unknown "something that cannot be happened",
}

impl Code {
    /// The code with this text.
    pub fn of_text(text: &str) -> Option<Code> {
        Code::ALL
            .iter()
            .find(|code| code.text().eq_ignore_ascii_case(text))
            .copied()
    }

    /// What to do about it: the last paragraph of its page, as one line.
    pub fn help(self) -> String {
        let text = self
            .page()
            .split("**What to do.**")
            .nth(1)
            .unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The error with this code, in words of its own or, where there are none, in its title's.
    pub fn error(self, message: impl Into<String>) -> proto::Error {
        let message: String = message.into();
        proto::Error {
            code: self.text().to_owned(),
            message: match message.is_empty() {
                true => self.title().to_owned(),
                false => message,
            },
            effect: self.effect().into(),
            help: self.help(),
            ..proto::Error::default()
        }
    }
}

impl proto::Error {
    /// Its code; nothing when this build does not know it.
    pub fn known(&self) -> Option<Code> {
        Code::of_text(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_whole_page() {
        for code in Code::ALL {
            let page = code.page();
            assert_eq!(code.text(), format!("Q{}", *code as u16));
            let head = format!("# {}: {}\n", code.text(), code.title());
            assert!(page.starts_with(&head), "{page}");
            for part in [
                "**What happened.**",
                "**Did it take effect?**",
                "**What to do.**",
            ] {
                assert!(page.contains(part), "{}: {part}", code.text());
            }
            assert!(code.help().len() > 10, "{}", code.text());
            assert_eq!(Code::of_text(&code.text().to_lowercase()), Some(*code));
        }
        assert!(Code::ALL.is_sorted(), "codes ascend");
    }
}
