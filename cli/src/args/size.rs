//! Sizes of memory: `512M`, `2G`, `1048576`.

/// Reads a size in bytes; K, M, G and T are powers of 1024, with or without `iB` or `B` behind them.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("write a whole number and K, M, G or T: 512M, 2G, 1048576".to_owned()),
    };
    if number.is_empty() {
        return Err("write a whole number and K, M, G or T: 512M, 2G, 1048576".to_owned());
    }
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    size.ok_or_else(|| "that is more than 64 bits can say".to_owned())
}

/// A size for people: the largest unit that it is a whole number of, or else one decimal.
pub fn show(bytes: u64) -> String {
    for (unit, name) in [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit {
            return match bytes % unit {
                0 => format!("{} {name}", bytes / unit),
                _ => format!("{:.1} {name}", bytes as f64 / unit as f64),
            };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("2G", 2 << 30),
            ("3KiB", 3 << 10),
            ("1T", 1 << 40),
            ("16777215T", 16_777_215 << 40),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for bad in ["", "M", "-1M", "1.5G", "1 G", "512X", "512Mi", "16777216T", "18446744073709551616", "é"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_for_people() {
        for (size, text) in [
            (0, "0 bytes"),
            (512 << 20, "512 MiB"),
            (3 << 29, "1.5 GiB"),
            (1023, "1023 bytes"),
            (1 << 40, "1024 GiB"),
        ] {
            assert_eq!(show(size), text);
        }
    }
}
