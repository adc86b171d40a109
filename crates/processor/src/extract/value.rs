//! JSON values as numbers, times, keys and attributes.

use jiff::{civil::DateTime, tz::TimeZone};
use minicol_pdata::{AttributeValue, Number, Timestamp};
use serde_json::Value;

use super::{texts::Texts, unusable::Reason};

/// A key may be this long, in characters; a longer one is none.
const MAX_KEY: usize = 256;

/// A number: also one inside a string, and `true` and `false` as 1 and 0. Whole numbers stay whole where 64 bits hold them.
pub(crate) fn number(value: &Value) -> Result<Number, Reason> {
    match value {
        Value::Null => Err(Reason::Null),
        Value::Bool(value) => Ok(Number::Int((*value).into())),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Ok(Number::Int(whole)),
            None => finite(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => number_in_text(text),
        Value::Array(_) | Value::Object(_) => Err(Reason::NotAScalar),
    }
}

/// A number written as text, spaces around it aside.
pub(crate) fn number_in_text(text: &str) -> Result<Number, Reason> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(Number::Int(whole));
    }
    text.parse::<f64>().map_err(|_| Reason::Text).and_then(finite)
}

/// A time as Unix seconds: ISO 8601 (without a zone it is UTC), or Unix seconds already.
pub(crate) fn time(value: &Value) -> Result<Timestamp, Reason> {
    let stamp = match value {
        Value::Null => return Err(Reason::Null),
        Value::String(text) => iso(text.trim()).or_else(|| seconds(number_in_text(text).ok()?)),
        other => seconds(number(other)?),
    };
    stamp.filter(|stamp| !stamp.is_unset()).ok_or(Reason::BadTime)
}

/// Unix seconds, where a clock can show them.
pub(crate) fn seconds(number: Number) -> Option<Timestamp> {
    match number {
        Number::Int(whole) => u64::try_from(whole).ok()?.checked_mul(1_000_000_000).map(Timestamp::from_nanos),
        Number::Double(value) => Timestamp::from_seconds(value),
    }
}

fn iso(text: &str) -> Option<Timestamp> {
    let stamp = match text.parse::<jiff::Timestamp>() {
        Ok(stamp) => stamp,
        Err(_) => TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    u64::try_from(stamp.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// `number` times `scale`. Whole times whole stays whole where 64 bits hold it.
pub(crate) fn scaled(number: Number, scale: Option<f64>) -> Result<Number, Reason> {
    let Some(scale) = scale else { return Ok(number) };
    // Up to 2^53 a double holds every whole number.
    if let Number::Int(value) = number
        && scale.fract() == 0.0
        && scale.abs() <= 9_007_199_254_740_992.0
    {
        #[allow(clippy::cast_possible_truncation)] // whole and small enough, as was just seen
        if let Some(whole) = value.checked_mul(scale as i64) {
            return Ok(Number::Int(whole));
        }
    }
    finite(as_f64(number) * scale)
}

/// As a double; beyond 2^53 the nearest one.
pub(crate) fn as_f64(number: Number) -> f64 {
    match number {
        Number::Int(whole) => whole as f64,
        Number::Double(value) => value,
    }
}

/// True below zero.
pub(crate) fn is_negative(number: Number) -> bool {
    match number {
        Number::Int(whole) => whole < 0,
        Number::Double(value) => value < 0.0,
    }
}

/// What tells an item from the others, as text.
pub(crate) fn key(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty() && text.chars().count() <= MAX_KEY).then_some(text)
}

/// An attribute's value: a scalar, its text at most `max` characters long. `Ok(None)` for `null`.
pub(crate) fn attribute(value: &Value, max: usize, texts: &Texts) -> Result<Option<(AttributeValue, bool)>, Reason> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => ((*value).into(), false),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => (whole.into(), false),
            None => (number.as_f64().unwrap_or_default().into(), false),
        },
        Value::String(value) => text(value, max, texts),
        Value::Array(_) | Value::Object(_) => return Err(Reason::Attribute),
    }))
}

