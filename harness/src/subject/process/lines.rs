//! What a line on a subject's stdout says: a report in the contract's words, or a line of its log.

use serde::Deserialize;

use gauntlet_judge::history::ledger::parse_id;

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A handler began this message.
    Started(u32),
    /// Its effect is committed, and handling it succeeded.
    Handled(u32),
    /// Handling it failed.
    Failed(u32),
    /// It looks like a report and cannot be one.
    Nonsense,
    /// Anything else.
    Log,
}

/// The same as JSON; `effect` is how the reference consumer's program says `handled`.
#[derive(Deserialize)]
struct Json {
    gauntlet: Option<String>,
    id: Option<String>,
    effect: Option<String>,
}

pub(super) fn parse(line: &str) -> Line {
    let line = line.trim();
    if line.starts_with('{') {
        return json(line);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(word), Some(id)) = (words.next(), words.next()) else { return Line::Log };
    let alone = words.next().is_none();
    match (word, parse_id(id)) {
        ("handled", Some(id)) if alone => Line::Handled(id),
        ("started", Some(id)) if alone => Line::Started(id),
        ("failed", Some(id)) => Line::Failed(id),
        // Other words are those of a log too: "started worker", "failed to connect".
        ("handled", None) if alone => Line::Nonsense,
        _ => Line::Log,
    }
}

fn json(line: &str) -> Line {
    let Ok(said) = serde_json::from_str::<Json>(line) else { return Line::Log };
    let id = |id: Option<String>| id.as_deref().and_then(parse_id);
    match (said.gauntlet.as_deref(), said.effect) {
        (None, None) => Line::Log,
        (None, Some(effect)) => id(Some(effect)).map_or(Line::Nonsense, Line::Handled),
        (Some(word), _) => match (word, id(said.id)) {
            ("handled", Some(id)) => Line::Handled(id),
            ("started", Some(id)) => Line::Started(id),
            ("failed", Some(id)) => Line::Failed(id),
            _ => Line::Nonsense,
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("handled m59", Line::Handled(59))]
    #[case("  handled m0 \r", Line::Handled(0))]
    #[case("started m7", Line::Started(7))]
    #[case("failed m7", Line::Failed(7))]
    #[case("failed m7 no such order", Line::Failed(7))]
    #[case(r#"{"gauntlet":"handled","id":"m59"}"#, Line::Handled(59))]
    #[case(r#"{"gauntlet":"failed","id":"m5","why":"x"}"#, Line::Failed(5))]
    #[case(r#"{"effect":"m5"}"#, Line::Handled(5))]
    #[case("handled order-17", Line::Nonsense)]
    #[case("handled m99999999999", Line::Nonsense)]
    #[case(r#"{"gauntlet":"handled"}"#, Line::Nonsense)]
    #[case(r#"{"gauntlet":"done","id":"m5"}"#, Line::Nonsense)]
    #[case(r#"{"effect":"x"}"#, Line::Nonsense)]
    #[case("handled m5 in 3 ms", Line::Log)]
    #[case("handled", Line::Log)]
    #[case("started worker", Line::Log)]
    #[case("failed to connect", Line::Log)]
    #[case(r#"{"level":"info","msg":"x"}"#, Line::Log)]
    #[case("{", Line::Log)]
    #[case("", Line::Log)]
    fn a_line_is_a_report_or_a_line_of_the_log(#[case] line: &str, #[case] expect: Line) {
        assert_eq!(parse(line), expect);
    }
}
