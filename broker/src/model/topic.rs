//! Topic patterns: words with dots between, `*` for one word, `#` for any number.

/// Whether `key` matches `pattern`.
pub fn matches(pattern: &str, key: &str) -> bool {
    if !pattern.contains(['*', '#']) {
        return pattern == key;
    }
    let (pattern, key) = (words(pattern), words(key));
    // What is behind the last `#` met, and how much of the key that `#` has swallowed.
    let mut again: Option<(usize, usize)> = None;
    let (mut p, mut k) = (0, 0);
    while k < key.len() {
        match pattern.get(p) {
            Some(&"#") => {
                p += 1;
                again = Some((p, k));
            }
            Some(&word) if word == "*" || word == key[k] => {
                p += 1;
                k += 1;
            }
            _ => match &mut again {
                Some((after, swallowed)) => {
                    *swallowed += 1;
                    (p, k) = (*after, *swallowed);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|word| *word == "#")
}

/// The empty key has no words.
fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, key: &str, expect: bool) {
        assert_eq!(matches(pattern, key), expect, "{pattern} and {key}");
    }

    #[test]
    fn words_and_wildcards() {
        check("a.b", "a.b", true);
        check("a.b", "a.c", false);
        check("a.*", "a.b", true);
        check("a.*", "a", false);
        check("a.*", "a.b.c", false);
        check("a.*", "a.", true);
        check("#", "", true);
        check("#", "a.b.c", true);
        check("a.#", "a", true);
        check("a.#.c", "a.c", true);
        check("a.#.c", "a.b.b.c", true);
        check("a.#.c", "a.b.b", false);
        check("#.b.#", "a.b.c", true);
        check("*", "", false);
        check("*.#.*", "a", false);
        check("*.#.*", "a.b", true);
        check("#.#", "a", true);
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        check(&format!("{}b", "#.a.".repeat(30)), &"a.".repeat(60), false);
    }
}
