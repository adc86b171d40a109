//! What an unquoted text means: YAML 1.2's core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>).

/// The meaning of a plain scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    /// A whole number that 64 bits hold.
    Unsigned(u64),
    /// A negative whole number that 64 bits hold.
    Signed(i64),
    /// Any other number.
    Float(f64),
    Text,
}

impl Plain {
    /// The meaning of `text` where it stands unquoted.
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            ".nan" | ".NaN" | ".NAN" => Self::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Self::Float(f64::NEG_INFINITY),
            _ => number(text),
        }
    }
}

fn number(text: &str) -> Plain {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || fraction.is_some_and(|part| !part.is_empty());
    let exponent_fits = exponent.is_none_or(|part| {
        let part = part.strip_prefix(['+', '-']).unwrap_or(part);
        !part.is_empty() && digits(part)
    });
    if !(has_digits && digits(whole) && fraction.is_none_or(digits) && exponent_fits) {
        return Plain::Text;
    }
    if fraction.is_none() && exponent.is_none() {
        if let Ok(value) = text.parse::<u64>() {
            return Plain::Unsigned(value);
        }
        if let Ok(value) = text.parse::<i64>() {
            return Plain::Signed(value);
        }
    }
    text.parse().map_or(Plain::Text, Plain::Float)
}

fn radix(digits: &str, radix: u32) -> Plain {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Plain::Text;
    }
    u64::from_str_radix(digits, radix).map_or(Plain::Text, Plain::Unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_means_what_the_core_schema_says() {
        let table = [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("TRUE", Plain::Bool(true)),
            ("yes", Plain::Text),
            ("0123", Plain::Unsigned(123)),
            ("+7", Plain::Unsigned(7)),
            ("-7", Plain::Signed(-7)),
            ("-0", Plain::Signed(0)),
            ("0x1F", Plain::Unsigned(31)),
            ("0o17", Plain::Unsigned(15)),
            ("0xg", Plain::Text),
            ("1.5", Plain::Float(1.5)),
            (".5", Plain::Float(0.5)),
            ("5.", Plain::Float(5.0)),
            ("1e3", Plain::Float(1000.0)),
            ("-.inf", Plain::Float(f64::NEG_INFINITY)),
            ("18446744073709551616", Plain::Float(18_446_744_073_709_551_616.0)),
            ("1_000", Plain::Text),
            (".", Plain::Text),
            ("e3", Plain::Text),
            ("1e", Plain::Text),
            ("--1", Plain::Text),
            ("infinity", Plain::Text),
            ("nan", Plain::Text),
            ("30s", Plain::Text),
        ];
        for (text, meaning) in table {
            assert_eq!(Plain::of(text), meaning, "{text:?}");
        }
        assert!(matches!(Plain::of(".nan"), Plain::Float(value) if value.is_nan()));
    }
}
