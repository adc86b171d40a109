//! Words that a user may misspell, and names that OpenTelemetry takes.

/// What to do about `word`, where one of `known` was meant.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|one| (strsim::damerau_levenshtein(&word.to_lowercase(), one), *one))
        .min()
        // A third of the letters wrong is another word.
        .filter(|(distance, one)| *distance <= one.len().max(word.chars().count()).div_ceil(3));
    match near {
        Some((_, one)) => format!("did you mean `{one}`?"),
        None => format!("write one of: {}", known.join(", ")),
    }
}

/// A type, with its article.
pub(super) fn one(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Why OpenTelemetry takes no such instrument name, if it does not (the API's instrument name syntax).
pub(super) fn wrong_metric_name(name: &str) -> Option<&'static str> {
    let mut letters = name.chars();
    match letters.next() {
        None => return Some("is empty"),
        Some(first) if !first.is_ascii_alphabetic() => return Some("must begin with a letter"),
        Some(_) => {}
    }
    if !letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')) {
        return Some("may hold letters, digits, `_`, `.`, `-` and `/` only");
    }
    (name.len() > 255).then_some("is longer than 255 characters")
}

/// Why a unit is none, if it is none (the API's: at most 63 ASCII characters; UCUM has no spaces).
pub(super) fn wrong_unit(unit: &str) -> Option<&'static str> {
    if unit.len() > 63 {
        Some("is longer than 63 characters")
    } else if !unit.chars().all(|c| c.is_ascii_graphic()) {
        Some("may hold ASCII letters, digits and signs only, no space")
    } else {
        None
    }
}

/// Why an attribute cannot be called so, if it cannot.
pub(super) fn wrong_attribute_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > 255 {
        Some("is longer than 255 bytes")
    } else if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Some("may hold no space and no control character")
    } else if name == "otel.metric.overflow" {
        Some("is the name of the series that takes what is beyond `max_series`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_or_all_are_told() {
        let known = ["counter", "updowncounter", "gauge", "histogram"];
        assert_eq!(suggest("guage", &known), "did you mean `gauge`?");
        assert_eq!(suggest("Counter", &known), "did you mean `counter`?");
        assert_eq!(suggest("x", &known), "write one of: counter, updowncounter, gauge, histogram");
    }

    #[test]
    fn names_are_opentelemetrys() {
        for good in ["a", "session_buddy.sessions/active-1"] {
            assert_eq!(wrong_metric_name(good), None, "{good}");
        }
        for bad in ["", "1a", "_a", "a b", "é", "a:b"] {
            assert!(wrong_metric_name(bad).is_some(), "{bad}");
        }
        assert!(wrong_unit("a b").is_some() && wrong_unit("{session}").is_none() && wrong_unit("").is_none());
        assert!(wrong_attribute_name("").is_some() && wrong_attribute_name("otel.metric.overflow").is_some());
    }
}
