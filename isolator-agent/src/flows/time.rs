//! Wall-clock times as text, always UTC. Not here: reading a clock.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// RFC 3339 with nanoseconds, of nanoseconds since 1970.
#[must_use]
pub fn rfc3339(nanoseconds: u64) -> String {
    let seconds = nanoseconds / NANOS;
    let (year, month, day) = civil(seconds / DAY);
    let clock = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        clock / 3600,
        clock / 60 % 60,
        clock % 60,
        nanoseconds % NANOS
    )
}

/// `Nov 21 01:02:03.004` of a text that [`rfc3339`] made; any other text as it is.
#[must_use]
pub fn compact(rfc3339: &str) -> String {
    let parts = (|| {
        let month: usize = rfc3339.get(5..7)?.parse().ok()?;
        Some((MONTHS.get(month.checked_sub(1)?)?, rfc3339.get(8..10)?, rfc3339.get(11..23)?))
    })();
    match parts {
        Some((month, day, clock)) => format!("{month} {day} {clock}"),
        None => rfc3339.to_owned(),
    }
}

/// A span of time for people: `45s`, `12m`, `3h5m`, `2d4h`.
#[must_use]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / DAY, seconds / 3600 % 24),
    }
}

/// The date of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for days after 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400 * NANOS), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_763_686_923_004_005_006), "2025-11-21T01:02:03.004005006Z");
        assert_eq!(rfc3339(4_102_444_799 * NANOS + 999_999_999), "2099-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn compact_is_what_people_of_hubble_know() {
        assert_eq!(compact("2025-11-21T01:02:03.004005006Z"), "Nov 21 01:02:03.004");
        assert_eq!(compact("yesterday"), "yesterday");
    }

    #[test]
    fn spans() {
        assert_eq!(span(45), "45s");
        assert_eq!(span(12 * 60), "12m");
        assert_eq!(span(3 * 3600 + 300), "3h5m");
        assert_eq!(span(2 * DAY + 4 * 3600), "2d4h");
    }
}
