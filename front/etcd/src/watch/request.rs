//! `WatchRequest`, read in place.

use crate::request::two_integers;
use crate::scan::{Fields, Malformed, Value, packed};

/// A `WatchRequest`.
pub(crate) enum Request<'a> {
    Create(Create<'a>),
    Cancel(i64),
    Progress,
    Nothing,
}

/// A `WatchCreateRequest`.
#[derive(Default)]
pub(crate) struct Create<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) end: &'a [u8],
    pub(crate) start: i64,
    pub(crate) progress: bool,
    pub(crate) no_put: bool,
    pub(crate) no_delete: bool,
    pub(crate) prev_kv: bool,
    pub(crate) id: i64,
    pub(crate) fragment: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn read(message: &'a [u8]) -> Result<Request<'a>, Malformed> {
        let mut request = Request::Nothing;
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            request = match field {
                1 => Request::Create(Create::read(value.bytes()?)?),
                2 => Request::Cancel(read_cancel(value.bytes()?)?),
                3 => {
                    let mut inner = Fields::of(value.bytes()?);
                    while inner.next()?.is_some() {}
                    Request::Progress
                }
                _ => continue,
            };
        }
        Ok(request)
    }
}

fn read_cancel(message: &[u8]) -> Result<i64, Malformed> {
    two_integers(message).map(|(id, _)| id)
}

impl<'a> Create<'a> {
    fn read(message: &'a [u8]) -> Result<Create<'a>, Malformed> {
        let mut create = Create::default();
        let mut fields = Fields::of(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => create.key = value.bytes()?,
                2 => create.end = value.bytes()?,
                3 => create.start = value.int()?,
                4 => create.progress = value.flag()?,
                5 => create.read_filters(value)?,
                6 => create.prev_kv = value.flag()?,
                7 => create.id = value.int()?,
                8 => create.fragment = value.flag()?,
                _ => {}
            }
        }
        Ok(create)
    }

    /// Filters come one by one or packed.
    fn read_filters(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        if let Value::Varint(filter) = value {
            self.add_filter(filter);
            return Ok(());
        }
        packed(value.bytes()?, |filter| self.add_filter(filter))
    }

    fn add_filter(&mut self, filter: u64) {
        match filter {
            0 => self.no_put = true,
            1 => self.no_delete = true,
            _ => {}
        }
    }
}
