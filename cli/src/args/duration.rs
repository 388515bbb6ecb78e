//! Spans of time: `90`, `1.5`, `90s`, `2m 30s`.

use std::time::Duration;

/// Reads a span of time: seconds, or numbers with units.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "write seconds, or a number with a unit: 90, 1.5, 2m, 1h30m".to_owned();
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
        Err(_) => humantime::parse_duration(text).map_err(|_| wrong())?,
    };
    if span.is_zero() { Err("a time-out must be longer than nothing".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, milliseconds) in
            [("90", 90_000), ("1.5", 1_500), ("250ms", 250), ("2m", 120_000), ("1h30m", 5_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "0", "-1", "nan", "inf", "1e300", "2 fortnights", "m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
