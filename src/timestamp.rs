//! The time of day as text. std has no calendar.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time in UTC, to the second, as RFC 3339 writes it: `2026-11-26T02:17:45Z`. A time before 1970 is
/// shown as the beginning of 1970.
///
/// The date is computed as in "chrono-Compatible Low-Level Date Algorithms" by Howard Hinnant
/// (`civil_from_days`), with his names. His year begins in March, so that the leap day is its last one.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_1970.as_secs();
    // The days since 0000-03-01.
    let z = seconds / 86_400 + 719_468;
    // 400 years always have 146,097 days: an era.
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // 0 is March, 11 is February.
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
