//! Sizes and durations as people write them.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1000_u64.pow(2)),
    ("gb", 1000_u64.pow(3)),
    ("tb", 1000_u64.pow(4)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// A number of bytes: `1048576`, `64MiB`, `5 GB`. Units with an `i` are powers of 1024, the others of 1000.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let unit = unit.to_ascii_lowercase();
    let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err("the unit is none of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB".into()),
    };
    number.checked_mul(factor).ok_or_else(|| "more than 64 bits can hold".into())
}

/// A duration: `500ms`, `30s`, `5m`, `1h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        "d" => number.checked_mul(24 * 3_600_000),
        _ => return Err("the unit is none of ms, s, m, h, d".into()),
    };
    match milliseconds {
        Some(0) => Err("it must be more than nothing".into()),
        // Longer ones would overflow the clock when added to it.
        Some(milliseconds) if milliseconds <= 365 * 24 * 3_600_000 => Ok(Duration::from_millis(milliseconds)),
        _ => Err("more than a year".into()),
    }
}

fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err("it must begin with a whole number".into());
    }
    let number = number.parse().map_err(|_| "more than 64 bits can hold")?;
    Ok((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("5GiB", 5 << 30),
            (" 5 gib ", 5 << 30),
            ("2kB", 2000),
            ("7B", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        for text in ["", "GiB", "-1", "+1", "1.5GiB", "5G", "5 Gi B", "0x10", "18446744073709551616", "16777216TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("500ms", 500), ("30s", 30_000), ("5 m", 300_000), ("1h", 3_600_000), ("2d", 172_800_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5", "0s", "-1s", "1.5s", "1w", "9999999999999h", "10000h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