/// A text as an attribute's value, at most `max` characters long.
pub(crate) fn text(text: &str, max: usize, texts: &Texts) -> (AttributeValue, bool) {
    let (text, cut) = cut(text, max);
    (AttributeValue::String(texts.get(text)), cut)
}

/// At most `max` characters of `text`, and whether that is less than all.
pub(crate) fn cut(text: &str, max: usize) -> (&str, bool) {
    match text.char_indices().nth(max) {
        Some((at, _)) => (&text[..at], true),
        None => (text, false),
    }
}

fn finite(value: f64) -> Result<Number, Reason> {
    if value.is_nan() {
        Err(Reason::Nan)
    } else if value.is_infinite() {
        Err(Reason::Infinite)
    } else {
        Ok(Number::Double(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_where_they_are() {
        for (value, wanted) in [
            (json!(3), Ok(Number::Int(3))),
            (json!(3.0), Ok(Number::Double(3.0))),
            (json!(true), Ok(Number::Int(1))),
            (json!(" 12 "), Ok(Number::Int(12))),
            (json!("1.5e3"), Ok(Number::Double(1500.0))),
            (json!(u64::MAX), Ok(Number::Double(u64::MAX as f64))),
            (json!("twelve"), Err(Reason::Text)),
            (json!(""), Err(Reason::Text)),
            (json!("NaN"), Err(Reason::Nan)),
            (json!("-inf"), Err(Reason::Infinite)),
            (json!("1e999"), Err(Reason::Infinite)),
            (json!(null), Err(Reason::Null)),
            (json!([1]), Err(Reason::NotAScalar)),
        ] {
            assert_eq!(number(&value), wanted, "{value}");
        }
    }

    #[test]
    fn scaling_keeps_whole_numbers_whole() {
        assert_eq!(scaled(Number::Int(5), Some(60.0)), Ok(Number::Int(300)));
        assert_eq!(scaled(Number::Int(5), Some(0.5)), Ok(Number::Double(2.5)));
        assert_eq!(scaled(Number::Int(i64::MAX), Some(2.0)), Ok(Number::Double(i64::MAX as f64 * 2.0)));
        assert_eq!(scaled(Number::Double(1e300), Some(1e300)), Err(Reason::Infinite));
        assert_eq!(scaled(Number::Int(5), None), Ok(Number::Int(5)));
    }

    #[test]
    fn times_are_iso_8601_or_unix_seconds() {
        let wanted = Timestamp::from_nanos(1_795_043_028_500_000_000);
        for text in
            ["2026-11-18T23:03:48.5", "2026-11-18T23:03:48.5Z", "2026-11-19T00:03:48.5+01:00", "2026-11-18 23:03:48.5"]
        {
            assert_eq!(time(&json!(text)), Ok(wanted), "{text}");
        }
        assert_eq!(time(&json!(1_795_043_028.5)), Ok(wanted));
        assert_eq!(time(&json!("1795043028.5")), Ok(wanted));
        for wrong in
            [json!("yesterday"), json!("1969-12-31T23:59:59"), json!(-1), json!(0), json!(1e20), json!("9999-12-31")]
        {
            assert_eq!(time(&wrong), Err(Reason::BadTime), "{wrong}");
        }
    }

    #[test]
    fn long_attributes_are_cut_at_a_character() {
        let attribute = |value| attribute(&value, 2, &Texts::default());
        assert_eq!(attribute(json!("ééé")), Ok(Some(("éé".into(), true))));
        assert_eq!(attribute(json!("éé")), Ok(Some(("éé".into(), false))));
        assert_eq!(attribute(json!(null)), Ok(None));
        assert_eq!(attribute(json!({})), Err(Reason::Attribute));
    }

    #[test]
    fn keys_are_scalars_of_a_bounded_length() {
        assert_eq!(key(&json!("a")), Some("a".into()));
        assert_eq!(key(&json!(7)), Some("7".into()));
        assert_eq!((key(&json!("")), key(&json!(null)), key(&json!("x".repeat(257)))), (None, None, None));
    }
}
