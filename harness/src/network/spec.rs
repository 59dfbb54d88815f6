//! Which network, as people write it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use gauntlet_consumer::redact;

use super::NetworkError;

/// The image of a Toxiproxy in a container.
const IMAGE: &str = "ghcr.io/shopify/toxiproxy";
/// Its version, unless another is asked for.
const TAG: &str = "2.12.0";

/// Which network: `embedded`, `toxiproxy[:IMAGE[:TAG]]`, `http://IP:PORT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkSpec {
    /// The link alone.
    #[default]
    Embedded,
    /// A Toxiproxy of ours, in a container beside the broker's.
    Toxiproxy {
        /// The image.
        image: String,
        /// Its tag.
        tag: String,
    },
    /// Somebody's Toxiproxy, by the address of its HTTP API.
    External(SocketAddr),
}

impl FromStr for NetworkSpec {
    type Err = NetworkError;

    fn from_str(input: &str) -> Result<NetworkSpec, NetworkError> {
        let wrong =
            |why: &str| NetworkError::Spec { input: redact::url(input), why: why.to_owned() };
        let words = input.trim();
        if let Some(api) = words.strip_prefix("http://") {
            let api = api.trim_end_matches('/').replace("localhost", "127.0.0.1");
            let api = api.parse().map_err(|_| {
                wrong(
                    "write the address of its API as http://IP:PORT, such as http://127.0.0.1:8474",
                )
            })?;
            return Ok(NetworkSpec::External(api));
        }
        let default = || (IMAGE.to_owned(), TAG.to_owned());
        let (image, tag) = match words.split_once(':') {
            None if words == "embedded" => return Ok(NetworkSpec::Embedded),
            None if words == "toxiproxy" => default(),
            Some(("toxiproxy", image)) if !image.is_empty() => split(image),
            _ => {
                return Err(wrong(
                    "write embedded, toxiproxy, toxiproxy:IMAGE:TAG, or http://IP:PORT of a Toxiproxy that runs",
                ));
            }
        };
        Ok(NetworkSpec::Toxiproxy { image, tag })
    }
}

/// A colon before a slash is a registry's port.
fn split(image: &str) -> (String, String) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !tag.is_empty() => (name.into(), tag.into()),
        _ => (image.trim_end_matches(':').into(), TAG.into()),
    }
}

impl fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkSpec::Embedded => f.write_str("embedded"),
            NetworkSpec::Toxiproxy { image, tag } => write!(f, "toxiproxy:{image}:{tag}"),
            NetworkSpec::External(api) => write!(f, "http://{api}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let check = |input: &str, expect: &str| {
            let spec: NetworkSpec = input.parse().expect(input);
            assert_eq!(spec.to_string(), expect);
            assert_eq!(spec.to_string().parse::<NetworkSpec>().expect("its own words"), spec);
        };
        check("embedded", "embedded");
        check("toxiproxy", "toxiproxy:ghcr.io/shopify/toxiproxy:2.12.0");
        check("toxiproxy:mine", "toxiproxy:mine:2.12.0");
        check("toxiproxy:host:5000/mine:1", "toxiproxy:host:5000/mine:1");
        check("http://localhost:8474/", "http://127.0.0.1:8474");
    }

    #[test]
    fn no_password_is_told() {
        for input in ["http://u:s3cret@127.0.0.1:8474", "http:/u:s3cret@h", "u:s3cret@h"] {
            let error = input.parse::<NetworkSpec>().expect_err(input).to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_means_nothing_is_quoted() {
        for input in ["", "toxi", "toxiproxy:", "http://toxiproxy", "https://127.0.0.1:8474"] {
            let error = input.parse::<NetworkSpec>().expect_err(input).to_string();
            assert!(error.contains(&format!("'{input}'")), "{error}");
        }
    }
}
