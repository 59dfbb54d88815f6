//! The paths to compare: straight to the far end, through the plainest relay there is, and through a
//! link with less or more to do.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gauntlet_network::{Event, Fault, FaultId, Link, What};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

use super::{
    far_end::{FarEnd, Serve},
    toxiproxy::{self, Toxiproxy},
    usage,
};

/// What lies between the near end and the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Nothing: what the operating system costs.
    Direct,
    /// `tokio::io::copy_bidirectional`: what any proxy costs.
    Relay,
    /// Toxiproxy's server, in a process of its own.
    Toxiproxy,
    /// A link without taps that keeps no track of frames.
    Link,
    /// A link as it is by default: it knows where frames begin.
    Scanning,
    /// A link with a tap: every frame is read at both ends and told.
    Tapped,
}

impl Direction {
    const ALL: [Self; 6] =
        [Self::Direct, Self::Relay, Self::Toxiproxy, Self::Link, Self::Scanning, Self::Tapped];

    /// Those that can be had here.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|way| *way != Self::Toxiproxy || toxiproxy::binary().is_some())
    }

    /// Whether faults can be injected on it.
    pub fn has_faults(self) -> bool {
        !matches!(self, Self::Direct | Self::Relay)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Toxiproxy => "toxiproxy",
            Self::Link => "link",
            Self::Scanning => "link-scanning",
            Self::Tapped => "link-tapped",
        }
    }
}

enum Between {
    Nothing,
    Relay { _owner: JoinSet<()> },
    Link(Link),
    Toxiproxy(Box<Toxiproxy>),
}

/// Where a path begins.
#[derive(Debug, Clone, Copy)]
pub struct Near(SocketAddr);

impl Near {
    pub fn connect(self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.0)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A path that works. [`Path::close`] is the end of it.
pub struct Path {
    near: Near,
    between: Between,
    /// Frames the tap heard.
    heard: Arc<AtomicU64>,
    _far_end: FarEnd,
}

impl Path {
    pub async fn open(way: Direction, serve: Serve) -> io::Result<Self> {
        let far_end = FarEnd::start(serve)?;
        let heard = Arc::new(AtomicU64::new(0));
        let (near, between) = match way {
            Direction::Direct => (far_end.addr, Between::Nothing),
            Direction::Relay => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let near = listener.local_addr()?;
                let mut owner = JoinSet::new();
                owner.spawn(relay(listener, far_end.addr));
                (near, Between::Relay { _owner: owner })
            }
            Direction::Toxiproxy => {
                let toxiproxy = Toxiproxy::start(far_end.addr)?;
                (toxiproxy.near, Between::Toxiproxy(Box::new(toxiproxy)))
            }
            Direction::Link | Direction::Scanning | Direction::Tapped => {
                let mut link =
                    Link::builder("bench").upstream(far_end.addr).scan(way != Direction::Link);
                if way == Direction::Tapped {
                    let heard = Arc::clone(&heard);
                    link = link.tap(Arc::new(move |event: Event| {
                        heard
                            .fetch_add(u64::from(matches!(event.what, What::Wire { .. })), Relaxed);
                    }));
                }
                let link = link.start().await.map_err(io::Error::other)?;
                (link.addr(), Between::Link(link))
            }
        };
        Ok(Self { near: Near(near), between, heard, _far_end: far_end })
    }

    pub fn connect(&self) -> io::Result<TcpStream> {
        self.near.connect()
    }

    /// Where it begins.
    pub fn near(&self) -> Near {
        self.near
    }

    /// CPU time used so far by everything on it.
    pub fn cpu(&self) -> Duration {
        match &self.between {
            Between::Toxiproxy(toxiproxy) => usage::own_cpu() + usage::cpu(toxiproxy.pid()),
            _ => usage::own_cpu(),
        }
    }

    /// Memory held by the process that what lies between is in.
    pub fn resident(&self) -> u64 {
        match &self.between {
            Between::Toxiproxy(toxiproxy) => usage::resident(toxiproxy.pid()),
            _ => usage::resident(std::process::id()),
        }
    }

    /// Puts a fault in force, latency or bandwidth.
    pub async fn inject(&mut self, fault: &Fault) -> io::Result<FaultId> {
        match &mut self.between {
            Between::Link(link) => link.inject(fault.clone()).await.map_err(io::Error::other),
            Between::Toxiproxy(toxiproxy) => {
                toxiproxy.add(fault)?;
                Ok(FaultId::default())
            }
            Between::Nothing | Between::Relay { .. } => Err(io::Error::other("no faults here")),
        }
    }

    /// Takes it out of force.
    pub async fn lift(&mut self, fault: FaultId) -> io::Result<()> {
        match &mut self.between {
            Between::Link(link) => link.lift(fault).await.map_err(io::Error::other),
            Between::Toxiproxy(toxiproxy) => toxiproxy.remove(),
            Between::Nothing | Between::Relay { .. } => Ok(()),
        }
    }

    /// Frames the tap has heard so far, at both ends together.
    pub fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Ends it. The connections through it must have been dropped.
    pub fn close(self, runtime: &Runtime) {
        if let Between::Link(link) = &self.between {
            runtime.block_on(link.stop());
        }
    }
}

/// Nothing but tokio. Dropped with its set, it drops its connections.
async fn relay(listener: TcpListener, upstream: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.spawn(copy(client, upstream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn copy(mut client: tokio::net::TcpStream, upstream: SocketAddr) -> io::Result<(u64, u64)> {
    let mut server = tokio::net::TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await
}
