//! Terms as Erlang prints them with `~p`, for the error texts that carry one.

use super::frame::binary;

/// A binary: as text when every byte is printable in Latin-1, else as numbers.
pub fn pretty(bytes: &[u8]) -> String {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0xA0..);
    if bytes.is_empty() || !bytes.iter().all(printable) {
        return binary(bytes);
    }
    let mut text = String::from("<<\"");
    for byte in bytes {
        match byte {
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
    fn printable_bytes_are_text() {
        assert_eq!(pretty(b"hello \"x\""), "<<\"hello \\\"x\\\"\">>");
        assert_eq!(pretty(&[0, 1]), "<<0,1>>");
        assert_eq!(pretty(&[]), "<<>>");
    }
}
