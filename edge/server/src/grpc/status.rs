//! The end of a call: a code and a text.
//!
//! Codes are gRPC's (the "Status codes" page of its documentation); the text travels percent-encoded in
//! `grpc-message`. A success has no text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What the native API says about an error, beside code and text: an `api::proto::Error`. Binary metadata travels as
/// base64 without padding.
const DETAIL: HeaderName = HeaderName::from_static("quorate-error-bin");

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// Why a call ended.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// The code with this number; what is no code is [`Code::Unknown`].
            pub fn from_number(number: u8) -> Code {
                match number { $($number => Code::$name,)* _ => Code::Unknown }
            }

            fn header(self) -> HeaderValue {
                match self { $(Code::$name => HeaderValue::from_static($text),)* }
            }
        }
    };
}

codes! {
    /// It worked.
    Ok = 0 "0",
    /// The caller gave up.
    Cancelled = 1 "1",
    /// Nobody knows better.
    Unknown = 2 "2",
    /// The request is wrong whatever the state.
    InvalidArgument = 3 "3",
    /// The caller's time ran out.
    DeadlineExceeded = 4 "4",
    /// What was named does not exist.
    NotFound = 5 "5",
    /// What was to be made exists.
    AlreadyExists = 6 "6",
    /// The caller may not.
    PermissionDenied = 7 "7",
    /// A limit was reached.
    ResourceExhausted = 8 "8",
    /// The state does not allow it.
    FailedPrecondition = 9 "9",
    /// A conflict; try the whole again.
    Aborted = 10 "10",
    /// Past what exists.
    OutOfRange = 11 "11",
    /// No such method, or no such service.
    Unimplemented = 12 "12",
    /// A promise of the transport was broken.
    Internal = 13 "13",
    /// Not now; try again.
    Unavailable = 14 "14",
    /// Data is damaged.
    DataLoss = 15 "15",
    /// Nobody knows who the caller is.
    Unauthenticated = 16 "16",
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Why.
    pub code: Code,
    /// In words; clients match on them.
    pub message: Cow<'static, str>,
    /// What the native API has to say about it, as bytes.
    pub detail: Option<Bytes>,
}

impl Status {
    /// A status of this code and text.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status {
            code,
            message: message.into(),
            detail: None,
        }
    }

    /// The same with a detail.
    pub fn with_detail(self, detail: Bytes) -> Status {
        let detail = Some(detail);
        Status { detail, ..self }
    }

    /// The client is gone: nobody will read this.
    pub fn gone() -> Status {
        Status::new(Code::Cancelled, "context canceled")
    }

    /// The headers that end a call with this status.
    pub fn trailers(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(2);
        self.write(&mut map);
        map
    }

    /// Adds the status to `map`.
    pub fn write(&self, map: &mut HeaderMap) {
        map.insert(GRPC_STATUS, self.code.header());
        if !self.message.is_empty() {
            let text = percent_encoded(&self.message);
            // Percent-encoding leaves only visible ASCII and spaces, which every header value may have.
            if let Ok(value) = HeaderValue::try_from(text) {
                map.insert(GRPC_MESSAGE, value);
            }
        }
        if let Some(detail) = &self.detail
            && let Ok(value) = HeaderValue::try_from(STANDARD_NO_PAD.encode(detail))
        {
            map.insert(DETAIL, value);
        }
    }
}

/// The trailers of a success.
pub(super) fn ok_trailers() -> HeaderMap {
    let mut map = HeaderMap::with_capacity(1);
    map.insert(GRPC_STATUS, Code::Ok.header());
    map
}

/// gRPC's own escaping: every byte outside `0x20..=0x7e`, and `%`, becomes `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_survives_as_a_header() {
        let status = Status::new(Code::NotFound, "no key \"größe\"\n100%");
        let trailers = status.trailers();
        assert_eq!(trailers["grpc-status"], "5");
        assert_eq!(
            trailers["grpc-message"],
            "no key \"gr%C3%B6%C3%9Fe\"%0A100%25"
        );
    }

    #[test]
    fn a_success_has_no_text() {
        assert_eq!(ok_trailers().len(), 1);
        assert_eq!(Code::from_number(99), Code::Unknown);
        assert_eq!(Code::from_number(14), Code::Unavailable);
    }
}
