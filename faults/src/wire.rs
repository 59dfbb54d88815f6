//! Who is who on a link: its two ways, its two ends, and the two manners of ending TCP.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A direction of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client to the broker; `>` in traces.
    ToBroker,
    /// From the broker to the client; `<` in traces.
    ToClient,
}

impl Direction {
    /// Both ways, in the order a connection serves them.
    pub const BOTH: [Self; 2] = [Self::ToBroker, Self::ToClient];

    /// The opposite way.
    pub const fn back(self) -> Self {
        match self {
            Self::ToBroker => Self::ToClient,
            Self::ToClient => Self::ToBroker,
        }
    }

    /// The end that bytes going this way come from.
    pub const fn source(self) -> End {
        match self {
            Self::ToBroker => End::Client,
            Self::ToClient => End::Broker,
        }
    }

    /// The end that bytes going this way arrive at.
    pub const fn sink(self) -> End {
        self.back().source()
    }

    /// Whether a fault limited to `only` (`None`: both ways) concerns this way.
    pub fn within(self, only: Option<Self>) -> bool {
        only.is_none_or(|way| way == self)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToBroker => ">",
            Self::ToClient => "<",
        })
    }
}

/// One end of a link, and of each connection through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The end that faces the client (the subject).
    Client,
    /// The end that faces the broker (the upstream).
    Broker,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Broker => "broker",
        })
    }
}

/// Which ends a cut is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Only the client's end.
    Client,
    /// Only the broker's end.
    Broker,
    /// Both ends.
    #[default]
    Both,
}

impl Side {
    /// Whether `end` is one of these.
    pub const fn includes(self, end: End) -> bool {
        matches!(
            (self, end),
            (Self::Both, _) | (Self::Client, End::Client) | (Self::Broker, End::Broker)
        )
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Broker => "broker",
            Self::Both => "both",
        })
    }
}

/// How this link ends a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseKind {
    /// An orderly end: the peer reads end of file.
    Fin,
    /// A reset: the peer reads `ECONNRESET`.
    #[default]
    Rst,
}

impl fmt::Display for CloseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
        })
    }
}
