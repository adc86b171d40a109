//! The nearest known name to a misspelt one.

/// The candidate that `name` most likely was meant to be, if any is near enough to be worth saying.
///
/// Case, and `-` for `_`, do not count as differences. Among equally near candidates the first one wins.
pub fn nearest<'a, S: AsRef<str> + ?Sized + 'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a S>,
) -> Option<&'a str> {
    let wanted = normal(name);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        let Some(distance) = distance(&wanted, &normal(candidate)) else { continue };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Names are short; a longer text is no misspelt name, and comparing it would cost its square.
const MAX_NAME: usize = 100;

fn normal(name: &str) -> String {
    name.chars().take(MAX_NAME + 1).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

fn distance(wanted: &str, candidate: &str) -> Option<usize> {
    let longer = wanted.chars().count().max(candidate.chars().count());
    if longer > MAX_NAME {
        return None;
    }
    let most = (longer / 3).max(1);
    let least = wanted.chars().count().abs_diff(candidate.chars().count());
    let is_part = || {
        let part = wanted.len() >= 3 && (candidate.starts_with(wanted) || candidate.ends_with(wanted));
        part || candidate.len() >= 3 && (wanted.starts_with(candidate) || wanted.ends_with(candidate))
    };
    // The distance costs the product of both lengths: what is too far away at sight is not measured.
    if least > most && !is_part() {
        return None;
    }
    let distance = strsim::damerau_levenshtein(wanted, candidate);
    if distance <= most && distance < longer {
        return Some(distance);
    }
    // `interval` for `interval_seconds`: what was written is the beginning or the end of what was meant.
    is_part().then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["endpoint", "interval_seconds", "timeout_seconds", "max_retries", "tls"];

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("intervall_seconds", &KEYS), Some("interval_seconds"));
        assert_eq!(nearest("interval", &KEYS), Some("interval_seconds"));
        assert_eq!(nearest("endpiont", &KEYS), Some("endpoint"));
        assert_eq!(nearest("Max-Retries", &KEYS), Some("max_retries"));
        assert_eq!(nearest("tsl", &KEYS), Some("tls"));
    }

    #[test]
    fn what_is_far_from_all_is_near_to_none() {
        assert_eq!(nearest("colour", &KEYS), None);
        assert_eq!(nearest("", &KEYS), None);
        assert_eq!(nearest("x", &["y"]), None);
        assert_eq!(nearest(&"interval_seconds".repeat(1000), &KEYS), None);
    }
}
