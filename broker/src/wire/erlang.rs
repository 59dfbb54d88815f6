//! Terms as Erlang prints them with `~p`, for the error texts that carry one.

use super::frame::binary;

/// A binary: as text when every octet is printable in Latin-1, else as numbers.
pub fn pretty(octets: &[u8]) -> String {
    let printable = |octet: &u8| matches!(octet, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0xA0..);
    if octets.is_empty() || !octets.iter().all(printable) {
        return binary(octets);
    }
    let mut text = String::from("<<\"");
    for octet in octets {
        match octet {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            other => text.push(char::from(*other)),
        }
    }
    text.push_str("\">>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_octets_are_text() {
        assert_eq!(pretty(b"hello \"x\""), "<<\"hello \\\"x\\\"\">>");
        assert_eq!(pretty(&[0, 1]), "<<0,1>>");
        assert_eq!(pretty(&[]), "<<>>");
    }
}
