//! The toxics as one table: it feeds the parser, `gauntlet list toxics` and, held by a test,
//! `docs/toxiproxy.md`.

/// A kind of toxic.
#[derive(Debug, PartialEq)]
pub struct ToxicKind {
    /// Its `type`.
    pub name: &'static str,
    /// What its attributes are called after in Toxiproxy's messages; none: Toxiproxy has no such toxic.
    pub go: Option<&'static str>,
    /// What its `stream` may be.
    pub streams: Streams,
    /// In the order they are written.
    pub attributes: &'static [Attribute],
    /// What it does, in a line.
    pub summary: &'static str,
}

/// Which streams a toxic takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// `upstream` or `downstream`.
    One,
    /// The same, or `both`.
    Any,
    /// Whatever it is, it makes no difference.
    Neither,
}

/// An attribute of a toxic.
#[derive(Debug, PartialEq)]
pub struct Attribute {
    /// Its key.
    pub name: &'static str,
    /// What it may be; what is left out is the default.
    pub form: Form,
    /// What it means, with its unit.
    pub meaning: &'static str,
}

/// What an attribute may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// A whole number, and its default.
    Integer(i64),
    /// True or false, and its default.
    Truth(bool),
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
    /// Any text, and its default.
    Text(&'static str),
}

impl ToxicKind {
    /// The kind of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        TOXICS.iter().find(|kind| kind.name == name)
    }

    /// Whether Toxiproxy has it too.
    pub fn is_toxiproxys(&self) -> bool {
        self.go.is_some()
    }
}

const fn int(name: &'static str, meaning: &'static str) -> Attribute {
    Attribute { name, form: Form::Integer(0), meaning }
}

const SIDE: Attribute = Attribute {
    name: "side",
    form: Form::Word(&["both", "client", "upstream"]),
    meaning: "which ends: both, client or upstream",
};
const HOW: Attribute =
    Attribute { name: "how", form: Form::Word(&["rst", "fin"]), meaning: "rst or fin" };

macro_rules! toxics {
    ($($name:literal $go:expr, $streams:ident [$($attribute:expr),*] $summary:literal;)*) => {
        &[$(ToxicKind {
            name: $name,
            go: $go,
            streams: Streams::$streams,
            attributes: &[$($attribute),*],
            summary: $summary,
        }),*]
    };
}

/// Every toxic: Toxiproxy's first, then those only this has.
pub const TOXICS: &[ToxicKind] = toxics! {
    "latency" Some("LatencyToxic"), One
        [int("latency", "ms"), int("jitter", "ms more or less, uniform")]
        "each chunk leaves later, in order";
    "bandwidth" Some("BandwidthToxic"), One
        [int("rate", "KB/s, of 1000 bytes; 0 is a pause without loss")]
        "a pace for each connection";
    "slow_close" Some("SlowCloseToxic"), One
        [int("delay", "ms")]
        "the end of the stream passes later";
    "timeout" Some("TimeoutToxic"), One
        [int("timeout", "ms; 0 is never")]
        "bytes vanish; after so long without any, and when it is removed, the connection is closed";
    "reset_peer" Some("ResetToxic"), One
        [int("timeout", "ms")]
        "both ends are reset so long after the first byte; idle connections too";
    "slicer" Some("SlicerToxic"), One
        [int("average_size", "bytes; 0 does not slice"), int("size_variation", "bytes more or less"),
         int("delay", "microseconds after each")]
        "small writes";
    "limit_data" Some("LimitDataToxic"), One
        [int("bytes", "bytes, counted for each connection from when it was added")]
        "the connection is closed after so many bytes";
    "noop" Some("NoopToxic"), One
        []
        "nothing";
    "rst" None, Neither
        [SIDE]
        "a real RST on live connections, idle or not; then it is over";
    "fin" None, Neither
        [SIDE]
        "an orderly end of live connections; then it is over";
    "blackhole" None, Any
        [Attribute { name: "resume", form: Form::Truth(false),
            meaning: "whether what was sent is delivered on removal, as when a cable is back, or the connection is dead for good; a new connection is made on removal" }]
        "connections stay open and nothing passes, no FIN and no RST either";
    "stall" None, Any
        []
        "nothing is read, so that back-pressure builds up; no loss";
    "refuse" None, Neither
        []
        "new connections are refused while live ones go on; the port stays reserved";
    "ignore" None, Neither
        []
        "new connections are accepted, and then nothing";
    "accept_close" None, Neither
        [HOW]
        "new connections are accepted and closed at once";
    "limit_connections" None, Neither
        [int("max", "how many may be open, from 0")]
        "new connections beyond so many open ones are reset";
    "frame" None, One
        [Attribute { name: "action", form: Form::Word(&["drop", "hold", "corrupt", "truncate", "cut"]),
            meaning: "drop, hold, corrupt, truncate, or cut the connection there" },
         Attribute { name: "frame", form: Form::Text("*"),
            meaning: "which AMQP frames: basic.ack and its like, header, body, heartbeat; * is any" },
         Attribute { name: "nth", form: Form::Integer(1), meaning: "which of them, counted from 1" },
         Attribute { name: "edge", form: Form::Word(&["before", "inside", "after"]),
            meaning: "where in it, for hold and cut" },
         int("octets", "for inside: after how many bytes of it, its header's 7 included"),
         int("delay", "for hold: ms"),
         int("byte", "for corrupt: which byte, from 0, its header included"),
         Attribute { name: "xor", form: Form::Integer(1), meaning: "for corrupt: 1 to 255" },
         int("keep", "for truncate: bytes that pass, its header included"),
         HOW, SIDE]
        "one AMQP frame, by name and count; with a count, so many from the nth on";
};

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &ToxicKind) -> String {
        let attribute = |Attribute { name, form, meaning }: &Attribute| match form {
            Form::Integer(0) | Form::Truth(false) => format!("`{name}` {meaning}"),
            Form::Integer(n) => format!("`{name}` ({n}) {meaning}"),
            Form::Truth(truth) => format!("`{name}` ({truth}) {meaning}"),
            Form::Word(words) => format!("`{name}` ({}) {meaning}", words[0]),
            Form::Text(text) => format!("`{name}` (`{text}`) {meaning}"),
        };
        let attributes: Vec<String> = kind.attributes.iter().map(attribute).collect();
        format!("| `{}` | {} | {} |\n", kind.name, attributes.join("; "), kind.summary)
    }

    #[test]
    fn the_page_for_users_has_every_toxic_as_the_table_has_it() {
        // Not there in a crate that was published alone.
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/toxiproxy.md");
        let Ok(page) = std::fs::read_to_string(page) else { return };
        for ours in [false, true] {
            let rows: String =
                TOXICS.iter().filter(|kind| kind.is_toxiproxys() != ours).map(row).collect();
            assert!(page.contains(&rows), "docs/toxiproxy.md lacks this table:\n{rows}");
        }
    }

    #[test]
    fn no_name_stands_twice() {
        for (n, kind) in TOXICS.iter().enumerate() {
            assert_eq!(ToxicKind::find(kind.name), Some(&TOXICS[n]));
        }
    }
}
