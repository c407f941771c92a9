//! Time stamps in UTC, written out once per second.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_PER_DAY: u64 = 86_400;
/// The Gregorian calendar repeats itself after this many days.
const DAYS_PER_400_YEARS: u64 = 146_097;

/// The texts of the last second that was asked for.
#[derive(Debug)]
pub(super) struct DateCache {
    second: u64,
    millisecond: u64,
    /// `2025-11-20T07:45:00`
    rfc3339: String,
    /// `20/Nov/2025:07:45:00 +0000`
    common_log: String,
}

impl Default for DateCache {
    fn default() -> Self {
        let mut cache = Self { second: 0, millisecond: 0, rfc3339: String::new(), common_log: String::new() };
        cache.write_out();
        cache
    }
}

impl DateCache {
    pub(super) fn set(&mut self, unix_ms: u64) {
        self.millisecond = unix_ms % 1000;
        if self.second != unix_ms / 1000 {
            self.second = unix_ms / 1000;
            self.write_out();
        }
    }

    /// RFC 3339, with milliseconds.
    pub(super) fn write_rfc3339(&self, out: &mut Vec<u8>) {
        let digit = |n: u64| b'0' + (n % 10) as u8;
        out.extend_from_slice(self.rfc3339.as_bytes());
        let ms = self.millisecond;
        out.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
    }

    /// As Apache's `%t` has it, without the brackets.
    pub(super) fn common_log(&self) -> &str {
        &self.common_log
    }

    fn write_out(&mut self) {
        let (year, month, day) = civil(self.second / SECONDS_PER_DAY);
        let of_day = self.second % SECONDS_PER_DAY;
        let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        self.rfc3339 = format!("{year:04}-{:02}-{day:02}T{h:02}:{m:02}:{s:02}", month + 1);
        self.common_log = format!("{day:02}/{}/{year:04}:{h:02}:{m:02}:{s:02} +0000", MONTHS[month]);
    }
}

/// Year, month from 0 and day from 1, of a day counted from 1970-01-01.
fn civil(days_since_epoch: u64) -> (u64, usize, u64) {
    let mut year = 1970 + 400 * (days_since_epoch / DAYS_PER_400_YEARS);
    let mut days = days_since_epoch % DAYS_PER_400_YEARS;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 0;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn days_in(year: u64, month: usize) -> u64 {
    match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(unix_ms: u64) -> (String, String) {
        let mut cache = DateCache::default();
        cache.set(unix_ms);
        let mut rfc3339 = Vec::new();
        cache.write_rfc3339(&mut rfc3339);
        (String::from_utf8(rfc3339).unwrap(), cache.common_log().to_owned())
    }

    #[test]
    fn writes_both_forms() {
        for (unix_ms, rfc3339, common_log) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z", "28/Feb/2000:23:59:59 +0000"),
            (951_827_696_007, "2000-02-29T12:34:56.007Z", "29/Feb/2000:12:34:56 +0000"),
            (1_763_624_700_120, "2025-11-20T07:45:00.120Z", "20/Nov/2025:07:45:00 +0000"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z", "31/Dec/2024:23:59:59 +0000"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            assert_eq!(texts(unix_ms), (rfc3339.into(), common_log.into()));
        }
    }

    #[test]
    fn no_time_hangs_or_panics() {
        texts(u64::MAX);
    }
}
