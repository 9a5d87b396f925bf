//! Text to values: durations, sizes, counts of ports, names and levels.
//!
//! Each function returns the value, or what is wrong and what to write instead. Pure; imports the
//! folder's `types` and `clusters` only. Addresses are in `address.rs`.

use std::time::Duration;

use super::clusters::PortRange;
use super::types::LogFormat;

/// Text of the user in a message: quoted, escaped, cut when long.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() > LONGEST {
        let start: String = text.chars().take(LONGEST).collect();
        format!("{:?}", format!("{start}…"))
    } else {
        format!("{text:?}")
    }
}

/// A key of the user in a path: bare where TOML lets it be bare, else quoted and cut.
pub(super) fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name.len() <= 60
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { quote(name) }
}

/// Splits `250ms` into digits and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// `250ms`, `20s`, `10m`, `1h`: a whole number and a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split_number(text);
    if digits.is_empty() {
        return Err(format!(
            "{} is not a duration; write a whole number and ms, s, m or h, such as \"20s\"",
            quote(text)
        ));
    }
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => {
            return Err(format!(
                "{text} has no unit; write \"{text}s\" for seconds or \"{text}ms\" for milliseconds"
            ));
        }
        _ => {
            return Err(format!(
                "{} is not a duration; write a whole number and one of ms, s, m, h, such as \"{digits}s\"",
                quote(text)
            ));
        }
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{} is too long", quote(text)))
}

/// A duration as it is written in a file, with the largest unit that is exact.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (size, unit) in [(3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// `4096`, `1MB`, `64MiB`: bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split_number(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    if digits.is_empty() || factor == 0 {
        let shown = if digits.is_empty() { "64" } else { digits };
        let unit = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
            Some('k') => "KiB",
            Some('g') => "GiB",
            _ => "MiB",
        };
        return Err(format!(
            "{} is not a size; write \"{shown}{unit}\" (units: KiB, MiB, GiB, KB, MB, GB; none is bytes)",
            quote(text)
        ));
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("{} is too large", quote(text)))
}

/// A size as it is written in a file, with the largest unit that is exact.
pub(super) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >> shift > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// A port, 1 to 65535; digits only.
pub(super) fn port(text: &str) -> Option<u16> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port > 0)
}

/// `19092-19191`.
pub(super) fn port_range(text: &str) -> Result<PortRange, String> {
    let wrong = |instead: &str| Err(format!("{} is not a port range; write \"{instead}\"", quote(text)));
    if let Some(port) = port(text) {
        return wrong(&PortRange { first: port, last: port.saturating_add(99) }.to_string());
    }
    let Some((first, last)) = text.split_once('-') else { return wrong("19092-19191") };
    let (Some(first), Some(last)) = (port(first.trim()), port(last.trim())) else {
        return Err(format!(
            "{} is not a port range; write two ports from 1 to 65535, such as \"19092-19191\"",
            quote(text)
        ));
    };
    if first > last {
        return Err(format!("{} runs backwards; write \"{last}-{first}\"", quote(text)));
    }
    Ok(PortRange { first, last })
}

/// What is wrong with a cluster's name, if anything is.
pub fn problem_of_a_name(text: &str) -> Option<String> {
    cluster_name(text).err()
}

/// A cluster's name: it stands in metrics labels, logs and URLs.
pub(super) fn cluster_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.is_empty() {
        return Err("is empty; write a name, such as \"orders\"".to_owned());
    }
    if text.len() > 100 {
        return Err(format!("{} is too long for a name; write at most 100 characters", quote(text)));
    }
    if text.bytes().all(|byte| byte == b'.') {
        // It stands in URLs and file names.
        return Err(format!(
            "{} is not a name; write a letter or digit too, such as \"orders\"",
            quote(text)
        ));
    }
    if text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    let tidy: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    Err(format!("{} is not a name; use letters, digits, _ . - only, such as {}", quote(text), quote(&tidy)))
}

