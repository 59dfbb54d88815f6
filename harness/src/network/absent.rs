//! In place of the client of Toxiproxy, where Gauntlet is built without it: there is none to be driven.

use std::convert::Infallible;
use std::net::SocketAddr;

use super::NetworkError;
use super::toxic::Toxic;

/// There is none.
pub struct Toxiproxy(Infallible);

#[expect(clippy::unused_async, reason = "as where there is one")]
impl Toxiproxy {
    pub async fn reach(api: SocketAddr) -> Result<Toxiproxy, NetworkError> {
        let why = "this gauntlet was built without the feature `toxiproxy`".to_owned();
        Err(NetworkError::Toxiproxy { what: "drive it".to_owned(), api, why })
    }

    pub fn addr(&self) -> SocketAddr {
        match self.0 {}
    }

    pub fn version(&self) -> &str {
        match self.0 {}
    }

    pub fn listen(&self) -> SocketAddr {
        match self.0 {}
    }

    pub async fn create(
        &self,
        _name: &str,
        _listen: SocketAddr,
        _upstream: SocketAddr,
    ) -> Result<SocketAddr, NetworkError> {
        match self.0 {}
    }

    pub async fn set_upstream(
        &self,
        _name: &str,
        _upstream: SocketAddr,
    ) -> Result<(), NetworkError> {
        match self.0 {}
    }

    pub async fn delete(&self, _name: &str) -> Result<Option<SocketAddr>, NetworkError> {
        match self.0 {}
    }

    pub async fn names(&self) -> Result<Vec<String>, NetworkError> {
        match self.0 {}
    }

    pub async fn add(&self, _name: &str, _toxic: &Toxic) -> Result<String, NetworkError> {
        match self.0 {}
    }

    pub async fn remove(&self, _name: &str, _toxic: &str) -> Result<(), NetworkError> {
        match self.0 {}
    }
}
