//! Chance that replays: one number, and as many independent named streams as are asked for.
//!
//! Nothing here depends on the platform, the run or the order of asking: names are hashed with
//! FNV-1a, mixed with SplitMix64, and feed PCG (XSL 128/64).

use std::{fmt, num::ParseIntError, str::FromStr};

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// The root of all chance in a run. Printed, it reproduces the run's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// A seed nobody chose, from the operating system.
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The stream called `name`: the same for the same seed and name, unrelated to any other.
    pub fn stream(self, name: &str) -> Pcg64 {
        let mut state = self.derive(name).0;
        let mut word = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            u128::from(mix(state))
        };
        let (a, b, c, d) = (word(), word(), word(), word());
        Pcg64::new(a << 64 | b, c << 64 | d)
    }

    /// The seed called `name` below this one.
    pub fn derive(self, name: &str) -> Self {
        Self(mix(mix(self.0) ^ fnv1a(name.as_bytes())))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// A seed that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {given:?} is neither a decimal nor a 0x hexadecimal number of 64 bits")]
pub struct SeedError {
    given: String,
    source: ParseIntError,
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(given: &str) -> Result<Self, SeedError> {
        match given.strip_prefix("0x").or_else(|| given.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => given.parse(),
        }
        .map(Self)
        .map_err(|source| SeedError { given: given.to_owned(), source })
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finalizer of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_on_every_platform_and_for_ever() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c, "FNV-1a's published vector");
        let draw = |seed: u64, name: &str| Seed(seed).stream(name).random::<u64>();
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
    }

    #[test]
    fn reads_what_it_prints_and_decimal() {
        let seed = Seed(0xfeed);
        assert_eq!(seed.to_string().parse(), Ok(seed));
        assert_eq!("65261".parse(), Ok(seed));
        let error = "0xzz".parse::<Seed>().expect_err("not hexadecimal");
        assert!(error.to_string().contains("\"0xzz\""), "{error}");
    }
}
