//! Hybrid time as people write it: RFC 3339, with the counter behind it.
//!
//! ```text
//!   2026-11-21T08:00:00.123Z         the first stamp of that millisecond
//!   2026-11-21T08:00:00.123Z+7       the stamp with counter 7
//! ```
//!
//! The counter is left out when it is zero, so that most text is plain RFC 3339 and other tools read it.
//! It can stand after `Z` without doubt, because an offset stands there *instead* of `Z`. Years past 9999,
//! which RFC 3339 cannot write, get the sign of ISO 8601: `+10889-08-02T05:31:50.655Z`. So each hybrid
//! time has one text, and that text reads as the same hybrid time.
//!
//! Reading takes a little more than writing gives: `t` and `z` in lower case (RFC 3339 §5.6), an offset
//! such as `+01:00` for `Z`, no fraction or one of up to nine digits, of which three count. What it
//! refuses: dates that do not exist, times before 1970, a time without a zone (whose eight o'clock?),
//! and the leap second `:60`, which the time of computers does not have.

use crate::hybrid::HybridTime;
use std::error::Error;
use std::fmt;

const MS_PER_DAY: i64 = 86_400_000;

/// Why a text is no hybrid time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// The text has not the form `2026-11-21T08:00:00.123Z+7`.
    Form {
        /// Where it first differs, in bytes from the start.
        at: usize,
    },
    /// A part is larger or smaller than such a part can be.
    Range {
        /// Which: `month`, `day`, `hour`, `minute`, `second`, `offset`, `counter` or `year`.
        part: &'static str,
    },
    /// The second is 60. Leap seconds have no number in the time of computers: write 59, or the next minute.
    LeapSecond,
}

impl HybridTime {
    /// This time as text: RFC 3339 in UTC with milliseconds, then `+` and the counter unless it is zero.
    ///
    /// ```
    /// use clock::HybridTime;
    /// let stamp = HybridTime::new(1_795_248_000_123, 7);
    /// assert_eq!(stamp.to_rfc3339(), "2026-11-21T08:00:00.123Z+7");
    /// assert_eq!(HybridTime::from_rfc3339("2026-11-21T08:00:00.123Z+7"), Ok(stamp));
    /// ```
    pub fn to_rfc3339(self) -> String {
        // 48 bits of milliseconds: the cast keeps the value.
        let ms = self.physical_ms() as i64;
        let (year, month, day) = civil_from_days(ms / MS_PER_DAY);
        let ms_of_day = ms % MS_PER_DAY;
        let sign = if year > 9999 { "+" } else { "" };
        let mut text = format!(
            "{sign}{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            ms_of_day / 3_600_000,
            ms_of_day / 60_000 % 60,
            ms_of_day / 1000 % 60,
            ms_of_day % 1000
        );
        if self.logical() > 0 {
            text.push_str(&format!("+{}", self.logical()));
        }
        text
    }

    /// The hybrid time that a person means by `text`.
    ///
    /// # Errors
    ///
    /// [`TextError`], which says what was not understood.
    pub fn from_rfc3339(text: &str) -> Result<HybridTime, TextError> {
        let mut reader = Reader {
            text: text.as_bytes(),
            at: 0,
        };
        let year_digits = if reader.take(b"+").is_some() { 5 } else { 4 };
        let year = reader.number(year_digits)?;
        reader.expect(b"-")?;
        let month = reader.number(2)?;
        reader.expect(b"-")?;
        let day = reader.number(2)?;
        reader.expect(b"Tt")?;
        let hour = reader.number(2)?;
        reader.expect(b":")?;
        let minute = reader.number(2)?;
        reader.expect(b":")?;
        let second = reader.number(2)?;
        let ms = reader.fraction_ms()?;
        let offset_minutes = reader.offset_minutes()?;
        let counter = reader.counter()?;
        if reader.at < reader.text.len() {
            return Err(TextError::Form { at: reader.at });
        }
        in_range("month", month, 1, 12)?;
        in_range("day", day, 1, days_of_month(year, month))?;
        in_range("hour", hour, 0, 23)?;
        in_range("minute", minute, 0, 59)?;
        if second == 60 {
            return Err(TextError::LeapSecond);
        }
        in_range("second", second, 0, 59)?;
        let minutes =
            (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
        let physical_ms = (minutes * 60 + second) * 1000 + ms;
        in_range("year", physical_ms, 0, (1 << 48) - 1)?;
        // In range, so the cast keeps the value.
        Ok(HybridTime::new(physical_ms as u64, counter))
    }
}

fn in_range(part: &'static str, value: i64, first: i64, last: i64) -> Result<(), TextError> {
    if (first..=last).contains(&value) {
        Ok(())
    } else {
        Err(TextError::Range { part })
    }
}

/// A text and how far it is read.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// Takes the next byte when it is one of `bytes`.
    fn take(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        let is_wanted = bytes.contains(&byte);
        self.at += usize::from(is_wanted);
        is_wanted.then_some(byte)
    }

    fn expect(&mut self, bytes: &[u8]) -> Result<u8, TextError> {
        let at = self.at;
        self.take(bytes).ok_or(TextError::Form { at })
    }

    fn digit(&mut self) -> Option<i64> {
        self.take(b"0123456789").map(|byte| i64::from(byte - b'0'))
    }

    /// Exactly `n_digits` digits; at most five, so nothing overflows.
    fn number(&mut self, n_digits: usize) -> Result<i64, TextError> {
        let mut value = 0;
        for _ in 0..n_digits {
            let at = self.at;
            value = value * 10 + self.digit().ok_or(TextError::Form { at })?;
        }
        Ok(value)
    }

    /// `.` and one to nine digits, in milliseconds, rounded down; nothing is zero.
    fn fraction_ms(&mut self) -> Result<i64, TextError> {
        if self.take(b".").is_none() {
            return Ok(0);
        }
        let mut ms = self.number(1)? * 100;
        for worth in [10, 1, 0, 0, 0, 0, 0, 0] {
            let Some(digit) = self.digit() else { break };
            ms += digit * worth;
        }
        Ok(ms)
    }

    /// `Z`, or the minutes by which the writer's clock is ahead of UTC.
    fn offset_minutes(&mut self) -> Result<i64, TextError> {
        let sign = match self.expect(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(0),
        };
        let hours = self.number(2)?;
        self.expect(b":")?;
        let minutes = self.number(2)?;
        in_range("offset", hours, 0, 23)?;
        in_range("offset", minutes, 0, 59)?;
        Ok(sign * (hours * 60 + minutes))
    }

    /// `+` and one to five digits without a leading zero; nothing is zero.
    fn counter(&mut self) -> Result<u16, TextError> {
        if self.take(b"+").is_none() {
            return Ok(0);
        }
        let at = self.at;
        let mut value = self.number(1)?;
        if value == 0 {
            return Err(TextError::Form { at });
        }
        for _ in 0..4 {
            let Some(digit) = self.digit() else { break };
            value = value * 10 + digit;
        }
        u16::try_from(value).map_err(|_| TextError::Range { part: "counter" })
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, year 0 and later. Years begin in March
/// here, so that the leap day is the last one (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day, `days` (not negative) after 1970-01-01: the way back (`civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Form { at } => write!(
                f,
                "byte {at} is not what a time such as 2026-11-21T08:00:00.123Z has there"
            ),
            TextError::Range { part } => write!(f, "the {part} is out of range"),
            TextError::LeapSecond => f.write_str("leap seconds have no number: write second 59"),
        }
    }
}

impl Error for TextError {}