/// Any text that says something and stays on one line.
pub(super) fn one_line(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("is empty; write some text or remove the key".to_owned())
    } else if text.chars().any(char::is_control) {
        Err(format!("{} has a control character; write plain text", quote(text)))
    } else {
        Ok(text.to_owned())
    }
}

/// One of some words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let found = choices.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("{} is not known; write {}", quote(text), names.join(" or ")))
}

/// A four-letter word of ZooKeeper's servers (`FourLetterCommands.java`, 3.4 to 3.9), but for `stmk`: what follows it
/// would not fit.
pub(super) fn four_letter_word(text: &str) -> Result<String, String> {
    const WORDS: [&str; 17] = [
        "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
        "srvr", "stat", "wchc", "wchp", "wchs",
    ];
    if WORDS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a four-letter word that servers know; write some of {}",
            quote(text),
            WORDS.join(", ")
        ))
    }
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{} is not a log format; write \"text\" or \"json\"", quote(text))),
    }
}

/// A level, or a list of `target=level` with at most the syntax of `EnvFilter` that is of use here. A bare
/// target is refused: it would be a misspelt level far more often than a wish.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_target = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'))
    };
    for part in text.split(',') {
        let fine = match part.split_once('=') {
            Some((target, level)) => is_target(target) && is_level(level),
            None => is_level(part),
        };
        if !fine {
            return Err(format!(
                "{} is not a log level; write one of {}, or such as \"info,evenkeel::kafka=debug\"",
                quote(part),
                LEVELS.join(", ")
            ));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in [
            "",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "1S",
            "20sec",
            "1m30s",
            "٣s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }
        assert!(duration("20").unwrap_err().contains("write \"20s\""));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("4096"), Ok(4096));
        for bad in
            ["", "MiB", "64M", "64mib", "1.5MiB", "-1", "64 MiB", "99999999999999999999", "99999999999GiB"]
        {
            assert!(size(bad).is_err(), "{bad:?} was taken");
        }
        assert!(size("64k").unwrap_err().contains("write \"64KiB\""));
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [1, 250, 1000, 1500, 60_000, 90_000, 3_600_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for bytes in [1, 1000, 1024, 1 << 20, (1 << 20) + 1, 3 << 30] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Duration::from_secs(600)), "10m");
        assert_eq!(show_size(64 << 20), "64MiB");
    }

    #[test]
    fn port_ranges() {
        assert_eq!(port_range("19092-19191"), Ok(PortRange { first: 19092, last: 19191 }));
        assert_eq!(port_range("5-5"), Ok(PortRange { first: 5, last: 5 }));
        assert_eq!(port_range("19092").unwrap_err(), "\"19092\" is not a port range; write \"19092-19191\"");
        assert!(port_range("20-10").unwrap_err().ends_with("write \"10-20\""));
        for bad in ["", "-", "0-10", "1-65536", "a-b", "1-2-3", "+1-2", "65535"] {
            assert!(port_range(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn names_and_levels() {
        assert!(cluster_name("orders-1.eu_W").is_ok());
        assert!(cluster_name("my orders").unwrap_err().contains("\"my-orders\""));
        assert!(cluster_name("").is_err());
        assert!(cluster_name("..").is_err());
        for good in ["info", "INFO", "info,evenkeel::kafka=debug", "warn,hyper=off"] {
            assert!(log_level(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,", "evenkeel", "=info", "evenkeel=loud", "a b=info"] {
            assert!(log_level(bad).is_err(), "{bad:?} was taken");
        }
        assert!(one_line("a\nb").is_err());
    }

    #[test]
    fn four_letter_words() {
        assert_eq!(four_letter_word("mntr"), Ok("mntr".to_owned()));
        for bad in ["", "mnt", "MNTR", "mntrx", "kill", "stmk", "*"] {
            assert!(
                four_letter_word(bad).unwrap_err().contains("write some of conf, cons"),
                "{bad:?} was taken"
            );
        }
    }

    #[test]
    fn quotes_are_short_and_escaped() {
        assert_eq!(quote("a\"b"), "\"a\\\"b\"");
        assert!(quote(&"x".repeat(1000)).chars().count() < 70);
    }
}
